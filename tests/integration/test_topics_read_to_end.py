"""Topics of a real Kafka read to their end: compacted, trimmed and deleted while they are read, with transaction markers, empty."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from aiokafka.structs import ConsumerRecord
from confluent_kafka import Producer
from confluent_kafka import TopicPartition as TrimmedPartition
from confluent_kafka.admin import AdminClient, NewTopic

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_end import TopicEndNotReachedError, read_to_end
from backpack_streams.topic_partition import TopicPartition
from embedded_kafka import BlockingKafka, EmbeddedKafka
from plant import wait_until

COMPACTED = {
    "cleanup.policy": "compact",
    "segment.ms": "1",
    "min.cleanable.dirty.ratio": "0.001",
    "delete.retention.ms": "0",
}
CLEANS_AT_ONCE = {"log.cleaner.backoff.ms": "100"}
LARGE = bytes(500_000)

Hook = Callable[[TopicPartition, Sequence[ConsumerRecord]], object]


class Kafka:
    """A broker, and its owner's operations on topics."""

    def __init__(self, broker: BlockingKafka) -> None:
        self.servers = broker.bootstrap_servers
        self._admin = AdminClient({"bootstrap.servers": self.servers})

    def make(self, topic: str, **configs: str) -> None:
        settings = {name.replace("_", "."): value for name, value in configs.items()}
        self._admin.create_topics([NewTopic(topic, 1, 1, config=settings)])[topic].result(30)

    def delete(self, topic: str) -> None:
        self._admin.delete_topics([topic])[topic].result(30)

    def trim(self, topic: str, before: int) -> None:
        for done in self._admin.delete_records([TrimmedPartition(topic, 0, before)]).values():
            done.result(30)

    def write(self, topic: str, *records: tuple[str, bytes | None], transaction: str = "") -> None:
        """Write each record as its own batch, and in time its own segment. A transaction ends with a marker."""
        producer = Producer(
            {"bootstrap.servers": self.servers} | ({"transactional.id": topic} if transaction else {"linger.ms": 0})
        )
        if transaction:
            producer.init_transactions(30)
            producer.begin_transaction()
        for key, value in records:
            producer.produce(topic, value, key)
            producer.flush(30)
        if transaction == "commit":
            producer.commit_transaction(30)
        elif transaction == "abort":
            producer.abort_transaction(30)

    def read(
        self, topic: str, start: int = 0, end: int | None = None, patience: float = 30, hook: Hook = lambda *_: None
    ) -> list[int]:
        """Return the offsets read, up to the current end of the topic."""
        found: list[int] = []

        async def run() -> None:
            async with Reader(KafkaConnection(self.servers)) as reader:
                topic_partitions = await reader.topic_partitions(topic)
                ends = await reader.ends(topic_partitions) if end is None else dict.fromkeys(topic_partitions, end)

                def take(topic_partition: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
                    found.extend(record.offset for record in records)
                    hook(topic_partition, records)

                await read_to_end(reader, dict.fromkeys(topic_partitions, start), ends, take, patience_seconds=patience)

        asyncio.run(asyncio.wait_for(run(), 90))
        return found


@pytest.fixture(scope="module")
def cleaning_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    folder: Path = tmp_path_factory.mktemp("cleaning")
    with BlockingKafka(EmbeddedKafka(folder, port=0, properties=CLEANS_AT_ONCE)) as broker:
        yield Kafka(broker)


def test_a_compacted_topic_with_missing_offsets_at_its_end(cleaning_kafka: Kafka) -> None:
    kafka = cleaning_kafka
    kafka.make("holes", **COMPACTED)
    kafka.write("holes", *((key, b"old") for key in "abcde"))
    kafka.write("holes", *((key, b"new") for key in "bcde"))
    kafka.write("holes", *((key, b"newest") for key in "bcde"))  # the active segment is not compacted
    wait_until("the holes are there", lambda: not {1, 2, 3, 4, 5, 6} & set(kafka.read("holes")), 60)
    for end in (1, 2, 4, 6, 7):
        assert kafka.read("holes", end=end) == [0]
        assert kafka.read("holes", start=1, end=end) == []


@pytest.mark.parametrize("outcome", ["commit", "abort"])
def test_a_transaction_marker_is_at_the_end(cleaning_kafka: Kafka, outcome: str) -> None:
    topic = f"marked-{outcome}"
    cleaning_kafka.make(topic)
    cleaning_kafka.write(topic, ("a", b"1"), ("b", b"2"), transaction=outcome)
    assert cleaning_kafka.read(topic) == [0, 1]
    assert cleaning_kafka.read(topic, start=2, end=3) == []


def test_a_topic_without_records(cleaning_kafka: Kafka) -> None:
    cleaning_kafka.make("empty")
    assert cleaning_kafka.read("empty") == []
    cleaning_kafka.write("empty", *(("a", b"1") for _ in range(5)))
    cleaning_kafka.trim("empty", 5)
    assert cleaning_kafka.read("empty") == []
    assert cleaning_kafka.read("empty", start=1, end=4) == []


@pytest.mark.parametrize("before", [30, 40])
def test_records_that_are_deleted_while_they_are_read(cleaning_kafka: Kafka, before: int) -> None:
    topic = f"trimmed-{before}"
    cleaning_kafka.make(topic)
    cleaning_kafka.write(topic, *(("a", LARGE) for _ in range(40)))
    done: list[int] = []

    def trim_once(_: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        if not done:
            done.append(records[-1].offset)
            cleaning_kafka.trim(topic, before)

    found = cleaning_kafka.read(topic, hook=trim_once)
    assert all(earlier < later for earlier, later in pairwise(found))
    assert done[0] < before - 10, "there was something left to delete"
    assert set(range(before, 40)) <= set(found)
    assert len(found) < 40


def test_a_topic_that_is_deleted_while_it_is_read_is_not_complete(cleaning_kafka: Kafka) -> None:
    cleaning_kafka.make("ending")
    cleaning_kafka.write("ending", *(("a", LARGE) for _ in range(40)))
    done: list[int] = []

    def delete_once(_: TopicPartition, records: Sequence[ConsumerRecord]) -> None:
        if not done:
            done.append(records[-1].offset)
            cleaning_kafka.delete("ending")

    with pytest.raises(TopicEndNotReachedError, match="topic ending was read to offset") as told:
        cleaning_kafka.read("ending", patience=3, hook=delete_once)
    assert done[0] < told.value.reached < told.value.end == 40
