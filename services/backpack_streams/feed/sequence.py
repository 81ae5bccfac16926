"""The position of a stream: the next message, the messages already seen, and the missing ones. Sans I/O.

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
"""How long an early message waits for the ones before it, while another socket may still bring them."""
HELD_AT_MOST = 5_000
RECENT = 256


class Verdict(Enum):
    """The treatment of a message; see `SocketChain.judge` and `Latest.offer`."""

    TAKE = auto()
    DUPLICATE = auto()
    HOLD = auto()
    GAP = auto()
    OVERLAP = auto()
    RESTARTED = auto()


T = TypeVar("T")


class SocketChain(Chain, Generic[T]):
    """A sequence that several sockets may bring: an early message waits while another socket may still bring the ones before it."""

    __slots__ = ("_early", "held")

    def __init__(self) -> None:
        super().__init__()
        self._early: Reordering[T] = Reordering()
        self.held = self._early.held
        """The held messages. `SequencedFeed` asks for them with every frame, so they are not behind another object."""

    def judge(self, first_id: int, last_id: int, time_us: int, others: bool, received_us: int | None = None) -> Verdict:
        """Judge a message. After TAKE, GAP, OVERLAP and RESTARTED the caller calls `took`, after HOLD `hold`.

        GAP: ids are missing and no socket can bring them. OVERLAP: the message begins with ids that were already published. RESTARTED: the
        ids restarted lower, at a later engine time, so it is no duplicate.

        Args:
            first_id: its first id.
            last_id: its last id.
            time_us: its engine time (µs since the Unix epoch), 0 if unknown.
            others: whether another socket delivers as well.
            received_us: when it was received, by our clock (µs since the Unix epoch); None if unknown.
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
        return Verdict.GAP

    def hold(self, message: Held[T]) -> None:
        """Keep an early message."""
        self._early.hold(message)

    def released(self, now: float, others: bool) -> Iterator[Held[T]]:
        """Yield the held messages whose turn has come, in order: the ones before them were published, or the wait is over.

        The caller judges each again as if only one socket were left, and calls `took` as after `judge`.

        Args:
            now: present time (monotonic seconds).
            others: whether another socket delivers as well. Otherwise nothing waits any longer.
        """
        return self._early.released(self._has_come_to, now, HOLD_SECONDS if others else -inf, HELD_AT_MOST)

    def _has_come_to(self, first_id: int) -> bool:
        return self.next_id is not None and first_id <= self.next_id


class Waiting(NamedTuple, Generic[T]):
    """A message of a socket that may be ahead of another one. Sorts by its time."""

    time_us: int
    order_id: int
    mark: int
    socket: int
    since: float
    """When it came (seconds of the monotonic clock)."""
    item: T


_SOCKETS_IN_STEP = 8
"""More than can exist at once."""


@dataclass(slots=True)
class Latest(Generic[T]):
    """A stream that is only ordered, by time or by an id: the newest message matters.

    A socket that starts while another one delivers may be ahead of it. Its messages are held until the other socket brings the same ones.
    From then on both are in step, and a message that neither has brought before is new.
    """

    socket: int | None = None
    recent: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Hashes of the last published messages, each with its socket and time; they identify copies from another socket."""
    held: list[Waiting[T]] = field(default_factory=list)
    _in_step: set[int] = field(default_factory=set)
    _has_met: bool = False

    def offer(self, time_us: int, socket: int, mark: int, others: bool, every_message_counts: bool) -> Verdict:
        """Judge a message: TAKE, DUPLICATE or HOLD. After TAKE the caller calls `took`, after HOLD `hold`.

        A socket that delivers alone is believed: only a copy is refused, whatever the time. Otherwise a single message an hour ahead would
        block all later ones.

        Args:
            time_us: its time (µs since the Unix epoch), 0 if unknown.
            socket: the socket that brought it.
            mark: a hash of it.
            others: whether another socket delivers as well.
            every_message_counts: if set, delay matters more than order, and nothing is held.
        """
        if self.is_copy(mark, socket):
            self._steps(socket)
            return Verdict.DUPLICATE
        if not others:
            self._in_step = {socket}
            return Verdict.TAKE
        if every_message_counts:
            return Verdict.TAKE
        if any(held.mark == mark and held.socket != socket for held in self.held):
            self._has_met = True
            self._steps(socket)
            return Verdict.DUPLICATE  # the held copy will be published
        if socket not in self._in_step:
            return Verdict.HOLD
        return Verdict.DUPLICATE if socket != self.socket and self._is_forgotten(time_us) else Verdict.TAKE

    def took(self, time_us: int, socket: int, mark: int) -> None:
        """Note that a message was published.

        Args:
            time_us: its time (µs since the Unix epoch), 0 if unknown.
            socket: the socket that brought it.
            mark: a hash of it.
        """
        self.recent[mark] = socket, time_us
        if len(self.recent) > RECENT:
            del self.recent[next(iter(self.recent))]
        self.socket = socket

    def forget(self) -> None:
        """Forget the published messages. Those that are held remain."""
        self.recent = {}

    def is_copy(self, mark: int, socket: int) -> bool:
        """Return whether another socket than `socket` has brought this message."""
        return self.recent.get(mark, (socket, 0))[0] != socket

    def hold(self, message: Waiting[T]) -> None:
        """Keep a message of a socket that is not in step yet."""
        self.held.append(message)

    def released(self, now: float, others: bool) -> list[Waiting[T]]:
        """Return the held messages in order, once another socket has brought one of them, or none will; empty before that.

        Call it only while messages are held.

        Args:
            now: present time (monotonic seconds).
            others: whether another socket delivers as well.
        """
        is_due = not others or self._has_met or len(self.held) >= HELD_AT_MOST
        if not is_due and now - min(held.since for held in self.held) < HOLD_SECONDS:
            return []
        held, self.held, self._has_met = self.held, [], False
        for each in held:
            self._steps(each.socket)
        return sorted(held, key=lambda each: (each.time_us, each.order_id))

    def _steps(self, socket: int) -> None:
        if len(self._in_step) >= _SOCKETS_IN_STEP:
            self._in_step.clear()
        self._in_step.add(socket)

    def _is_forgotten(self, time_us: int) -> bool:
        """Return whether the message is older than all remembered ones; then it is a very late copy. A time of 0 is unknown."""
        return len(self.recent) >= RECENT and 0 < time_us <= next(iter(self.recent.values()))[1]


CLOSING_SECONDS = 5.0
"""How long the closed state of a candle may come after the first message of a later one before it counts as lost."""

Candles = tuple[int, int]
"""Missing candles: from the start of the first one to the start of the one that is present again (µs since the Unix epoch)."""


@dataclass(slots=True)
class CandleChain:
    """A stream of candles: each begins where the previous one ended, and is reported once as closed.

    `until` is the end of the last candle whose closed state was published or is on record as missing; None while unknown. All times are
    microseconds since the Unix epoch. An open candle is provisional: only its closed state counts as the candle.
    """

    until: int | None = None
    _ahead: int | None = None
    _overdue_since: float | None = None

    def misses(self, start_us: int) -> bool:
        """Return whether the candle that starts at `start_us` has not been published as closed yet."""
        return self.until is None or start_us >= self.until

    @property
    def awaits_closing(self) -> bool:
        """Whether a later candle has begun, so that the closed state of an earlier one either comes soon or is lost."""
        return self._ahead is not None

    def took(self, start_us: int, end_us: int, is_closed: bool, now: float) -> Candles | None:
        """Note a state of a candle that was published; return the closed candles before it that are now known to be lost.

        Args:
            start_us: start of the candle.
            end_us: its end, which is the start of the next one.
            is_closed: whether this is its final state.
            now: when it was published (monotonic seconds).
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
        """Return the candles whose closed state did not come in time after a later candle had begun."""
        if self._ahead is None or self._overdue_since is None or now - self._overdue_since < CLOSING_SECONDS:
            return None
        ahead, self._ahead, self._overdue_since = self._ahead, None, None
        return self.skip_to(ahead)

    def skip_to(self, start_us: int) -> Candles | None:
        """Count everything before `start_us` as reported. Returns what was missing; None if nothing was."""
        if self.until is None or start_us <= self.until:
            return None
        lost, self.until = (self.until, start_us), start_us
        return lost
