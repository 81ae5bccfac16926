"""The judge: messages lost without a gap on record, and wrong books shown LIVE. Plain data in, verdicts out.

It does not depend on how the plant works: only on the exchange's messages, the contents of Kafka, and the books shown to readers.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

from faults.campaign.kept import GapRecord
from faults.campaign.truth import BookTimes, Identity, Message

MAX_BEHIND_SECONDS = 15.0
"""A LIVE book is never further behind the exchange."""

CLAIM_SLACK_SECONDS = 2.0
"""Messages made so shortly before a moment may still be in transit when a producer claims completeness up to it."""

SLACK_US = 1_000_000
"""Bounds in received time may be off by so much."""

WRONG_CLOCK_US = 60_000_000
"""If received time and event time differ by so much, the clock was wrong."""
STEP_US = 3_600_000_000
"""The size of clock steps in campaigns, which are shorter."""

_NO_LOSS = frozenset({"REFILLED", "AUDIT_MISMATCH"})
_REFILLED, _INCOMPLETE, _START = "REFILLED", "REFILL_INCOMPLETE", "STREAM_START"


@dataclass(frozen=True, slots=True)
class Loss:
    """Consecutive messages that are neither in Kafka nor inside a gap on record."""

    first: Message
    last: Message
    count: int
    why: str


def lost_messages(
    messages: Sequence[Message],
    kept: Collection[Identity],
    gaps: Iterable[GapRecord],
    letters: Collection[Identity] = (),
    *,
    since_us: int | None,
    until_us: int,
    received: Mapping[int, Collection[Identity]] | None = None,
    emptied_us: int | None = None,
) -> list[Loss]:
    """Find the messages that one market's stream has lost without a gap on record.

    Args:
        messages: all messages of the exchange, in order.
        kept: the messages in Kafka.
        gaps: the gaps on record for it.
        letters: the messages in dead letters.
        since_us: the first coverage of the stream, according to the plant; None if unknown.
        until_us: later messages do not count.
        received: the messages by received time, of any clock.
        emptied_us: when the topic was recreated; earlier messages do not count.

    Messages before the first message in Kafka, and before the first coverage, do not count.
    """
    is_kept = [each.identity in kept for each in messages]
    known = [place for place, here in enumerate(is_kept) if here]
    start = known[0] if known else len(messages)
    if since_us is not None:
        start = min(start, bisect_left(messages, since_us, key=lambda each: each.wall_us))
    if emptied_us is not None:
        start = max(start, bisect_left(messages, emptied_us, key=lambda each: each.wall_us))
    gaps = list(gaps)
    bounds = Bounds(messages, known, received or {})
    told = bounds.inside([gap for gap in gaps if gap.reason not in _NO_LOSS])
    incomplete = bounds.inside([gap for gap in gaps if gap.reason == _INCOMPLETE])
    claimed = bounds.inside([gap for gap in gaps if gap.reason == _REFILLED])
    lost: list[tuple[int, str]] = []
    for place in range(start, len(messages)):
        message = messages[place]
        if is_kept[place] or message.wall_us > until_us or message.identity in letters:
            continue
        if claimed[place] and not incomplete[place]:
            lost.append((place, "said to be refilled, but not in Kafka"))
        elif not told[place]:
            lost.append((place, "no gap on record"))
    return _runs(lost, messages)


class Bounds:
    """Finds the messages of one stream inside the bounds of a gap.

    Args:
        messages: the stream.
        known: indices of the messages in Kafka.
        received: see `lost_messages`. A bound equal to the received time of a record means that record. A bound by a wrong clock is
            looked up among the records received by that clock.
    """

    def __init__(
        self, messages: Sequence[Message], known: Sequence[int], received: Mapping[int, Collection[Identity]]
    ) -> None:
        self._messages = messages
        self._known = known
        self._received = received
        self._places = {each.identity: place for place, each in enumerate(messages)}
        self._stretches = _stretches(messages)
        self._wrongly_received = sorted(
            (wall_us, place)
            for wall_us in self._received
            for place in self._received_at(wall_us)
            if abs(wall_us - messages[place].wall_us) > WRONG_CLOCK_US
        )
        self._is_candle = bool(messages) and messages[0].kind.startswith("kline.")

    def inside(self, gaps: Iterable[GapRecord]) -> bytearray:
        """For each message, whether it is inside one of the gaps."""
        marks = bytearray(len(self._messages))
        for gap in gaps:
            first, end = self.covered(gap)
            if first < end:
                marks[first:end] = b"\1" * (end - first)
        return marks

    def covered(self, gap: GapRecord) -> tuple[int, int]:
        """Indices [first, end) inside a gap's bounds. A side without a bound reaches to the nearest message in Kafka."""
        after, before = self._after_last(gap), self._of_next(gap)
        if after is None and before is None:
            return 0, 0
        if after is None:
            assert before is not None
            if gap.reason == _START:  # the very first one: nothing is known of the time before
                return 0, before
            return self._back_from(self._unconfirmed_from(before, gap)), before
        if before is None:
            return after, self._on_from(after)
        return after, before

    def _unconfirmed_from(self, before: int, gap: GapRecord) -> int:
        """Messages from shortly before the coverage was confirmed do not prove that the earlier ones arrived."""
        if gap.next_id is not None or gap.next_us is None or before >= len(self._messages):
            return before
        return min(before, self._by_time(self._messages[before].wall_us - SLACK_US, bisect_left))

    def _on_from(self, after: int) -> int:
        place = bisect_left(self._known, after)
        return self._known[place] if place < len(self._known) else len(self._messages)

    def _back_from(self, before: int) -> int:
        place = bisect_left(self._known, before)
        return self._known[place - 1] + 1 if place else 0

    def _after_last(self, gap: GapRecord) -> int | None:
        """The first index after the last message received; None if the gap does not say."""
        if gap.last_id is not None:
            stretch = self._stretch_of(gap.last_id)
            return bisect_right(self._messages, gap.last_id, stretch.start, stretch.stop, key=_id)
        if gap.last_us is None:
            return None
        places = self._received_at(gap.last_us)
        if places:
            return max(places) + 1
        last_us = self._by_right_clock(gap.last_us)
        if (
            gap.next_id is None and gap.next_us is None
        ):  # it ends with the next message in Kafka: no slack before the last one
            return self._by_time(last_us, bisect_right)
        place = self._by_time(last_us - SLACK_US, bisect_left)
        return min(place, self._by_start(last_us)) if self._is_candle else place

    def _of_next(self, gap: GapRecord) -> int | None:
        """The first index from which nothing is missing; None if the gap does not say."""
        if gap.next_id is not None:
            stretch = self._stretch_of(gap.next_id)
            return bisect_left(self._messages, gap.next_id, stretch.start, stretch.stop, key=_id)
        if gap.next_us is None:
            return None
        places = self._received_at(gap.next_us)
        if places:
            return min(places)
        place = self._first_received_since(gap.next_us)
        if place is not None:
            return place
        if (
            gap.last_id is None and gap.last_us is None
        ):  # covered since then; before that unknown, back to the last message in Kafka
            return self._by_time(gap.next_us, bisect_right)
        next_us = self._by_right_clock(gap.next_us)
        place = self._by_time(next_us + SLACK_US, bisect_right)
        return max(place, self._by_start(next_us)) if self._is_candle else place

    def _received_at(self, wall_us: int) -> list[int]:
        found = (self._places.get(each) for each in self._received.get(wall_us, ()))
        return [place for place in found if place is not None]

    def _first_received_since(self, wall_us: int) -> int | None:
        """The index of the next record after a moment by a wrong clock; None if none arrived soon by such a clock."""
        at = bisect_left(self._wrongly_received, (wall_us, 0))
        if at == len(self._wrongly_received) or self._wrongly_received[at][0] - wall_us > 3 * SLACK_US:
            return None
        return self._wrongly_received[at][1]

    def _by_right_clock(self, wall_us: int) -> int:
        """A bound far outside of the campaign is by a stepped clock."""
        if self._messages and wall_us > self._messages[-1].wall_us + STEP_US // 2:
            return wall_us - STEP_US
        if self._messages and wall_us < self._messages[0].wall_us - STEP_US // 2:
            return wall_us + STEP_US
        return wall_us

    def _by_time(self, wall_us: int, bisect: Callable[..., int]) -> int:
        return bisect(self._messages, wall_us, key=lambda each: each.wall_us)

    def _by_start(self, start_us: int) -> int:
        """Gaps of candles may be bounded by the starts of candles."""
        return bisect_left(self._messages, start_us // 1_000_000, key=_id)

    def _stretch_of(self, update_id: int) -> range:
        """The stretch that holds an id, or has the nearest ids."""

        def distance(stretch: range) -> int:
            first, last = self._messages[stretch[0]].first_id or 0, _id(self._messages[stretch[-1]])
            return max(first - update_id, update_id - last, 0)

        return min(self._stretches, key=distance, default=range(0))


def _id(message: Message) -> int:
    return message.last_id or 0


def _stretches(messages: Sequence[Message]) -> list[range]:
    """Ranges of messages with ascending ids: a market that is listed again begins another one."""
    starts = [place for place in range(1, len(messages)) if _id(messages[place]) < _id(messages[place - 1])]
    bounds = [0, *starts, len(messages)]
    return [range(start, end) for start, end in pairwise(bounds) if start < end]


def _runs(lost: Sequence[tuple[int, str]], messages: Sequence[Message]) -> list[Loss]:
    runs: list[Loss] = []
    previous = -2
    for place, why in lost:
        if place == previous + 1 and runs[-1].why == why:
            runs[-1] = Loss(runs[-1].first, messages[place], runs[-1].count + 1, why)
        else:
            runs.append(Loss(messages[place], messages[place], 1, why))
        previous = place
    return runs


class Sight(NamedTuple):
    """A book as shown to a reader. Its age is judged as of `wall_us`; `levels` is compressed JSON."""

    reader: str
    wall_us: int
    symbol: str
    status: str
    last_update_id: int | None
    levels: bytes
    is_judged_by_age: bool = True
    top: int | None = None
    """Maximum number of levels per side; None: all."""
    as_of_us: int | None = None
    """The time up to which it claimed to be complete, by its producer's clock."""


class Wrong(NamedTuple):
    """A wrong book that was shown LIVE."""

    sight: Sight
    why: str


class Overclaim(NamedTuple):
    """A LIVE book that claimed to be complete up to a moment, and lagged by so much."""

    sight: Sight
    seconds: float


Books = Callable[[str, int], Mapping[str, Any] | None]
"""The exchange's book at an update id; None if it never had that id."""


def wrong_books(
    sights: Iterable[Sight],
    times: Mapping[str, BookTimes],
    books: Books,
    unpack: Callable[[bytes], Mapping[str, Any]],
    max_behind_seconds: float = MAX_BEHIND_SECONDS,
) -> list[Wrong]:
    """Each sight of a LIVE book that was wrong: never at that id, other levels, or too far behind the exchange."""
    found: list[Wrong] = []
    verdicts: dict[tuple[str, int, bytes, int | None], str | None] = {}
    for sight in sights:
        if sight.status != "LIVE":
            continue
        why = _why_wrong(sight, times.get(sight.symbol), books, unpack, verdicts)
        why = why or _why_behind(sight, times[sight.symbol], max_behind_seconds)
        if why is not None:
            found.append(Wrong(sight, why))
    return found


def _why_wrong(
    sight: Sight,
    times: BookTimes | None,
    books: Books,
    unpack: Callable[[bytes], Mapping[str, Any]],
    verdicts: dict[tuple[str, int, bytes, int | None], str | None],
) -> str | None:
    if times is None:
        return "the exchange has no such market"
    if sight.last_update_id is None or times.place(sight.last_update_id) is None:
        return f"the exchange's book was never at update {sight.last_update_id}"
    case = sight.symbol, sight.last_update_id, sight.levels, sight.top
    if case not in verdicts:
        truth = books(sight.symbol, sight.last_update_id)
        verdicts[case] = difference(unpack(sight.levels), truth, sight.top)
    return verdicts[case]


def difference(shown: Mapping[str, Any], truth: Mapping[str, Any] | None, top: int | None) -> str | None:
    """The difference between a shown book and the exchange's, for so many levels per side (None: all); None if they are equal."""
    if truth is None:
        return "the exchange's book of that update is not known any more"
    for side in ("bids", "asks"):
        ours = [tuple(level) for level in shown[side]]
        theirs = [tuple(level) for level in truth[side]][:top]
        if ours != theirs:
            only_ours = [level for level in ours if level not in theirs][:3]
            only_theirs = [level for level in theirs if level not in ours][:3]
            return f"other {side}: shown only {only_ours}, the exchange's only {only_theirs}"
    return None


def _why_behind(sight: Sight, times: BookTimes, max_behind_seconds: float) -> str | None:
    if not sight.is_judged_by_age or not times.is_open(sight.wall_us) or sight.last_update_id is None:
        return None
    place = times.place(sight.last_update_id)
    assert place is not None  # checked before
    if place >= times.place_as_of(sight.wall_us - int(max_behind_seconds * 1_000_000)):
        return None
    superseded_us = times.superseded_us(place)
    assert superseded_us is not None  # there is a newer state
    missed = times.place_as_of(sight.wall_us) - place
    return f"{missed} updates and {(sight.wall_us - superseded_us) / 1e6:.1f} s behind the exchange"


def overclaims(
    sights: Iterable[Sight], times: Mapping[str, BookTimes], slack_seconds: float = CLAIM_SLACK_SECONDS
) -> list[Overclaim]:
    """LIVE books that lacked an update from well before the moment up to which they claimed to be complete."""
    found: list[Overclaim] = []
    for sight in sights:
        if sight.status != "LIVE" or sight.as_of_us is None or sight.last_update_id is None:
            continue
        book = times.get(sight.symbol)
        place = None if book is None else book.place(sight.last_update_id)
        superseded_us = None if book is None or place is None else book.superseded_us(place)
        if superseded_us is not None and superseded_us < sight.as_of_us - slack_seconds * 1_000_000:
            found.append(Overclaim(sight, (sight.as_of_us - superseded_us) / 1e6))
    return found
