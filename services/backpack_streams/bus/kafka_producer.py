"""One of aiokafka's producers, started and stopped within bounded time, so that nothing of one that was given up remains.

aiokafka's own `stop` waits until everything is sent, and leaves its tasks and sockets behind when that wait is cancelled. So the
pieces are ended one by one here. They have no public names: all that this project knows of them stands in this module, and
`tests/faults/test_publisher_resources.py` shows that a release of aiokafka still has them.
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
"""Longer than one request may take, so that aiokafka repeats one by itself before all is begun anew."""
_CLOSE_SECONDS = 5.0
_METADATA_SECONDS = 5.0

Batch = Any
"""What aiokafka calls a BatchBuilder."""


class NoSuchPartitionError(BusError):
    """The topic is not there, or has fewer partitions than before. Nothing was sent, so the producer is as good as before."""


class KafkaProducer:
    """An idempotent producer that waits for all in-sync replicas."""

    def __init__(self, connection: KafkaConnection) -> None:
        """Raises:
        UsageError: a file of the connection cannot be used, or its compression.
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
        """Connects and learns where the partitions of `topics` are.

        Raises:
            TimeoutError, KafkaError, OSError: Kafka cannot be reached or refuses the credentials.
        """
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._producer.start()
            if topics:
                with contextlib.suppress(TimeoutError):  # what is not known yet is asked for with the first batch
                    async with asyncio.timeout(_METADATA_SECONDS):
                        await self._producer.client.set_topics(topics)
        except BaseException:
            await self.discard()
            raise

    async def partitions(self, topic: str) -> set[int]:
        """The partitions of a topic, asked for if they are not known.

        Raises:
            KafkaError, OSError: the topic does not exist (UnknownTopicOrPartitionError), or Kafka does not answer.
        """
        found: set[int] = await self._producer.partitions_for(topic)
        return found

    def known_partitions(self, topic: str) -> int:
        """How many partitions the topic had when Kafka was last asked; 0 for a topic that it did not know."""
        return len(self._producer.client.cluster.partitions_for_topic(topic) or ())

    def know(self, topics: Collection[str]) -> None:
        """Has one look at Kafka's metadata serve all of `topics`."""
        for topic in topics:
            self._producer.client.add_topic(topic)

    def new_batch(self) -> Batch:
        """An empty batch."""
        return self._producer.create_batch()

    async def send(self, batch: Batch, topic: str, partition: int) -> int:
        """Sends a batch and waits for its acknowledgement. Returns the offset of its first record.

        Raises:
            NoSuchPartitionError: the topic is not there, or has fewer partitions than before.
            TimeoutError: there was no acknowledgement in time, or the producer was discarded.
            KafkaError, OSError: Kafka refused, or the producer failed.
        """
        client = self._producer.client
        async with self._attempt():
            if partition not in (client.cluster.partitions_for_topic(topic) or ()):
                await self._look_for(topic, partition)
            sent = await (await self._producer.send_batch(batch, topic, partition=partition))
        if sent.offset < 0:  # acknowledged, but nobody knows where it is: once more, so that the offset is known
            raise DuplicateSequenceNumber("the offset of a batch is not known")
        offset: int = sent.offset
        return offset

    async def _look_for(self, topic: str, partition: int) -> None:
        client = self._producer.client
        client.add_topic(topic)
        await client.force_metadata_update()
        found = client.cluster.partitions_for_topic(topic)
        if not found:
            raise NoSuchPartitionError(f"topic {topic} does not exist, or has not been made known to every broker yet")
        if partition not in found:
            raise NoSuchPartitionError(
                f"topic {topic} has {len(found)} partitions, and partition {partition} is gone: it was made anew with fewer"
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
        """Ends once the batches on their way have ended, or after `seconds` at the latest."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._is_idle.wait()
        await self.discard()

    async def discard(self) -> None:
        """Ends now. Whatever is on its way fails for whoever waits for it; no task and no socket is left."""
        self._is_discarded = True
        for attempt in list(self._attempts):
            if not attempt.expired():
                attempt.reschedule(0)  # a moment of the loop's clock that has passed
        sender = self._producer._sender.sender_task
        tasks = [task for task in (sender, *self._requests) if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)
        self._producer._closed = True  # else it complains when it is forgotten
        await close_client(self._producer.client)

    def _watch_requests(self) -> None:
        """aiokafka holds the requests on their way in a local variable of its sender."""
        sender = self._producer._sender
        send = sender._send_produce_req

        async def noted(node_id: Any, batches: Any) -> None:
            task = asyncio.current_task()
            assert task is not None, "aiokafka makes a task for each"
            self._requests.add(task)
            task.add_done_callback(self._requests.discard)
            await send(node_id, batches)

        sender._send_produce_req = noted


async def close_client(client: AIOKafkaClient) -> None:
    """Ends a client of aiokafka's within bounded time, though a peer may take nothing more."""
    for connection in list(client._conns.values()):
        writer = connection._writer
        if writer is not None:
            writer.transport.abort()  # `close` would wait until the peer has taken what is unsent
    try:
        async with asyncio.timeout(_CLOSE_SECONDS):
            await client.close()
    except (TimeoutError, KafkaError, OSError) as error:
        logger.info("a kafka client ended uncleanly", extra={"error": repr(error)})
