"""Records out of Kafka, by partition and offset, without a consumer group: the reader decides where it starts and knows where it is."""

import asyncio
import logging
import time
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError
from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.clients import Consumer
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.errors import BusError

__all__ = ["Place", "Reader", "Records", "stop_consumer"]

logger = logging.getLogger(__name__)

Place = tuple[str, int]
"""A topic and a partition."""
Records = Mapping[TopicPartition, list[ConsumerRecord]]

_FETCH_BYTES_A_PARTITION = 4 * 1024 * 1024
_RECORDS_A_POLL = 10_000
_NEW_TOPIC_SECONDS = 3.0
_NEW_TOPIC_POLL_SECONDS = 0.2
_FETCH_WAIT_MILLIS = 100
"""A broker answers one request of a connection after the other: a fetch that waits for records holds up every question behind it."""
_SEARCH_WAIT_MILLIS = 5
_METADATA_MILLIS = 5_000
"""How old the number of a topic's partitions may be that a running reader goes by."""
_SETTLE_SECONDS = 0.02
_STOP_SECONDS = 5.0


class Reader:
    """A consumer with positions of its own. Use as an async context manager.

    `codec` is who will decode the records: it meets schema ids that are new to it before they are handed out.
    """

    def __init__(self, connection: KafkaConnection, codec: Codec | None = None) -> None:
        self._connection = connection
        self._codec = codec
        self._consumer: AIOKafkaConsumer | None = None
        self._unmet: dict[TopicPartition, list[ConsumerRecord]] = {}
        """Taken from the client, but not handed out yet: their schemas are still asked for, or whoever polled was cancelled then."""
        self._assigned: set[Place] = set()
        self._followed: frozenset[str] = frozenset()
        self._watches = False

    async def __aenter__(self) -> Self:
        """Connects.

        Raises:
            BusError: Kafka cannot be reached or refuses the credentials.
        """
        consumer = Consumer(
            self._connection,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # what retention removed is a hole that the sequence shows
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

    async def places(self, topic: str, patience_seconds: float = _NEW_TOPIC_SECONDS) -> list[Place]:
        """The partitions of `topic`; waits a moment for one that was made just now.

        Raises:
            BusError: the topic does not exist, or Kafka does not answer.
        """
        deadline = time.monotonic() + patience_seconds
        while True:
            try:
                await self._open._client.force_metadata_update()  # leaders of new partitions are asked by offset
                known = await self._open._client.fetch_all_metadata()  # partitions_for_topic looks at the cache
            except (KafkaError, OSError) as error:
                raise self._connection.explain(error) from error
            partitions = known.partitions_for_topic(topic)
            if partitions:
                return [(topic, partition) for partition in sorted(partitions)]
            if time.monotonic() > deadline:
                raise BusError(
                    f"topic {topic} does not exist: check topic_prefix, or run `backpack-streams topics apply`"
                )
            await asyncio.sleep(_NEW_TOPIC_POLL_SECONDS)

    def partition_count(self, topic: str) -> int | None:
        """How many partitions an assigned topic had when Kafka was last asked, every five seconds; None where that is not known."""
        partitions = self._open._client.cluster.partitions_for_topic(topic)
        return len(partitions) if partitions else None

    async def has(self, topic: str) -> bool:
        """Whether the topic is there at this moment.

        Raises:
            BusError: Kafka does not answer.
        """
        try:
            return topic in (await self._open._client.fetch_all_metadata()).topics()
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error

    async def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """The high watermark of each partition: the offset that the next record will get."""
        return await self._ask("end_offsets", places)

    async def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        """The lowest offset that each partition still holds."""
        return await self._ask("beginning_offsets", places)

    async def _ask(self, what: str, places: Iterable[Place]) -> dict[Place, int]:
        try:
            answer = await getattr(self._open, what)([TopicPartition(*place) for place in places])
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        return {(place.topic, place.partition): offset for place, offset in answer.items()}

    async def offset_at(self, place: Place, timestamp_ms: int) -> int | None:
        """The first offset whose record is stamped at `timestamp_ms` or later; None when there is none."""
        partition = TopicPartition(*place)
        try:
            found = (await self._open.offsets_for_times({partition: timestamp_ms}))[partition]
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        return None if found is None else int(found.offset)

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Fetches hardly wait for records in this context: for who reads what is there, and asks questions in between.

        At its end nothing is assigned any more: else a fetch would wait for more, and the next question behind it.
        """
        fetcher = self._open._fetcher
        fetcher._fetch_max_wait_ms = _SEARCH_WAIT_MILLIS
        try:
            yield
        finally:
            self.assign({})
            fetcher._fetch_max_wait_ms = _FETCH_WAIT_MILLIS

    def assign(self, offsets: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, and no others."""
        self._watches = False
        self._begin_anew(offsets)

    def follow(self, offsets: Mapping[Place, int], topics: Container[str] | None = None) -> None:
        """As `assign`, and partitions added to the offsets' topics (to `topics` among them) are read as well, from their beginning.

        All partitions that these topics have by now are to be among the offsets. A topic that was made anew is read from where it
        begins. Kafka 2.8 and newer say within seconds that it was; else it shows if it ends before the offset that comes next.
        """
        self._begin_anew(offsets)
        self._watches = True
        self._open._client.topic_ids.watch({topic for topic, _ in offsets})
        self._open._client.force_metadata_update()
        self._followed = frozenset(topic for topic, _ in offsets if topics is None or topic in topics)

    def also(self, offsets: Mapping[Place, int]) -> None:
        """Read these partitions from these offsets on, beside those that are read: they stay where they are."""
        reached = {place: self.reached(place) for place in self._assigned}
        self._begin_at(reached | dict(offsets))

    def _begin_anew(self, offsets: Mapping[Place, int]) -> None:
        self._unmet = {}
        self._followed = frozenset()
        self._begin_at(offsets)

    def _begin_at(self, offsets: Mapping[Place, int | None]) -> None:
        self._assigned = set(offsets)
        self._open.assign([TopicPartition(*place) for place in offsets])
        for place, offset in offsets.items():
            if offset is not None:  # else Kafka has to say where the partition begins now
                self._open.seek(TopicPartition(*place), offset)

    def _read_added(self) -> None:
        counts = {topic: self.partition_count(topic) or 0 for topic in self._followed}
        added = {(topic, number) for topic, count in counts.items() for number in range(count)} - self._assigned
        if added:
            logger.warning("partitions were added; they are read as well", extra={"partitions": sorted(added)})
            self.also(dict.fromkeys(added, 0))

    def _begin_made_anew(self) -> None:
        for topic in self._open._client.topic_ids.take_made_anew():
            logger.error("a topic was deleted and made anew; it is read from its beginning", extra={"topic": topic})
            for place in self._assigned:
                if place[0] == topic:
                    self._open.seek(TopicPartition(*place), 0)

    async def position(self, place: Place) -> int:
        """The offset of the record that comes next."""
        return int(await self._open.position(TopicPartition(*place)))

    def reached(self, place: Place) -> int | None:
        """The same without asking; None while Kafka has to say first where the partition begins."""
        state = self._open._subscription.subscription.assignment.state_value(TopicPartition(*place))
        return int(state.position) if state.has_valid_position else None

    def high_water(self, place: Place) -> int | None:
        """Where the partition ended when Kafka was last read from, without asking; None before the first answer."""
        end = self._open.highwater(TopicPartition(*place))
        return None if end is None else int(end)

    async def poll(self, timeout_ms: int, most: int = _RECORDS_A_POLL, only: Iterable[Place] = ()) -> Records:
        """The records that are there, by partition; waits `timeout_ms` for the first. Empty when none came.

        `only`: of these partitions alone, the others stay where they are; none named: of all that are assigned. A call that is
        cancelled loses nothing: the next one gives what that one had.

        Raises:
            BusError: Kafka refuses; unreachable brokers are waited for, not raised.
        """
        chosen = [TopicPartition(*place) for place in only]
        if self._watches:
            self._begin_made_anew()
        if self._followed:
            self._read_added()
        if not self._has_unmet(chosen):
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
        # An assignment meanwhile starts anew, and what was read before it belongs to nobody.
        return {each: self._unmet.pop(each) for each, batch in unmet.items() if self._unmet.get(each) is batch}

    def _has_unmet(self, chosen: Sequence[TopicPartition]) -> bool:
        return any(not chosen or each in chosen for each in self._unmet)


async def stop_consumer(consumer: AIOKafkaConsumer) -> None:
    """Ends a consumer.

    aiokafka's fetcher takes its own cancellation for that of a fetch it waits for, when it is just letting an assignment go. So it has
    a moment for that first, and is cancelled again where it goes on. It also lets such a cancellation out as if it were ours.
    """
    await asyncio.sleep(_SETTLE_SECONDS)
    stopping = asyncio.create_task(consumer.stop(), name="stop consumer")
    while not stopping.done():
        await asyncio.wait({stopping}, timeout=_STOP_SECONDS)
        stopping.cancel()
    error = None if stopping.cancelled() else stopping.exception()
    if isinstance(error, (KafkaError, OSError)):
        logger.info("kafka consumer left without a goodbye", extra={"error": repr(error)})
    elif error is not None:
        raise error
