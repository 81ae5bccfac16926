"""The runs of coverage of a stream, and the producer instances that state them; see `coverage.py`. Sans I/O."""

from collections import deque
from collections.abc import Callable, Mapping
from math import ceil, inf
from typing import Final, NamedTuple

from backpack_streams.sequencing.knowledge import Knowledge
from backpack_streams.sequencing.watermarks import Instance
from backpack_streams.topic_partition import TopicPartition

__all__ = [
    "OLDEST_ANSWER_SECONDS",
    "Mark",
    "Producer",
    "Run",
    "RunKey",
    "TopicPartitionOf",
    "watermarks_to_outlast_an_answer",
]

TopicPartitionOf = Callable[[str, int | None], TopicPartition | None]
"""The partition of a stream's records, given the number of partitions that its producer knows, or None if unknown. None for a stream
without interest. A producer that started before partitions were added continues with the old number.
"""

_MARKS_KEPT: Final = 300
OLDEST_ANSWER_SECONDS: Final = 20.0
"""No answer of the exchange's REST API is older than this: its servers lag by less."""


def watermarks_to_outlast_an_answer(interval_ms: int) -> int:
    """How many watermarks an instance publishes, one per `interval_ms`, in at least `OLDEST_ANSWER_SECONDS`."""
    return ceil(OLDEST_ANSWER_SECONDS * 1000 / max(1, interval_ms))


class RunKey(NamedTuple):
    """An interval of coverage: the instance, and the start by its clock (µs since the Unix epoch)."""

    instance: str
    since: int


class Mark(NamedTuple):
    """A watermark that advanced: its offset in its topic, its content, and when that was the case (the reader's monotonic seconds)."""

    offset: int
    complete_through: int
    fresh_at: float
    offsets: Mapping[TopicPartition, int]


class Run:
    """One open interval of coverage of one stream, as far as is known."""

    __slots__ = (
        "_sequence",
        "holds",
        "key",
        "next_offset",
        "offset",
        "outlasted_at",
        "producer",
        "stream",
        "through",
        "topic_partition",
    )

    def __init__(
        self, key: RunKey, stream: str, topic_partition: TopicPartition, producer: "Producer", next_offset: int
    ) -> None:
        self.key = key
        self.stream = stream
        self.topic_partition = topic_partition
        """The partition of the stream's records."""
        self.producer = producer
        self.offset = producer.offset
        """The offset of the first known watermark that states the run."""
        self.through = producer.said.complete_through
        """`complete_through` of that watermark (µs since the Unix epoch)."""
        self._sequence = producer.said.sequence
        self.outlasted_at: int | None = None
        """Offset of the first watermark from which on no answer of the exchange can be older than the run; None before that."""
        self.next_offset = next_offset
        """The offset in `topic_partition` from which on this instance's records were sent after `through`."""
        self.holds: dict[RunKey, int] = {key: 0}
        """The runs that this one continues without a break, itself included, each with an offset. Once `topic_partition` was read
        up to it, a proof in that run holds in this one."""

    @property
    def service(self) -> str:
        """The service of the instance, for messages."""
        return self.producer.said.service

    def begins_anew(self, offset: int) -> None:
        """Note that the partition was recreated and is read from `offset`: all records there are younger than what is known of the run."""
        self.next_offset = offset
        self.holds = dict.fromkeys(self.holds, offset)

    def goes_on(self) -> bool:
        """Note another watermark of the run. Returns whether the run is older than any answer of the exchange can be."""
        said = self.producer.said
        if self.outlasted_at is None and said.sequence - self._sequence >= watermarks_to_outlast_an_answer(
            said.interval_ms
        ):
            self.outlasted_at = self.producer.offset
        return self.outlasted_at is not None


class Producer:
    """One instance: its marks, its open runs, and what it knows about the watermarks' topic."""

    __slots__ = ("heard_at", "knowledge", "marks", "offset", "runs", "said", "young")

    def __init__(self, said: Instance) -> None:
        self.said = said
        self.offset = 0
        """Of its newest record."""
        self.marks: deque[Mark] = deque(maxlen=_MARKS_KEPT)
        self.runs: dict[str, Run] = {}
        self.young: list[Run] = []
        """Runs that an answer of the exchange may still be older than."""
        self.knowledge = Knowledge()
        self.heard_at = -inf
