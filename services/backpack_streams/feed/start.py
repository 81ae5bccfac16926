"""The start of a producer: it holds the frames of the sockets until it knows what Kafka already has. Sans I/O.

For each stream, a start has one of three results. *Resumed*: a gap reports what the ids or the coverage show to be missing, if anything.
*Began, unknown before*: a gap of reason STREAM_START says so. *Failed*: no held frame is published, and the next start finds Kafka
unchanged. The producer never takes missing knowledge for an empty history.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.feed.moments import Break

HELD_BYTES = 128 * 1024 * 1024
FRAME_OVERHEAD_BYTES = 150
PATIENCE_SECONDS = 120.0
_STREAM = re.compile(rb'"stream"\s*:\s*"([^"]*)"')


class StartError(BackpackStreamsError):
    """The producer could not find out what Kafka has. Nothing was published."""


@dataclass(frozen=True, slots=True)
class HeldFrame:
    """A held frame: its socket, and when it was received (microseconds since the Unix epoch).

    `came`: the same time in monotonic seconds, or a little earlier.
    """

    socket: int
    payload: bytes
    received_us: int
    came: float


class Start:
    """Holds frames and breaks of coverage in order. Times are monotonic seconds."""

    def __init__(self, now: float, limit_bytes: int = HELD_BYTES, patience_seconds: float = PATIENCE_SECONDS) -> None:
        """Begin to hold frames.

        Args:
            now: present time (monotonic seconds).
            limit_bytes: memory at which reading should stop (`is_full`).
            patience_seconds: how long Kafka may fail before the start fails.
        """
        self._held: list[HeldFrame | Break] = []
        self._limit_bytes = limit_bytes
        self._began = now
        self._give_up_at = now + patience_seconds
        self.held_bytes = 0
        self.is_over = False
        self.problem = ""
        self.others_know = False
        """Whether the instances that this one takes over from may end without a break for readers (see `feed/overlap.py`)."""

    @property
    def is_full(self) -> bool:
        """Whether reading should stop."""
        return self.held_bytes >= self._limit_bytes

    def frame(self, socket: int, payload: bytes, received_us: int, came: float) -> None:
        """Hold a frame.

        Args:
            socket: the socket that brought it.
            payload: the frame, undecoded.
            received_us: when it was received (µs since the Unix epoch).
            came: the same time in monotonic seconds, or a little earlier.
        """
        self._held.append(HeldFrame(socket, payload, received_us, came))
        self.held_bytes += len(payload) + FRAME_OVERHEAD_BYTES

    def brought_at(self) -> dict[str, float]:
        """Return when each stream brought its newest held frame (monotonic seconds)."""
        found: dict[str, float] = {}
        for each in self._held:
            if isinstance(each, HeldFrame) and (stream := _STREAM.search(each.payload)) is not None:
                found[stream[1].decode("utf-8", "replace")] = each.came
        return found

    def broke(self, gaps: Iterable[Break]) -> None:
        """Hold breaks of coverage, in order with the frames."""
        self._held.extend(gaps)

    def failed(self, problem: str, now: float) -> None:
        """Note that reading Kafka failed; the caller retries until `patience_seconds` are over.

        Args:
            problem: the failure in words, for readiness and for the error.
            now: present time (monotonic seconds).

        Raises:
            StartError: the patience is over. The held frames are dropped.
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
        """End the start without an answer: drop the held frames, publish none."""
        self._held.clear()
        self.held_bytes = 0

    def finish(
        self, first: Iterable[Break], on_frame: Callable[[int, bytes, int], None], on_break: Callable[[Break], None]
    ) -> None:
        """Handle the breaks that follow from Kafka's content, then everything that was held, in order.

        If that raises, the rest is dropped and the start is not over, so that no watermark vouches for it.

        Args:
            first: these breaks.
            on_frame: called with socket, payload and receive time (µs since the Unix epoch) of each frame.
            on_break: called with each break of coverage.
        """
        self.is_over = True
        try:
            self._release(first, on_frame, on_break)
        except BaseException:  # any failure, a cancellation too: no watermark may vouch for what was dropped
            self.is_over = False
            raise

    def _release(
        self, first: Iterable[Break], on_frame: Callable[[int, bytes, int], None], on_break: Callable[[Break], None]
    ) -> None:
        for gap in first:
            on_break(gap)
        held, self._held = self._held, []
        self.held_bytes = 0
        for each in held:
            if isinstance(each, Break):
                on_break(each)
            else:
                on_frame(each.socket, each.payload, each.received_us)
