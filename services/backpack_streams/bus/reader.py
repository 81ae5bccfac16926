"""Reads records from Kafka by partition and offset, without a consumer group: the reader decides where to start and tracks
its positions.
"""

import asyncio
import logging
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer
from aiokafka import TopicPartition as AiokafkaPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.clients import Consumer
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.topic_ids import TopicIds, TopicRecreatedError
from backpack_streams.errors import BusError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["Reader", "Records", "stop_consumer"]

logger = logging.getLogger(__name__)

Records = Mapping[AiokafkaPartition, list[ConsumerRecord]]

_FETCH_BYTES_A_PARTITION = 4 * 1024 * 1024
_RECORDS_A_POLL = 10_000
_NEW_TOPIC_SECONDS = 3.0
_NEW_TOPIC_POLL_SECONDS = 0.2
_FETCH_WAIT_MILLIS = 100
"""Kept short because a broker answers the requests of a connection in turn: a fetch that waits for records delays every later request."""
_SEARCH_WAIT_MILLIS = 5
_METADATA_MILLIS = 5_000
"""Maximum age of the number of partitions that a running reader uses."""
_SETTLE_SECONDS = 0.02
_STOP_SECONDS = 5.0


class Reader:
    """A consumer that manages its own positions. Use as an async context manager."""

    def __init__(self, connection: KafkaConnection, codec: Codec | None = None) -> None:
        """Prepare; `__aenter__` connects.

        Args:
            connection: how to reach Kafka.
            codec: the codec that will decode the records. The reader fetches schemas that are new to it before it
                returns the records.
        """
        self._connection = connection
        self._codec = codec
        self._consumer: AIOKafkaConsumer | None = None
        self._unmet: dict[AiokafkaPartition, list[ConsumerRecord]] = {}
        """Records fetched but not returned yet: their schemas are being fetched, or the caller was cancelled meanwhile."""
        self._assigned: set[TopicPartition] = set()
        self._followed: frozenset[str] = frozenset()
        self._followed_last: frozenset[str] = frozenset()
        """The topics of the last call of `follow`. The next one has to know if they were recreated while others were read."""
        self._watches = False

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            BusError: Kafka is unreachable or refuses the credentials.
        """
        consumer = Consumer(
            self._connection,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # the sequence shows what retention removed as a gap
            max_partition_fetch_bytes=_FETCH_BYTES_A_PARTITION,
            fetch_max_bytes=16 * _FETCH_BYTES_A_PARTITION,
            fetch_max_wait_ms=_FETCH_WAIT_MILLIS,
            metadata_max_age_ms=_METADATA_MILLIS,
        )
        try:
            await consumer.start()
        except (TimeoutError, KafkaError, OSError) as error:
            await stop_consumer(consumer)
            raise self._connection.explain(error) from error
        except asyncio.CancelledError:
            await stop_consumer(consumer)
            raise
        self._consumer = consumer
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await stop_consumer(self._open)

    @property
    def _open(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            raise BusError("the reader is not connected: use it with `async with`")
        return self._consumer

    async def topic_partitions(self, topic: str, patience_seconds: float = _NEW_TOPIC_SECONDS) -> list[TopicPartition]:
        """Return the partitions of a topic, by number.

        Args:
            topic: the full topic name.
            patience_seconds: how long to wait for a topic that is just being created.

        Raises:
            BusError: the topic does not exist, or Kafka does not answer.
        """
        deadline = time.monotonic() + patience_seconds
        self._ids.watch([topic])
        while True:
            try:
                await self._open._client.force_metadata_update()  # needed to query offsets of new partitions
                known = await self._open._client.fetch_all_metadata()  # partitions_for_topic only reads the cache
            except (KafkaError, OSError) as error:
                raise self._connection.explain(error) from error
            partitions = known.partitions_for_topic(topic)
            if partitions:
                self._forget_recreated({topic})
                return [(topic, partition) for partition in sorted(partitions)]
            if time.monotonic() > deadline:
                raise BusError(
                    f"topic {topic} does not exist: check topic_prefix, or run `backpack-streams topics apply`"
                )
            await asyncio.sleep(_NEW_TOPIC_POLL_SECONDS)

    def partition_count(self, topic: str) -> int | None:
        """Return the number of partitions of an assigned topic, at most five seconds old; None if it is unknown."""
        partitions = self._open._client.cluster.partitions_for_topic(topic)
        return len(partitions) if partitions else None

    async def has(self, topic: str) -> bool:
        """Whether the topic exists now. `topic` is a full name.

        Raises:
            BusError: Kafka does not answer.
        """
        try:
            return topic in (await self._open._client.fetch_all_metadata()).topics()
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error

    async def existing_topic_partitions(self, topics: Iterable[str]) -> dict[str, list[TopicPartition]]:
        """The partitions of those of the topics that are there at this moment, by topic: one question for all of them.

        Raises:
            BusError: Kafka does not answer.
        """
        wanted = list(topics)
        self._ids.watch(wanted)
        try:
            known = await self._open._client.fetch_all_metadata()
            await self._open._client.force_metadata_update()  # leaders of new partitions are asked by offset
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        self._forget_recreated(frozenset(wanted))
        partitions = {topic: known.partitions_for_topic(topic) for topic in wanted}
        return {topic: [(topic, each) for each in sorted(found)] for topic, found in partitions.items() if found}

    async def ends(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the end offset of each partition: the offset that its next record will get.

        If its topic is recreated before it is read up to there, `poll` says so, until its partitions are asked for again.

        Raises:
            BusError: Kafka does not answer.
        """
        asked = list(topic_partitions)
        topics = {topic for topic, _ in asked}
        if not topics <= self._ids.watched:
            self._ids.watch(topics)
            await self._open._client.force_metadata_update()
        return await self._ask("end_offsets", asked)

    @property
    def _ids(self) -> TopicIds:
        ids: TopicIds = self._open._client.topic_ids
        return ids

    def _forget_recreated(self, topics: AbstractSet[str]) -> None:
        """Forget that these topics were recreated, since the caller keeps no offsets of them; those that were followed have positions."""
        self._ids.take_recreated(topics - self._followed_last)

    async def beginnings(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        """Return the lowest offset that each partition still holds.

        Raises:
            BusError: Kafka does not answer.
        """
        return await self._ask("beginning_offsets", topic_partitions)

    async def _ask(self, what: str, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        try:
            answer = await getattr(self._open, what)([AiokafkaPartition(*each) for each in topic_partitions])
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        return {(each.topic, each.partition): offset for each, offset in answer.items()}

    async def offset_at(self, topic_partition: TopicPartition, timestamp_ms: int) -> int | None:
        """Return the first offset whose record is stamped at `timestamp_ms` (ms since the Unix epoch) or later, None if
        there is none (KIP-79).

        Raises:
            BusError: Kafka does not answer.
        """
        partition = AiokafkaPartition(*topic_partition)
        try:
            found = (await self._open.offsets_for_times({partition: timestamp_ms}))[partition]
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        return None if found is None else int(found.offset)

    @contextmanager
    def searching(self) -> Iterator[None]:
        """In this context, fetches wait only briefly for records. For callers that read existing records and query offsets
        in between.

        The assignment is cleared at the end, because a waiting fetch would delay the next query.
        """
        fetcher = self._open._fetcher
        fetcher._fetch_max_wait_ms = _SEARCH_WAIT_MILLIS
        try:
            yield
        finally:
            self.assign({})
            fetcher._fetch_max_wait_ms = _FETCH_WAIT_MILLIS

    def assign(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read exactly these partitions from these offsets. If one of their topics is recreated, `poll` raises an error."""
        self._watches = False
        self._begin_anew(offsets)

    def follow(self, offsets: Mapping[TopicPartition, int], topics: Container[str] | None = None) -> None:
        """Read exactly these partitions, and partitions that are added to their topics later, those from their beginning.

        A topic that is deleted and recreated is read from its beginning. Kafka 2.8 and newer report that within
        seconds; with older brokers it is noticed only if the new topic ends before the next offset.

        Args:
            offsets: the next offset of each partition, for every partition that the topics have now.
            topics: the topics whose added partitions are read, None for all.
        """
        self._begin_anew(offsets)
        self._watches = True
        self._followed_last = frozenset(topic for topic, _ in offsets)
        self._ids.watch(self._followed_last)
        self._open._client.force_metadata_update()
        self._followed = frozenset(topic for topic in self._followed_last if topics is None or topic in topics)

    def also(self, offsets: Mapping[TopicPartition, int]) -> None:
        """Read these partitions as well, from these offsets. Partitions that are read already keep their positions."""
        reached = {each: self.reached(each) for each in self._assigned}
        self._begin_at(reached | dict(offsets))

    def _begin_anew(self, offsets: Mapping[TopicPartition, int]) -> None:
        self._unmet = {}
        self._followed = frozenset()
        self._begin_at(offsets)

    def _begin_at(self, offsets: Mapping[TopicPartition, int | None]) -> None:
        self._assigned = set(offsets)
        self._open.assign([AiokafkaPartition(*each) for each in offsets])
        for topic_partition, offset in offsets.items():
            if offset is not None:  # otherwise Kafka determines where the partition begins
                self._open.seek(AiokafkaPartition(*topic_partition), offset)

    def _read_added(self) -> None:
        counts = {topic: self.partition_count(topic) or 0 for topic in self._followed}
        added = {(topic, number) for topic, count in counts.items() for number in range(count)} - self._assigned
        if added:
            logger.warning(
                "partitions were added; reading them from their beginning", extra={"partitions": sorted(added)}
            )
            self.also(dict.fromkeys(added, 0))

    def _look_for_recreated(self) -> None:
        """Go to the beginning of recreated topics that are followed; raise an error for those that are only read."""
        topics = {topic for topic, _ in self._assigned}
        if not self._watches:
            recreated = self._ids.recreated(topics)
            self._forget_recreated(topics)
            if recreated:
                raise TopicRecreatedError(recreated)
            return
        for topic in self._ids.take_recreated(topics):
            logger.error("a topic was deleted and recreated; reading it from its beginning", extra={"topic": topic})
            for topic_partition in self._assigned:
                if topic_partition[0] == topic:
                    self._open.seek(AiokafkaPartition(*topic_partition), 0)

    async def position(self, topic_partition: TopicPartition) -> int:
        """Return the offset of the next record, which may have to be looked up."""
        return int(await self._open.position(AiokafkaPartition(*topic_partition)))

    def reached(self, topic_partition: TopicPartition) -> int | None:
        """Return the offset of the next record without a request; None while Kafka has yet to determine where the
        partition begins.
        """
        state = self._open._subscription.subscription.assignment.state_value(AiokafkaPartition(*topic_partition))
        return int(state.position) if state.has_valid_position else None

    def high_water(self, topic_partition: TopicPartition) -> int | None:
        """Return the end offset of the partition as of the last fetch, without a request; None before the first fetch."""
        end = self._open.highwater(AiokafkaPartition(*topic_partition))
        return None if end is None else int(end)

    async def poll(self, timeout_ms: int, most: int = _RECORDS_A_POLL, only: Iterable[TopicPartition] = ()) -> Records:
        """Return the available records by partition; empty if none come in time. A cancelled call loses nothing: the next
        one returns its records.

        Args:
            timeout_ms: how long to wait for the first record.
            most: the maximum number of records.
            only: the partitions to read from; the others keep their positions. Empty for all assigned partitions.

        Raises:
            TopicRecreatedError: a topic that is read, but not followed, was recreated.
            BusError: Kafka refuses. Unreachable brokers are waited for instead.
        """
        chosen = [AiokafkaPartition(*each) for each in only]
        self._look_for_recreated()
        if self._followed:
            self._read_added()
        if not self._has_unmet(chosen):
            self._check_fetcher()
            try:
                fetched: Any = await self._open.getmany(*chosen, timeout_ms=timeout_ms, max_records=most)
            except (KafkaError, OSError) as error:
                raise self._connection.explain(error) from error
            if self._codec is None:
                return fetched  # type: ignore[no-any-return]  # aiokafka has no type hints
            self._unmet |= fetched
        unmet = {each: batch for each, batch in self._unmet.items() if not chosen or each in chosen}
        if self._codec is not None and unmet:
            await self._codec.meet(record.value for batch in unmet.values() for record in batch)
        # If the assignment changed meanwhile, the records of the old one are dropped.
        return {each: self._unmet.pop(each) for each, batch in unmet.items() if self._unmet.get(each) is batch}

    def _check_fetcher(self) -> None:
        """Raise what ended aiokafka's fetching task: on its own, aiokafka would say nothing and return no record any more."""
        task: asyncio.Task[None] = self._open._fetcher.error_future
        if task.done() and not task.cancelled() and (error := task.exception()) is not None:
            raise self._connection.explain(error) from error

    def _has_unmet(self, chosen: Sequence[AiokafkaPartition]) -> bool:
        return any(not chosen or each in chosen for each in self._unmet)


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Stop a consumer.

    While it drops an assignment, aiokafka's fetcher mistakes its own cancellation for that of a fetch. So it gets a
    moment to finish that first, and is cancelled again if it continues. It may also raise such a cancellation as if it
    were the caller's.
    """
    try:
        await asyncio.sleep(_SETTLE_SECONDS)
    finally:  # also if nobody waits for it any more
        await _stop_now(consumer)


async def _stop_now(consumer: AIOKafkaConsumer) -> None:
    stopping = asyncio.create_task(consumer.stop(), name="stop consumer")
    while not stopping.done():
        await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
        stopping.cancel()
    error = None if stopping.cancelled() else stopping.exception()
    if isinstance(error, (KafkaError, OSError)):
        logger.info("unclean shutdown of a kafka consumer", extra={"error": repr(error)})
    elif error is not None:
        raise error
