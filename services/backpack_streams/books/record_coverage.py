"""Up to when the records of a topic are complete, by the watermarks of those who publish them. Sans I/O."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

from backpack_streams.bus.partitioner import partition_of
from backpack_streams.bus.stream_names import STREAMS_OF_TOPICS, symbol_of_stream
from backpack_streams.sequencing.coverage import CoverageView, Run

__all__ = ["TopicCoverage"]

_BELIEVED_SECONDS: Final = 5.0
_FORGOTTEN_SECONDS: Final = 3600.0

Place = tuple[str, int]


class TopicCoverage:
    """Takes watermarks in their order; `complete_through` holds them against how far a reader has come."""

    def __init__(
        self,
        topic: str,
        full_name: str,
        watermarks: Place,
        ends: Mapping[Place, int],
        partitions: int,
        wanted: Iterable[str] | None,
    ) -> None:
        """Prepare.

        Args:
            topic: its name without the prefix; one that is filled from streams.
            full_name: its name with the prefix.
            watermarks: the partition of the watermarks.
            ends: where each partition that is read ended when the reader came.
            partitions: how many the topic has.
            wanted: the symbols; None for all.
        """
        self._kinds = STREAMS_OF_TOPICS[topic]
        self._full_name = full_name
        self._partitions = partitions
        self._wanted = None if wanted is None else frozenset(wanted)
        self._places = [place for place in ends if place[0] == full_name]
        self._view = CoverageView(watermarks, full_name, self._place_of, _BELIEVED_SECONDS)
        self._view.ends = dict(ends)
        self._streams: dict[str, tuple[float, frozenset[str]]] = {}
        """By producer instance that has not ended: when it was heard, and the streams of the topic that it is there for."""

    def take(self, record: Mapping[str, Any], offset: int, *, is_new: bool, now: float, wall_us: int) -> None:
        """Take a Watermark record with times in microseconds; `now` is in monotonic seconds. `is_new`: it was written after we came.

        Raises:
            KeyError: the record is no watermark.
        """
        self._view.take(record, offset, heard=now if is_new else None, now=now, wall_us=wall_us)
        instance, coverage = record["instance"], record["coverage"]
        if record["is_final"]:
            self._streams.pop(instance, None)
        elif coverage is not None:
            streams = frozenset(
                stream for interval in coverage for stream in interval["streams"] if self._place_of(stream) is not None
            )
            self._streams[instance] = now, streams
        elif instance in self._streams:
            self._streams[instance] = now, self._streams[instance][1]

    def forget_old(self, now: float) -> None:
        """Forget instances that have said nothing for an hour."""
        self._view.forget_old(now)
        for instance in [name for name, (heard, _) in self._streams.items() if now - heard > _FORGOTTEN_SECONDS]:
            del self._streams[instance]

    def is_incomplete(self) -> bool:
        """Whether older watermarks have to be read to know what covers the streams."""
        return self._view.is_incomplete()

    def complete_through(self, position: Callable[[Place], int], kind: str | None = None) -> int | None:
        """Up to when (µs, by a producer's clock) all that the exchange sent of the wanted streams is below `position` of its partition.

        `kind` leaves streams of other kinds out, for a topic that has several. None where nobody covers one of the streams.
        """
        self._view.positions = {place: position(place) for place in self._places}
        known = frozenset[str]().union(*(streams for _, streams in self._streams.values()))
        moments = []
        for streams in self._alternatives(known, kind):
            through = max((each for each in map(self._through, streams) if each is not None), default=None)
            if through is None:
                return None
            moments.append(through)
        return min(moments, default=None)

    def _alternatives(self, known: frozenset[str], kind: str | None) -> Iterator[tuple[str, ...]]:
        """For each wanted market and kind the streams of which any brings its records."""
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
        """The newest watermark of a run of which all partitions that it may have written to were read so far."""
        view = self._view
        places = self._places if stream in self._kinds else [run.place]
        if any(view.positions.get(place, 0) < view.ends.get(place, 0) for place in places):
            return None
        for mark in reversed(run.producer.marks):
            if mark.offset < run.offset:
                return None
            if all(mark.offsets.get(place, 0) <= view.positions.get(place, 0) for place in places):
                return mark.complete_through
        return None

    def _place_of(self, stream: str, partitions: int | None = None) -> Place | None:
        for kind in self._kinds:
            symbol = symbol_of_stream(kind, stream)
            if symbol == "":
                return self._full_name, 0
            if symbol is not None and (self._wanted is None or symbol in self._wanted):
                return self._full_name, partition_of(symbol.encode(), partitions or self._partitions)
        return None
