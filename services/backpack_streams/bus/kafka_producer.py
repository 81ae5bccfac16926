"""Wraps one aiokafka producer. Starts and stops it within bounded time, and leaves nothing behind when it is abandoned.

aiokafka's `stop` waits until everything is sent, and leaks its tasks and sockets if that wait is cancelled. This module
ends the pieces one by one instead. They have no public names, so everything that depends on aiokafka's internals is
kept here; `tests/faults/test_publisher_resources.py` shows whether a new release of aiokafka still has them.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection
from typing import Any

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import DuplicateSequenceNumber, KafkaError, ProducerClosed

from backpack_streams.bus.clients import Producer
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.errors import BusError

__all__ = ["BATCH_BYTES", "Batch", "KafkaProducer", "NoSuchPartitionError", "close_client"]

logger = logging.getLogger(__name__)

BATCH_BYTES = 512 * 1024
_REQUEST_BYTES = 16 * 1024 * 1024
_REQUEST_TIMEOUT_MILLIS = 30_000
_START_SECONDS = 45.0
_ATTEMPT_SECONDS = 45.0
"""Longer than one request may take, so that aiokafka retries a request before the producer is replaced."""
_CLOSE_SECONDS = 5.0
_METADATA_SECONDS = 5.0

Batch = Any
"""aiokafka's `BatchBuilder`."""


class NoSuchPartitionError(BusError):
    """The topic does not exist, or has fewer partitions than before. Nothing was sent, so the producer remains usable."""


class KafkaProducer:
    """An idempotent producer that waits for all in-sync replicas."""

    def __init__(self, connection: KafkaConnection) -> None:
        """Prepare; nothing is sent yet.

        Raises:
            UsageError: a file or the compression of the connection is unusable.
        """
        self._producer = Producer(
            connection,
            acks="all",
            enable_idempotence=True,
            max_batch_size=BATCH_BYTES,
            max_request_size=_REQUEST_BYTES,
            request_timeout_ms=_REQUEST_TIMEOUT_MILLIS,
        )
        self._attempts: set[asyncio.Timeout] = set()
        self._requests: set[asyncio.Task[Any]] = set()
        self._is_idle = asyncio.Event()
        self._is_idle.set()
        self._is_discarded = False
        self._watch_requests()

    async def start(self, topics: Collection[str]) -> None:
        """Connect, and learn the partitions of topics.

        Args:
            topics: the full names of topics to look up now; any other is looked up with its first batch.

        Raises:
            TimeoutError, KafkaError, OSError: Kafka is unreachable or refuses the credentials.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._producer.start()
            if topics:
                with contextlib.suppress(TimeoutError):  # unknown topics are looked up with their first batch
                    async with asyncio.timeout(_METADATA_SECONDS):
                        await self._producer.client.set_topics(topics)
        except BaseException:
            await self.discard()
            raise

    async def partitions(self, topic: str) -> set[int]:
        """Return the partitions of a topic, looked up if they are unknown.

        Raises:
            KafkaError, OSError: the topic does not exist (UnknownTopicOrPartitionError), or Kafka does not answer.
        """
        found: set[int] = await self._producer.partitions_for(topic)
        return found

    def known_partitions(self, topic: str) -> int:
        """Return the number of partitions of a topic at the last metadata refresh; 0 for an unknown topic."""
        return len(self._producer.client.cluster.partitions_for_topic(topic) or ())

    def know(self, topics: Collection[str]) -> None:
        """Add topics to the metadata that is refreshed, so that one request serves all of them."""
        for topic in topics:
            self._producer.client.add_topic(topic)

    def new_batch(self) -> Batch:
        """Return an empty batch."""
        return self._producer.create_batch()

    async def send(self, batch: Batch, topic: str, partition: int) -> int:
        """Send a batch and wait for its acknowledgement. Returns the offset of its first record.

        Args:
            batch: a closed batch from `new_batch`.
            topic: the full topic name.
            partition: the partition.

        Raises:
            NoSuchPartitionError: the topic does not exist, or has fewer partitions than before.
            TimeoutError: no acknowledgement came in time, or the producer was discarded.
            KafkaError, OSError: Kafka refused, or the producer failed.
        """
        client = self._producer.client
        async with self._attempt():
            if partition not in (client.cluster.partitions_for_topic(topic) or ()):
                await self._look_for(topic, partition)
            sent = await (await self._producer.send_batch(batch, topic, partition=partition))
        if sent.offset < 0:  # acknowledged without an offset: send again, because watermarks need the offset
            raise DuplicateSequenceNumber("the offset of a batch is unknown")
        offset: int = sent.offset
        return offset

    async def _look_for(self, topic: str, partition: int) -> None:
        client = self._producer.client
        client.add_topic(topic)
        await client.force_metadata_update()
        found = client.cluster.partitions_for_topic(topic)
        if not found:
            raise NoSuchPartitionError(f"topic {topic} does not exist, or not every broker knows it yet")
        if partition not in found:
            raise NoSuchPartitionError(
                f"topic {topic} has {len(found)} partitions, and partition {partition} is gone: the topic was recreated with fewer"
            )

    @contextlib.asynccontextmanager
    async def _attempt(self) -> AsyncIterator[None]:
        if self._is_discarded:
            raise ProducerClosed("the producer was replaced")
        try:
            async with asyncio.timeout(_ATTEMPT_SECONDS) as attempt:
                self._attempts.add(attempt)
                self._is_idle.clear()
                try:
                    yield
                finally:
                    self._attempts.discard(attempt)
                    if not self._attempts:
                        self._is_idle.set()
        except TimeoutError as error:
            why = "the producer was replaced" if self._is_discarded else f"no answer within {_ATTEMPT_SECONDS:.0f} s"
            raise TimeoutError(why) from error

    async def retire(self, seconds: float) -> None:
        """Discard the producer once the batches in flight have ended, or after `seconds`."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_idle.wait()
        await self.discard()

    async def discard(self) -> None:
        """End now. Sends in flight fail for their callers; no task and no socket remains."""
        self._is_discarded = True
        for attempt in list(self._attempts):
            if not attempt.expired():
                attempt.reschedule(0)  # a time in the past of the loop's clock
        sender = self._producer._sender.sender_task
        tasks = [task for task in (sender, *self._requests) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        self._producer._closed = True  # otherwise it logs an error when it is garbage-collected
        await close_client(self._producer.client)

    def _watch_requests(self) -> None:
        """Track the tasks of requests in flight: aiokafka keeps them only in a local variable of its sender."""
        sender = self._producer._sender
        send = sender._send_produce_req

        async def noted(node_id: Any, batches: Any) -> None:
            task = asyncio.current_task()
            assert task is not None, "aiokafka runs each request in a task"
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            await send(node_id, batches)

        sender._send_produce_req = noted


async def close_client(client: AIOKafkaClient) -> None:
    """Close an aiokafka client within bounded time, even if a peer no longer reads."""
    for connection in list(client._conns.values()):
        writer = connection._writer
        if writer is not None:
            writer.transport.abort()  # `close` would wait until the peer has read all unsent bytes
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()
    except (TimeoutError, KafkaError, OSError) as error:
        logger.info("unclean shutdown of a kafka client", extra={"error": repr(error)})
