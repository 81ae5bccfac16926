"""A send that fails is repeated; a record that cannot be sent is reported; a publisher that is stuck for good says so and ends."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.progress import Health, PublisherStuckError, look_at_kafka
from backpack_streams.bus.publisher import Publisher, Rejected
from backpack_streams.bus.topics import Topic
from backpack_streams.errors import UsageError
from embedded_kafka import BlockingKafka
from plant import running_plant, wait_until
from reading import read_topic

NOW_MS = 1_790_134_357_267


@asynccontextmanager
async def publishing(kafka: BlockingKafka, *topics: Topic, **options: Any) -> AsyncIterator[Publisher]:
    connection = KafkaConnection(kafka.bootstrap_servers)
    await TopicAdmin(connection, "").apply(topics)
    publisher = Publisher(connection, **options)
    await publisher.start()
    try:
        await publisher.open([topic.name for topic in topics])
        yield publisher
    finally:
        await publisher.close(5)


async def written(kafka: BlockingKafka, topic: str) -> list[bytes | None]:
    return [each.raw for each in await asyncio.to_thread(read_topic, kafka.bootstrap_servers, topic, None)]


async def until(what: str, holds: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what} did not come true"
        await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "error",
    [AssertionError("no such partition"), ValueError("odd"), TypeError("odd"), asyncio.CancelledError()],
    ids=repr,
)
async def test_a_sender_continues_after_any_exception(
    kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    send_batch = AIOKafkaProducer.send_batch
    left = [error, error]

    async def fails_twice(self: AIOKafkaProducer, *args: Any, **options: Any) -> Any:
        if left:
            raise left.pop()
        return await send_batch(self, *args, **options)

    monkeypatch.setattr(AIOKafkaProducer, "send_batch", fails_twice)
    name = f"supervised-{type(error).__name__}"
    async with publishing(kafka, Topic(name, "Gap", 1)) as publisher:
        partition_queue = publisher.partition_queue(name, b"key")
        for number in range(10):
            partition_queue.append(b"key", str(number).encode(), NOW_MS)
        await asyncio.wait_for(partition_queue.settled(), 60)
        assert publisher.sender_failures == 2
        assert publisher.rejected_records == 0
        assert publisher.buffered_bytes == 0
    assert list(dict.fromkeys(await written(kafka, name))) == [str(each).encode() for each in range(10)]


async def test_a_tls_file_that_is_missing_for_a_moment_stops_nothing(
    kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = KafkaConnection.client_options
    send_batch = AIOKafkaProducer.send_batch
    async with publishing(kafka, Topic("supervised-tls", "Gap", 2)) as publisher:
        missing = [UsageError("TLS file ca.pem does not exist")] * 3
        broken = [OSError("the connection is lost")]

        def without_file(self: KafkaConnection) -> dict[str, Any]:
            if missing:
                raise missing.pop()
            return options(self)

        async def fails_once(self: AIOKafkaProducer, *args: Any, **more: Any) -> Any:
            if broken:
                raise broken.pop()
            return await send_batch(self, *args, **more)

        monkeypatch.setattr(KafkaConnection, "client_options", without_file)
        monkeypatch.setattr(AIOKafkaProducer, "send_batch", fails_once)
        partition_queues = list(publisher.partition_queues())
        for partition_queue in partition_queues:
            partition_queue.append(b"key", b"value", NOW_MS)
        for partition_queue in partition_queues:
            await asyncio.wait_for(partition_queue.settled(), 60)
        assert not missing
        assert publisher.fault is None


async def test_a_record_that_cannot_be_encoded_is_rejected_and_the_others_are_sent(kafka: BlockingKafka) -> None:
    rejected: list[Rejected] = []
    async with publishing(kafka, Topic("supervised-time", "Gap", 1), on_rejected=rejected.append) as publisher:
        partition_queue = publisher.partition_queue("supervised-time", b"key")
        for number, time_ms in enumerate((NOW_MS, 2**70, NOW_MS)):
            partition_queue.append(b"key", str(number).encode(), time_ms)
        await asyncio.wait_for(partition_queue.settled(), 60)
    assert [each.record[1] for each in rejected] == [b"1"]
    assert "cannot be encoded" in rejected[0].reason
    assert await written(kafka, "supervised-time") == [b"0", b"2"]


async def test_a_publisher_without_acknowledgements_while_kafka_is_healthy_is_stuck(
    kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(self: AIOKafkaProducer, *args: Any, **options: Any) -> Any:
        await asyncio.Event().wait()

    async with publishing(kafka, Topic("supervised-stuck", "Gap", 1), progress_seconds=3.0) as publisher:
        partition_queue = publisher.partition_queue("supervised-stuck", b"key")
        partition_queue.append(b"key", b"1", NOW_MS)
        await partition_queue.settled()
        await asyncio.sleep(4)
        assert publisher.failure is None, "nothing is owed"
        monkeypatch.setattr(AIOKafkaProducer, "send_batch", hangs)
        partition_queue.append(b"key", b"2", NOW_MS)
        settled = asyncio.create_task(partition_queue.settled())
        with pytest.raises(PublisherStuckError, match="nothing of topic supervised-stuck, partition 0"):
            await asyncio.wait_for(publisher.until_failed(), 60)
        with pytest.raises(PublisherStuckError):
            await settled


async def test_added_partitions_are_reported_and_keys_keep_their_partitions(kafka: BlockingKafka) -> None:
    async with publishing(kafka, Topic("supervised-more", "Gap", 2), progress_seconds=3.0) as publisher:
        partition_queue = publisher.partition_queue("supervised-more", b"key")
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
        await admin.start()
        try:
            await admin.create_partitions({"supervised-more": NewPartitions(5)})
        finally:
            await admin.close()
        await until_metadata_shows(publisher, "supervised-more", 5)
        await until("it is told", lambda: publisher.unused_partitions == {"supervised-more": 3})
        assert publisher.partition_queue("supervised-more", b"key") is partition_queue


async def until_metadata_shows(publisher: Publisher, topic: str, partitions: int) -> None:
    producer = publisher._producer.now
    while producer.known_partitions(topic) < partitions:
        await producer._producer.client.force_metadata_update()


async def test_a_look_at_kafka_uses_no_cached_metadata(kafka: BlockingKafka) -> None:
    connection = KafkaConnection(kafka.bootstrap_servers)
    await TopicAdmin(connection, "").apply([Topic("supervised-look", "Gap", 1)])
    found = await look_at_kafka(connection, [("supervised-look", 0), ("supervised-look", 7)])
    assert found == {("supervised-look", 0): Health.WELL, ("supervised-look", 7): Health.MISSING}
    assert await look_at_kafka(KafkaConnection("127.0.0.1:9"), [("supervised-look", 0)]) is None
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


async def make_anew(bootstrap_servers: str, prefix: str, topic: Topic) -> None:
    name = prefix + topic.name
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([name])
        while name in await admin.list_topics():  # noqa: ASYNC110  # Kafka has no event for it
            await asyncio.sleep(0.1)
        await TopicAdmin(KafkaConnection(bootstrap_servers), prefix).apply([topic])
    finally:
        await admin.close()


def test_a_service_exits_if_its_topic_was_recreated_with_fewer_partitions(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "anew.") as plant:
        plant.start_exchange("--symbols", "6", "--rate", "200")
        producer = plant.start_ready("market-producer", "--streams", "trade", "--progress-timeout", "10")
        wait_until("it publishes", lambda: producer.metric("published_records_total") > 50)
        asyncio.run(make_anew(kafka.bootstrap_servers, "anew.", Topic("market.trade", "Trade", 1)))
        seen: list[str] = []

        def has_ended() -> bool:
            try:
                answer = httpx.get(f"http://127.0.0.1:{producer.port}/healthz")
            except httpx.HTTPError:
                return producer.popen.poll() is not None
            seen.extend(answer.json()["reasons"])
            return producer.popen.poll() is not None

        wait_until("it ends", has_ended, 120)
        assert producer.popen.returncode == 1
        log = producer.log.read_text()
        assert "a topic is not writable; its records wait" in log
        assert "the service exits in order to be restarted" in log
        assert any("has acknowledged nothing of topic anew.market.trade" in reason for reason in seen), (
            "/healthz says so"
        )
        assert '"kafka refused a record"' not in log
        again = plant.start_ready("market-producer", "--streams", "trade")
        wait_until("the next one publishes", lambda: again.metric("published_records_total") > 50)


def test_a_recreated_topic_leaves_a_gap_of_each_of_its_streams(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "lost.") as plant:
        plant.start_exchange("--symbols", "3", "--rate", "60")
        plant.start_ready("rest-poller", "--snapshot-refresh", "2")
        producer = plant.start_ready("market-producer", "--streams", "depth,trade")
        wait_until("the first records are there", lambda: producer.metric("published_records_total") > 200)

        def streams_with_a_gap() -> set[str]:
            gaps = read_topic(kafka.bootstrap_servers, "lost.ops.gap", "Gap")
            return {gap.value["stream"] for gap in gaps if gap.value and gap.value["reason"] == "RECORDS_DELETED"}

        depth = {f"depth.{symbol}" for symbol in plant.books()}
        asyncio.run(make_anew(kafka.bootstrap_servers, "lost.", Topic("market.depth", "DepthUpdate", 8)))
        wait_until("each stream has its gap", lambda: streams_with_a_gap() == depth)
        books = plant.books(timeout=60.0)
        assert {book["status"] for book in books.values()} == {"LIVE"}
        assert producer.stop() == 0
