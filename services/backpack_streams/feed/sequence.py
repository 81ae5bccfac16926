"""Where a stream stands: which message comes next, which was seen already, and what is missing. Sans I/O.

Two sockets may deliver the same stream (`connections: 2`, or make before break). The first copy of a message wins.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Generic, NamedTuple, TypeVar

HOLD_MICROS = 300_000
"""How long a message that came early waits for the ones before it, while another socket may still bring them."""
HELD_AT_MOST = 5_000
RECENT = 256


class Verdict(Enum):
    """What is to be done with a message."""

    TAKE = auto()
    DUPLICATE = auto()
    HOLD = auto()
    HOLE = auto()
    OVERLAP = auto()
    RESTARTED = auto()


T = TypeVar("T")


class Held(NamedTuple, Generic[T]):
    """A message that came before the ones that should precede it."""

    first_id: int
    last_id: int
    time_us: int
    since_us: int
    item: T


@dataclass(slots=True)
class Chain(Generic[T]):
    """A stream whose ids follow on each other: `first_id` is the previous `last_id` plus one.

    `next_id` is None until the first message. `time_us` is the engine's time of the last message taken, `began_us` of the first one
    after the ids began anew.
    """

    next_id: int | None = None
    time_us: int = 0
    began_us: int = 0
    held: list[Held[T]] = field(default_factory=list)

    def offer(self, first_id: int, last_id: int, time_us: int, links: int) -> Verdict:
        """What to do with a message that came on one of `links` sockets.

        HOLE: ids are missing and nobody can bring them. OVERLAP: it begins with ids that went out already. RESTARTED: the ids
        began again lower, at a later engine time, so it is no duplicate. After all of these and TAKE the caller calls `took`.
        """
        expected = self.next_id
        if expected is None or first_id == expected:
            return Verdict.TAKE
        if last_id < expected:
            return Verdict.RESTARTED if time_us > self.time_us else Verdict.DUPLICATE
        if first_id < expected:
            return Verdict.OVERLAP
        if links > 1:
            if time_us < self.began_us:  # the other socket still delivers the sequence that ended
                return Verdict.DUPLICATE
            if len(self.held) < HELD_AT_MOST:
                return Verdict.HOLD
        return Verdict.HOLE

    def took(self, last_id: int, time_us: int) -> None:
        """The message that ends at `last_id` went out."""
        self.next_id = last_id + 1
        self.time_us = max(self.time_us, time_us)

    def begin_anew(self, time_us: int) -> None:
        """The ids began again lower, with a message of this time."""
        self.time_us = self.began_us = time_us

    def hold(self, message: Held[T]) -> None:
        """Keeps a message that came early."""
        self.held.append(message)

    def released(self, now_us: int, links: int) -> Iterator[Held[T]]:
        """The held messages whose turn has come, in order: because the ones before them went out, or because waiting is over.

        The caller offers each again as if one socket were left, and calls `took` as after `offer`.
        """
        self.held.sort(key=lambda held: (held.first_id, held.last_id))
        while self.held:
            first = self.held[0]
            ripe = self.next_id is not None and first.first_id <= self.next_id
            if not ripe and links > 1 and now_us - first.since_us < HOLD_MICROS and len(self.held) < HELD_AT_MOST:
                return
            yield self.held.pop(0)


@dataclass(slots=True)
class Latest:
    """A stream whose messages are only ordered, by time or by an id: what matters is the newest."""

    last_id: int | None = None
    time_us: int = 0
    link: int | None = None
    recent: deque[bytes] = field(default_factory=lambda: deque(maxlen=RECENT))

    def offer(
        self, order_id: int, time_us: int, link: int, data: bytes, links: int, every_message_counts: bool
    ) -> Verdict:
        """TAKE or DUPLICATE. With `every_message_counts` only an exact copy is a duplicate; else also a message that is
        older than one already taken from another socket, since taking it would turn the order round. Ids that go back at a
        later time have begun anew.
        """
        if links > 1 or link != self.link:
            comes_late = self.last_id is not None and link != self.link and time_us <= self.time_us
            is_older = comes_late and (time_us, order_id) < (self.time_us, self.last_id)
            if comes_late and (data in self.recent or (is_older and not every_message_counts)):
                return Verdict.DUPLICATE
            self.recent.append(data)
        self.link = link
        if self.last_id is None or order_id > self.last_id or time_us > self.time_us:
            self.last_id = order_id
        self.time_us = max(self.time_us, time_us)
        return Verdict.TAKE


CLOSING_MICROS = 5_000_000
"""How long the closing of a candle may come after the first message of a later one before it counts as lost."""

Candles = tuple[int, int]
"""Candles that are missing: from the start of the first one to the start of the one that is there again, microseconds."""


@dataclass(slots=True)
class CandleChain:
    """A stream of candles: each begins where the one before it ended, and says once that it is closed.

    `until` is where the last candle ended whose closed state went out, or is on record as missing; None while nothing is known.
    All times are microseconds since the Unix epoch. An open candle is provisional: only its closed state counts as the candle.
    """

    until: int | None = None
    _ahead: int | None = None
    _overdue_since_us: int | None = None

    def misses(self, start_us: int) -> bool:
        """Whether the candle that starts at `start_us` has not gone out closed yet."""
        return self.until is None or start_us >= self.until

    def took(self, start_us: int, end_us: int, is_closed: bool, now_us: int) -> Candles | None:
        """A state of a candle went out at `now_us`. Returns the closed candles that are now known to be lost before it."""
        if self.until is None:
            self.until = start_us
        if not is_closed:
            if start_us > self.until:
                self._ahead = max(start_us, self._ahead or 0)
                if self._overdue_since_us is None:
                    self._overdue_since_us = now_us
            return self.overdue(now_us)
        lost = self.skip_to(start_us)
        self.until = max(self.until, end_us)
        if self._ahead is not None and self._ahead <= self.until:
            self._ahead = self._overdue_since_us = None
        return lost

    def overdue(self, now_us: int) -> Candles | None:
        """The candles whose closed state did not come in time after a later candle had begun."""
        if self._ahead is None or self._overdue_since_us is None or now_us - self._overdue_since_us < CLOSING_MICROS:
            return None
        ahead, self._ahead, self._overdue_since_us = self._ahead, None, None
        return self.skip_to(ahead)

    def skip_to(self, start_us: int) -> Candles | None:
        """What is missing before `start_us` is on record from now on. Returns it; None where nothing is."""
        if self.until is None or start_us <= self.until:
            return None
        lost, self.until = (self.until, start_us), start_us
        return lost
