"""The builder's reading loop: passes Kafka's records to the keeper, and measures the lag."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence

from aiokafka.structs import ConsumerRecord
from prometheus_client.registry import Collector

from backpack_streams.backoff import Backoff
from backpack_streams.book_builder.audit_writer import AuditWriter
from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.lag import PartitionLag
from backpack_streams.book_builder.takeover import TRADE_TOPIC, Takeover
from backpack_streams.books.joining import DEPTH_TOPIC, GAP_TOPIC
from backpack_streams.bus.group import GroupMember
from backpack_streams.bus.reader import Reader, Records
from backpack_streams.errors import BusError
from backpack_streams.publishing.publish_times import AT_BOOK, data_age
from backpack_streams.topic_partition import TopicPartition

__all__ = ["Reading"]

logger = logging.getLogger(__name__)

_RECORDS_A_POLL = 10_000
_GATHER_SECONDS = 0.01
_FEW_RECORDS = 500
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 10.0
_COUNT_SECONDS = 10.0


class Reading:
    """Reads the partitions that the group has assigned."""

    def __init__(
        self,
        reader: Reader,
        group: GroupMember,
        keeper: BookKeeper,
        audits: AuditWriter,
        takeover: Takeover,
        prefix: str,
        poll_millis: int,
        then: Callable[[float], Awaitable[None]],
    ) -> None:
        """Prepare.

        Args:
            reader: a connected reader.
            group: the group membership.
            keeper: receives the records.
            audits: receives the trades.
            takeover: opens partitions in the keeper and assigns the reader.
            prefix: the topic prefix.
            poll_millis: how long one poll waits for records.
            then: awaited after each round, with the time (monotonic seconds).
        """
        self._reader = reader
        self._group = group
        self._keeper = keeper
        self._audits = audits
        self._takeover = takeover
        self._depth_topic, self._trade_topic = prefix + DEPTH_TOPIC, prefix + TRADE_TOPIC
        self._gap_partition: TopicPartition = (prefix + GAP_TOPIC, 0)
        self._poll_millis = poll_millis
        self._then = then
        self._lags: dict[int, PartitionLag] = {}
        self._ages = data_age()
        self._age = self._ages.cell(AT_BOOK, "depth")
        self.assigned: frozenset[int] | None = None
        """The partitions being read; None while they change."""
        self.failures = 0
        self._additions = 0
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)

    async def run(self) -> None:
        """Read until cancelled. Retries while Kafka is unavailable."""
        while True:
            try:
                await self._read()
            except BusError as error:
                self.failures += 1
                logger.warning("kafka does not answer; retrying", extra={"error": str(error)})
                await asyncio.sleep(self._backoff.next_delay_seconds())

    async def _read(self) -> None:
        while True:
            assigned = self._group.assigned
            if assigned is not None and assigned != self.assigned:
                await self._take_over(assigned)
            if self.assigned:
                records = await self._reader.poll(self._poll_millis, _RECORDS_A_POLL)
                self._backoff.reset()
                self._take(records)
                if await self._takeover.finds_watermarks():
                    self.assigned = None
            else:
                records = {}
                await asyncio.sleep(self._poll_millis / 1000)
            await self._then(time.monotonic())
            if records and sum(map(len, records.values())) < _FEW_RECORDS:
                await asyncio.sleep(_GATHER_SECONDS)  # gathers a trickle, to avoid a poll per record

    async def _take_over(self, assigned: frozenset[int]) -> None:
        decision = self._decision
        self.assigned = None  # the reader's assignment changes meanwhile
        if await self._takeover.take(assigned, lambda: self._decision != decision):
            self._lags = {number: self._lags.get(number) or PartitionLag() for number in assigned}
            self.assigned = assigned

    @property
    def _decision(self) -> tuple[int, int]:
        """A value that changes with each rebalance and when partitions are added."""
        return self._group.rebalances, self._additions

    def _take(self, records: Records) -> None:
        now, intake = time.monotonic(), self._keeper.intake
        if intake.vouching is not None:
            intake.vouching.watermarks.polled(
                sum(map(len, records.values())) < _RECORDS_A_POLL, intake.vouching.clock()
            )
        self._keeper.take(records, now)
        for partition, batch in records.items():
            if partition.topic == self._depth_topic:
                self._note_age(batch)
            elif partition.topic == self._trade_topic:
                self._audits.take_trades(batch)
                intake.partitions.positions[partition.topic, partition.partition] = batch[-1].offset + 1
        if self.assigned:  # None if the group has rebalanced meanwhile
            followed = [*intake.partitions.opened, self._gap_partition]
            self._keeper.set_positions({each: self._reader.reached(each) for each in followed}, now)
        for number, unread in self.lag().items():
            if not unread and number in self._lags:
                self._lags[number].at_end(now)

    def _note_age(self, batch: Sequence[ConsumerRecord]) -> None:
        """Measure the data's age once per read. Records read while catching up do not count: their age is the builder's absence."""
        number = batch[0].partition
        lag = self._lags.get(number)
        if lag is None:  # assigned to another builder meanwhile
            return
        lag.read(batch[-1].timestamp)
        if self._keeper.has_caught_up(number):
            self._age.observe(max(0.0, time.time() - batch[0].timestamp / 1000))

    async def count_partitions(self) -> None:
        """Watch for added partitions. They move markets to other partitions, so all books start over and the group assigns
        the new partitions.
        """
        while True:
            await asyncio.sleep(_COUNT_SECONDS)
            try:
                count = len(await self._reader.topic_partitions(self._depth_topic))
            except BusError:  # the reading loop reports it
                continue
            if count != self._keeper.intake.depth_partitions and self._keeper.partitions:
                known = self._keeper.intake.depth_partitions
                logger.error(
                    "partitions were added: restart every producer; books start over",
                    extra={"topic": self._depth_topic, "partitions": count, "known": known},
                )
                self._additions += 1
                self._keeper.close(self._keeper.partitions)
                self.assigned = None
                await self._group.look_for_partitions()

    # State ---------------------------------------------------------------------------------------------------

    def lag(self) -> dict[int, int]:
        """Return the number of updates in Kafka that the books lack, by partition."""
        if self.assigned is None:
            return {}
        offsets = self._keeper.offsets
        ends = {number: self._reader.high_water((self._depth_topic, number)) for number in offsets}
        return {number: max(0, end - offsets[number]) for number, end in ends.items() if end is not None}

    def lag_seconds(self) -> dict[int, float]:
        """Return an upper bound for the age of the oldest of these updates in seconds, by partition."""
        now, wall, lags = time.monotonic(), time.time(), self._lags
        return {
            number: lags[number].seconds(unread, now, wall) for number, unread in self.lag().items() if number in lags
        }

    def collectors(self) -> Iterable[Collector]:
        """Return the metric of the data's age."""
        return (self._ages,)
