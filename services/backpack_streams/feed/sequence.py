"""Where a stream stands: which message comes next, which was seen already, and what is missing. Sans I/O.

Two sockets may deliver the same stream (`connections: 2`, or make before break). The first copy of a message wins.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from math import inf
from typing import Generic, NamedTuple, TypeVar

from backpack_streams.sequencing.chain import Chain
from backpack_streams.sequencing.reordering import PATIENCE_SECONDS, Held, Reordering

HOLD_SECONDS = PATIENCE_SECONDS
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


class SocketChain(Chain, Generic[T]):
    """A chain that several sockets may bring: what comes early waits while another socket may still bring the messages before it."""

    __slots__ = ("_early", "held")

    def __init__(self) -> None:
        super().__init__()
        self._early: Reordering[T] = Reordering()
        self.held = self._early.held
        """The messages that wait: asked for with every frame, so not by way of another object."""

    def judge(self, first_id: int, last_id: int, time_us: int, others: bool, received_us: int | None = None) -> Verdict:
        """What to do with a message; `others`: another socket delivers as well, `received_us`: when it came, by our clock.

        HOLE: ids are missing and nobody can bring them. OVERLAP: it begins with ids that went out already. RESTARTED: the ids
        began again lower, at a later engine time, so it is no duplicate. After all of these and TAKE the caller calls `took`.
        """
        expected = self.next_id
        if expected is None:
            return Verdict.TAKE
        if last_id < expected:
            return Verdict.RESTARTED if self.begins_anew(last_id, time_us, 0, received_us) else Verdict.DUPLICATE
        if first_id <= expected:
            if self.is_of_before(time_us):
                return Verdict.DUPLICATE
            return Verdict.TAKE if first_id == expected else Verdict.OVERLAP
        if others:
            if time_us < self.began_us:  # the other socket still delivers the sequence that ended
                return Verdict.DUPLICATE
            if len(self.held) < HELD_AT_MOST:
                return Verdict.HOLD
        return Verdict.HOLE

    def hold(self, message: Held[T]) -> None:
        """Keeps a message that came early."""
        self._early.hold(message)

    def released(self, now: float, others: bool) -> Iterator[Held[T]]:
        """The held messages whose turn has come, in order: because the ones before them went out, or because waiting is over.

        `now`: seconds of the monotonic clock. The caller judges each again as if one socket were left, and calls `took` as after `judge`.
        """
        return self._early.released(self._has_come_to, now, HOLD_SECONDS if others else -inf, HELD_AT_MOST)

    def _has_come_to(self, first_id: int) -> bool:
        return self.next_id is not None and first_id <= self.next_id


class Waiting(NamedTuple, Generic[T]):
    """A message of a socket that may have overtaken another one. Sorts by its time."""

    time_us: int
    order_id: int
    mark: int
    link: int
    since: float
    """When it came (seconds of the monotonic clock)."""
    item: T


_LINKS_IN_STEP = 8
"""More than there can be at once."""


@dataclass(slots=True)
class Latest(Generic[T]):
    """A stream whose messages are only ordered, by time or by an id: what matters is the newest.

    A socket that begins to deliver beside another one may overtake it. What it brings is held until the other one brings the same: from
    then on both are in step, and whatever neither of them has brought before is new.
    """

    link: int | None = None
    recent: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Of the messages taken last their hashes, each with its socket and time: by them the copies of another socket are known."""
    held: list[Waiting[T]] = field(default_factory=list)
    _in_step: set[int] = field(default_factory=set)
    _has_met: bool = False

    def offer(self, time_us: int, link: int, mark: int, others: bool, every_message_counts: bool) -> Verdict:
        """TAKE, DUPLICATE or HOLD; `mark` is a hash of the message, `others`: another socket delivers as well.

        After TAKE the caller calls `took`, after HOLD `hold`. Of a socket that delivers alone everything but a copy is taken, whatever its
        times: a message that was an hour ahead must not cost all that come after it. With `every_message_counts` order matters less
        than delay: nothing is held.
        """
        if self.is_copy(mark, link):
            self._steps(link)
            return Verdict.DUPLICATE
        if not others:
            self._in_step = {link}
            return Verdict.TAKE
        if every_message_counts:
            return Verdict.TAKE
        if any(held.mark == mark and held.link != link for held in self.held):
            self._has_met = True
            self._steps(link)
            return Verdict.DUPLICATE  # the one that is held goes out
        if link not in self._in_step:
            return Verdict.HOLD
        return Verdict.DUPLICATE if link != self.link and self._is_forgotten(time_us) else Verdict.TAKE

    def took(self, time_us: int, link: int, mark: int) -> None:
        """The message went out."""
        self.recent[mark] = link, time_us
        if len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]
        self.link = link

    def is_copy(self, mark: int, link: int) -> bool:
        """Whether another socket than `link` has brought this message."""
        return self.recent.get(mark, (link, 0))[0] != link

    def hold(self, message: Waiting[T]) -> None:
        """Keeps a message of a socket that is not in step yet."""
        self.held.append(message)

    def released(self, now: float, others: bool) -> list[Waiting[T]]:
        """The held messages in their order, once another socket has brought one of them, or none will; none before that."""
        is_due = not others or self._has_met or len(self.held) >= HELD_AT_MOST
        if not is_due and now - min(held.since for held in self.held) < HOLD_SECONDS:
            return []
        held, self.held, self._has_met = self.held, [], False
        for each in held:
            self._steps(each.link)
        return sorted(held, key=lambda each: (each.time_us, each.order_id))

    def _steps(self, link: int) -> None:
        if len(self._in_step) >= _LINKS_IN_STEP:
            self._in_step.clear()
        self._in_step.add(link)

    def _is_forgotten(self, time_us: int) -> bool:
        """Whether a message is from before those that are remembered: then it is a copy that came very late. A time of 0 is not known."""
        return len(self.recent) >= RECENT and 0 < time_us <= next(iter(self.recent.values()))[1]


CLOSING_SECONDS = 5.0
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
    _overdue_since: float | None = None

    def misses(self, start_us: int) -> bool:
        """Whether the candle that starts at `start_us` has not gone out closed yet."""
        return self.until is None or start_us >= self.until

    @property
    def awaits_closing(self) -> bool:
        """Whether a later candle has begun, so that the closed state of one before it comes soon or is lost."""
        return self._ahead is not None

    def took(self, start_us: int, end_us: int, is_closed: bool, now: float) -> Candles | None:
        """A state of a candle went out at `now` (seconds of the monotonic clock).

        Returns the closed candles that are now known to be lost before it.
        """
        if self.until is None:
            self.until = start_us
        if not is_closed:
            if start_us > self.until:
                self._ahead = max(start_us, self._ahead or 0)
                if self._overdue_since is None:
                    self._overdue_since = now
            return self.overdue(now)
        lost = self.skip_to(start_us)
        self.until = max(self.until, end_us)
        if self._ahead is not None and self._ahead <= self.until:
            self._ahead = self._overdue_since = None
        return lost

    def overdue(self, now: float) -> Candles | None:
        """The candles whose closed state did not come in time after a later candle had begun."""
        if self._ahead is None or self._overdue_since is None or now - self._overdue_since < CLOSING_SECONDS:
            return None
        ahead, self._ahead, self._overdue_since = self._ahead, None, None
        return self.skip_to(ahead)

    def skip_to(self, start_us: int) -> Candles | None:
        """What is missing before `start_us` is on record from now on. Returns it; None where nothing is."""
        if self.until is None or start_us <= self.until:
            return None
        lost, self.until = (self.until, start_us), start_us
        return lost
