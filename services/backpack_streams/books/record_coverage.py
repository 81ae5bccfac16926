"""Computes up to when the records of a topic are complete, from its producers' watermarks. Sans I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from math import inf
from typing import Any, Final

from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.stream_names import STREAMS_OF_TOPICS, symbol_of_stream
from backpack_streams.sequencing.coverage import CoverageView
from backpack_streams.sequencing.runs import Run
from backpack_streams.topic_partition import TopicPartition

__all__ = ["TopicCoverage"]

_BELIEVED_SECONDS: Final = 5.0
_FORGOTTEN_SECONDS: Final = 3600.0


class TopicCoverage:
    """Takes watermarks in order; `complete_through` compares them with a reader's positions."""

    def __init__(
        self,
        topic: str,
        full_name: str,
        watermarks: TopicPartition,
        ends: Mapping[TopicPartition, int],
        partitions: int,
        wanted: Iterable[str] | None,
    ) -> None:
        """Prepare.

        Args:
            topic: name without the prefix, of a topic that producer streams fill.
            full_name: name with the prefix.
            watermarks: the partition of the watermarks.
            ends: end offset of each partition read, as of the join.
            partitions: number of partitions of the topic now; added ones show in the watermarks.
            wanted: the selected symbols; None for all.
        """
        self._kinds = STREAMS_OF_TOPICS[topic]
        self._full_name = full_name
        self._partitions = partitions
        self._wanted = None if wanted is None else frozenset(wanted)
        self._topic_partitions = [each for each in ends if each[0] == full_name]
        self._view = CoverageView(watermarks, full_name, self._topic_partition_of, _BELIEVED_SECONDS)
        self._view.ends = dict(ends)
        self._lost: dict[TopicPartition, float] = {}
        """By partition that lost records unread: the offset from which watermarks count again."""
        self._streams: dict[str, tuple[float, frozenset[str]]] = {}
        """For each active producer instance: when it was last heard (monotonic seconds), and its streams that fill the topic."""

    def take(self, record: Mapping[str, Any], offset: int, *, is_new: bool, now: float, wall_us: int) -> None:
        """Take a Watermark record with times in µs; `now` in monotonic seconds. `is_new`: it was written after the join.

        Raises:
            KeyError: the record is no watermark.
        """
        if offset < self._view.next_offset:  # the topic of watermarks was recreated
            self._lost.clear()
        self._include_added(record["offsets"])
        self._view.take(record, offset, heard=now if is_new else None, now=now, wall_us=wall_us)
        instance, coverage = record["instance"], record["coverage"]
        if record["is_final"]:
            self._streams.pop(instance, None)
        elif coverage is not None:
            streams = frozenset(
                stream
                for interval in coverage
                for stream in interval["streams"]
                if self._topic_partition_of(stream) is not None
            )
            self._streams[instance] = now, streams
        elif instance in self._streams:
            self._streams[instance] = now, self._streams[instance][1]

    def _include_added(self, offsets: Iterable[Mapping[str, Any]]) -> None:
        """Include partitions that were added to the topic: producers that were started since name them, and write to them."""
        for said in offsets:
            count = len(said["next_offsets"])
            if said["topic"] == self._full_name and count > self._partitions:
                self._partitions, known, wanted = count, set(self._topic_partitions), self._wanted
                numbers = range(count) if wanted is None else {partition_of(each.encode(), count) for each in wanted}
                self._topic_partitions += [
                    each for number in numbers if (each := (self._full_name, number)) not in known
                ]

    def forget_old(self, now: float) -> None:
        """Forget instances that have been silent for an hour."""
        self._view.forget_old(now)
        for instance in [name for name, (heard, _) in self._streams.items() if now - heard > _FORGOTTEN_SECONDS]:
            del self._streams[instance]

    def is_incomplete(self) -> bool:
        """Return whether older watermarks have to be read to know what covers the streams."""
        return self._view.is_incomplete()

    def read_up_to(self, position: Callable[[TopicPartition], int]) -> None:
        """Take the reader's positions, which show whether the topic was recreated.

        Args:
            position: returns the first offset of a partition that was not read yet.
        """
        for topic_partition in self._topic_partitions:
            self._view.read_up_to(topic_partition, position(topic_partition))

    def on_lost(self, topic_partition: TopicPartition) -> None:
        """Record that Kafka no longer had some records of a partition: no watermark of this round or an earlier one counts for it."""
        self._lost[topic_partition] = inf

    def end_round(self, position: Callable[[TopicPartition], int]) -> None:
        """Record that everything that a poll returned was taken; `position` as for `read_up_to`."""
        self.read_up_to(position)
        for topic_partition in [each for each, offset in self._lost.items() if offset == inf]:
            self._lost[topic_partition] = self._view.next_offset

    def complete_through(self, position: Callable[[TopicPartition], int], kind: str | None = None) -> int | None:
        """Return up to when all exchange data of the selected streams is below each partition's position.

        Args:
            position: returns the first offset of a partition that was not read yet.
            kind: restricts this to streams of one kind, such as `kline.1m`; None for all kinds of the topic.

        Returns:
            µs since the Unix epoch, by a producer's clock; None if a selected stream is not covered.
        """
        self.read_up_to(position)
        known = frozenset[str]().union(*(streams for _, streams in self._streams.values()))
        moments = []
        for streams in self._alternatives(known, kind):
            through = max((each for each in map(self._through, streams) if each is not None), default=None)
            if through is None:
                return None
            moments.append(through)
        return min(moments, default=None)

    def stream_complete_through(self, position: Callable[[TopicPartition], int], stream: str) -> int | None:
        """Return the same for one stream, such as `trade.SOL_USDC`; None while no producer covers it."""
        self.read_up_to(position)
        return self._through(stream)

    def _alternatives(self, known: frozenset[str], kind: str | None) -> Iterator[tuple[str, ...]]:
        """Yield, for each selected market and kind, the alternative streams that bring its records."""
        kinds = self._kinds if kind is None else (kind,)
        if self._wanted is None:
            for stream in known:
                if any(symbol_of_stream(each, stream) is not None for each in kinds):
                    yield (stream,)
            return
        if kind is None and len(kinds) > 1:
            kinds = tuple(each for each in kinds if any(symbol_of_stream(each, stream) is not None for stream in known))
            if not kinds:
                yield ()
        yield from ((each, f"{each}.{symbol}") for each in kinds for symbol in self._wanted)

    def _through(self, stream: str) -> int | None:
        return max(
            (each for run in self._view.runs(stream) if (each := self._reached(stream, run)) is not None), default=None
        )

    def _reached(self, stream: str, run: Run) -> int | None:
        """Return the newest watermark of a run whose partitions were all read that far; None without one."""
        view = self._view
        topic_partitions = self._topic_partitions if stream in self._kinds else [run.topic_partition]
        if any(view.positions.get(each, 0) < view.ends.get(each, 0) for each in topic_partitions):
            return None
        first = max(run.offset, *(self._lost.get(each, 0) for each in topic_partitions))
        for mark in reversed(run.producer.marks):
            if mark.offset < first:
                return None
            if all(mark.offsets.get(each, 0) <= view.positions.get(each, 0) for each in topic_partitions):
                return mark.complete_through
        return None

    def _topic_partition_of(self, stream: str, partitions: int | None = None) -> TopicPartition | None:
        for kind in self._kinds:
            symbol = symbol_of_stream(kind, stream)
            if symbol == "":
                return self._full_name, 0
            if symbol is not None and (self._wanted is None or symbol in self._wanted):
                return self._full_name, partition_of(symbol.encode(), partitions or self._partitions)
        return None
