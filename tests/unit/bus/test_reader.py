"""A cancelled poll loses nothing, even while it fetches a schema."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topic_ids import TopicIds, TopicRecreatedError

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class Consumer:
    """Returns each answer once and is then positioned after it, as aiokafka does."""

    def __init__(self, *answers: dict[TopicPartition, list[Any]]) -> None:
        self.answers = list(answers)
        self._fetcher = SimpleNamespace(error_future=SimpleNamespace(done=lambda: False))
        self._client = SimpleNamespace(topic_ids=TopicIds())

    async def getmany(
        self, *chosen: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Any]]:
        return self.answers.pop(0) if self.answers else {}

    def assign(self, topic_partitions: Iterable[TopicPartition]) -> None:
        return

    def seek(self, topic_partition: TopicPartition, offset: int) -> None:
        return


class Record:
    def __init__(self, value: bytes) -> None:
        self.value = value


class SlowCodec:
    """`meet` returns only once the registry answers."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.met: list[bytes] = []

    async def meet(self, values: Iterable[bytes]) -> None:
        await self.answers.wait()
        self.met += values


def reader_of(consumer: Consumer, codec: SlowCodec | None) -> Reader:
    reader = Reader(KafkaConnection("localhost:1"), codec)  # type: ignore[arg-type]
    reader._consumer = consumer
    return reader


async def cancelled_poll(reader: Reader) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await reader.poll(0)


async def test_a_poll_cancelled_while_a_schema_is_fetched_loses_nothing() -> None:
    codec, batch = SlowCodec(), [Record(b"1"), Record(b"2")]
    reader = reader_of(Consumer({A: batch}, {A: [Record(b"3")]}), codec)
    await cancelled_poll(reader)
    await cancelled_poll(reader)
    codec.answers.set()
    assert await reader.poll(0) == {A: batch}
    assert codec.met == [b"1", b"2"]
    assert [each.value for each in (await reader.poll(0))[A]] == [b"3"]
    assert await reader.poll(0) == {}


async def test_only_the_requested_partitions_are_given() -> None:
    codec, first, second = SlowCodec(), [Record(b"1")], [Record(b"2")]
    reader = reader_of(Consumer({A: first, B: second}), codec)
    await cancelled_poll(reader)
    codec.answers.set()
    assert await reader.poll(0, only=[("t", 1)]) == {B: second}
    assert await reader.poll(0, only=[("t", 0)]) == {A: first}


async def test_records_read_before_an_assignment_are_dropped() -> None:
    codec = SlowCodec()
    reader = reader_of(Consumer({A: [Record(b"1")]}, {A: [Record(b"2")]}), codec)
    await cancelled_poll(reader)
    reader.assign({("t", 0): 1})
    codec.answers.set()
    assert [each.value for each in (await reader.poll(0))[A]] == [b"2"]


async def test_without_a_codec_records_are_given_unchanged() -> None:
    batch = [Record(b"1")]
    assert await reader_of(Consumer({A: batch}), None).poll(0) == {A: batch}


class Cluster(Consumer):
    """Topic `t`, whose id an update of the metadata learns."""

    def __init__(self) -> None:
        super().__init__()
        self.id = 1
        self._client.force_metadata_update, self._client.fetch_all_metadata = self.learn, self.metadata
        self.asked: list[int] = []

    async def metadata(self) -> Any:
        return SimpleNamespace(partitions_for_topic=lambda topic: {0})

    def learn(self) -> asyncio.Future[None]:
        ids = self._client.topic_ids
        ids.learn(SimpleNamespace(topics=[(0, each, self.id.to_bytes(16)) for each in ids.watched]))
        done = asyncio.get_running_loop().create_future()
        done.set_result(None)
        return done

    async def end_offsets(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        self.asked.append(len(self._client.topic_ids._ids))
        return dict.fromkeys(topic_partitions, 5)

    def recreate(self) -> None:
        self.id += 1
        self.learn()


async def test_a_topic_that_was_recreated_since_its_end_was_asked_for_is_not_read_on() -> None:
    cluster = Cluster()
    reader = reader_of(cluster, None)
    ends = await reader.ends([("t", 0)])
    assert cluster.asked == [1], "the id was known before"
    cluster.recreate()
    reader.assign(dict.fromkeys(ends, 0))
    with pytest.raises(TopicRecreatedError, match="topic t was recreated"):
        await reader.poll(0)
    reader.assign(dict.fromkeys(await reader.ends([("t", 0)]), 0))
    assert await reader.poll(0) == {}


@pytest.mark.parametrize("asks_first", [True, False])
async def test_ends_count_if_the_partitions_were_asked_for_since(asks_first: bool) -> None:
    cluster = Cluster()
    reader = reader_of(cluster, None)
    await reader.ends([("t", 0)])
    cluster.recreate()
    if asks_first:
        assert await reader.topic_partitions("t") == [("t", 0)]
    reader.assign(dict.fromkeys(await reader.ends([("t", 0)]), 0))
    if asks_first:
        assert await reader.poll(0) == {}
    else:
        with pytest.raises(TopicRecreatedError):
            await reader.poll(0)


async def test_a_followed_topic_begins_again_even_if_others_are_read_meanwhile(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Cluster()
    reader = reader_of(cluster, None)
    reader.follow({("t", 0): 3}, ())
    cluster.recreate()
    await reader.topic_partitions("t")
    await reader.ends([("t", 0), ("u", 0)])
    reader.assign({("u", 0): 0})
    assert await reader.poll(0) == {}
    reader.assign({("t", 0): 3})
    with pytest.raises(TopicRecreatedError):
        await reader.poll(0)
    reader.follow({("t", 0): 3}, ())
    assert await reader.poll(0) == {}
    assert [each.message for each in caplog.records] == [
        "a topic was deleted and recreated; reading it from its beginning"
    ]
