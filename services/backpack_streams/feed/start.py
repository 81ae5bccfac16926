"""The start of a producer: what the sockets bring is held until it is known what Kafka has already. Sans I/O.

A start ends in one of three ways, for each stream: *resumed* (a gap says what the ids or the coverage show to be missing, if anything is),
*began, unknown before* (a gap of reason STREAM_START says so), or *failed*: then nothing of what was held is published, and the next start
finds Kafka as this one did. "Nothing was before" is never concluded from not knowing.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.feed.coverage import Break

HELD_BYTES = 128 * 1024 * 1024
FRAME_OVERHEAD_BYTES = 150
PATIENCE_SECONDS = 120.0
_STREAM = re.compile(rb'"stream"\s*:\s*"([^"]*)"')


class StartError(BackpackStreamsError):
    """A producer could not find out what Kafka has; nothing was published."""


@dataclass(frozen=True, slots=True)
class HeldFrame:
    """A frame that waits: which socket brought it, and when (microseconds since the Unix epoch).

    `came`: the same in monotonic seconds, or a little earlier.
    """

    link: int
    payload: bytes
    received_us: int
    came: float


class Start:
    """Holds frames and breaks of coverage in their order. Times are monotonic seconds."""

    def __init__(self, now: float, limit_bytes: int = HELD_BYTES, patience_seconds: float = PATIENCE_SECONDS) -> None:
        self._held: list[HeldFrame | Break] = []
        self._limit_bytes = limit_bytes
        self._began = now
        self._give_up_at = now + patience_seconds
        self.held_bytes = 0
        self.is_over = False
        self.problem = ""
        self.others_know = False
        """Whether the instances that this one takes over from may end without anybody noticing (see `feed/overlap.py`)."""

    @property
    def is_full(self) -> bool:
        """Whether no more should be read."""
        return self.held_bytes >= self._limit_bytes

    def frame(self, link: int, payload: bytes, received_us: int, came: float) -> None:
        """Holds a frame."""
        self._held.append(HeldFrame(link, payload, received_us, came))
        self.held_bytes += len(payload) + FRAME_OVERHEAD_BYTES

    def brought_at(self) -> dict[str, float]:
        """When each stream brought the last frame that is held (monotonic seconds)."""
        found: dict[str, float] = {}
        for each in self._held:
            if isinstance(each, HeldFrame) and (stream := _STREAM.search(each.payload)) is not None:
                found[stream[1].decode("utf-8", "replace")] = each.came
        return found

    def broke(self, gaps: Iterable[Break]) -> None:
        """Holds breaks of coverage, in their place among the frames."""
        self._held.extend(gaps)

    def failed(self, problem: str, now: float) -> None:
        """Kafka did not say what it has: try again, until patience ends.

        Raises:
            StartError: it has ended. What was held is forgotten.
        """
        self.problem = problem
        if now >= self._give_up_at:
            waited = now - self._began
            self.abandon()
            raise StartError(
                f"what Kafka holds already could not be read in {waited:.0f} s ({problem}); nothing was published: "
                "check the brokers and this service's right to read its topics, then start it again"
            )

    def abandon(self) -> None:
        """The start ends without knowing: nothing of what was held is published."""
        self._held.clear()
        self.held_bytes = 0

    def finish(
        self, first: Iterable[Break], on_frame: Callable[[int, bytes, int], None], on_break: Callable[[Break], None]
    ) -> None:
        """What Kafka has is known: the breaks that follow from it come `first`, then what was held, in its order."""
        self.is_over = True
        for gap in first:
            on_break(gap)
        held, self._held = self._held, []
        self.held_bytes = 0
        for each in held:
            if isinstance(each, Break):
                on_break(each)
            else:
                on_frame(each.link, each.payload, each.received_us)
