"""From when to when each stream was covered, as the session tells it: the one source of gaps, readiness and watermarks. Sans I/O.

A stream is covered while the exchange has confirmed its subscription on a link that is known to be alive; two links that overlap make one
interval. Where no link covers a stream for a time, that time is a `Break`, and the stream's feed decides what it costs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from backpack_streams.exchange.session_actions import CoverageEvent, LinkProven, StreamsActive, StreamsInactive
from backpack_streams.feed import reports
from backpack_streams.sequencing.watermarks import Interval


class Moment(NamedTuple):
    """A moment on the monotonic clock (seconds), for comparing, and by the wall clock (microseconds), for records."""

    seconds: float
    us: int

    def at(self, seconds: float) -> "Moment":
        """Another moment of the monotonic clock, with the wall clock as it is at this one."""
        return Moment(seconds, self.us - round((self.seconds - seconds) * 1_000_000))

    def bounds(self, later: "Moment") -> tuple[int, int]:
        """From this moment to a later one by the wall clock. If that was set in between, the bounds hold by the old and the new time."""
        passed_us = round((later.seconds - self.seconds) * 1_000_000)
        return min(self.us, later.us - passed_us), max(later.us, self.us + passed_us)


@dataclass(frozen=True, slots=True)
class Break:
    """A time in which nobody covered a stream, microseconds since the Unix epoch.

    `since_us` is None where it is not known when it began. From `until_us` on the link `link_id` covers the stream;
    `is_new_link`: it had never done so before, so any message that it brought is one of this subscription.
    """

    stream: str
    reason: str
    detail: str
    since_us: int | None
    until_us: int
    link_id: int
    is_new_link: bool = True


_SILENT = "SILENT"
_NOTHING: Mapping[int, "Moment"] = {}
_REASONS = {
    "DISCONNECTED": (reports.DISCONNECTED, "no socket was up"),
    "REFUSED": (reports.SUBSCRIPTION_REFUSED, "the exchange refused the subscription"),
    _SILENT: (reports.SUBSCRIPTION_SILENT, "the exchange did not deliver on the subscription"),
    "UNSUBSCRIBED": (reports.NOT_SUBSCRIBED, "the market was not carried for a while"),
}
_RESTART = reports.RESTART, "the producer was away"
_START = reports.STREAM_START, "nothing is known of the stream before this"


@dataclass(slots=True)
class _Stream:
    active: dict[int, Moment] = field(default_factory=dict)
    """Links that deliver it, each with the moment from which on."""
    since: Moment | None = None
    until: Moment | None = None
    """When the last interval ended; None before that, and while one goes on."""
    through: Moment | None = None
    """Until when everything had been brought when a link left last."""
    first: tuple[Moment, int] | None = None
    """When this instance covered it first, and by which link, until what came before is known."""
    cause: str = "DISCONNECTED"
    left: tuple[int, ...] = ()
    """The last links that delivered it and do no more; some may still be there."""
    is_told: bool = True
    """Whether what the last break cost is on record, or was nothing: whoever takes over from this instance has to know."""
    is_shown: bool = True
    """Whether what came since shows that it is delivered, as far as that can be expected."""
    settled_until: int | None = None
    """If either is not so, when the coverage before that break ended."""

    @property
    def is_settled(self) -> bool:
        """Whether whoever takes over may count the coverage since the last break."""
        return self.is_told and self.is_shown

    def broke(self, until_us: int | None, is_shown: bool) -> None:
        """There is a break after `until_us`; breaks that follow before it is settled belong to it."""
        if self.is_settled:
            self.settled_until = until_us
        self.is_told, self.is_shown = False, is_shown


class Coverage:
    """The intervals of every stream, from the events of one session.

    `generation` grows whenever an interval begins or ends.
    """

    def __init__(self) -> None:
        self.is_to_be_shown: Callable[[str], bool] = lambda stream: False
        """Streams of which something has to come before who takes over counts their coverage: a subscription may be forgotten."""
        self.unshown: set[str] = set()
        """Streams of which nothing has come since their last break, though it has to."""
        self._streams: dict[str, _Stream] = {}
        self._wanted: set[str] = set()
        self._proven: dict[int, Moment] = {}
        self._active_links: dict[int, int] = {}
        """How many streams each link delivers."""
        self._links: set[int] = set()
        """Links that may deliver: they are proven, or streams are active on them."""
        self._earlier: Mapping[str, int | None] | None = None
        self.generation = 0

    # What is so.

    def is_covered(self, stream: str) -> bool:
        """Whether some link covers the stream now."""
        known = self._streams.get(stream)
        return known is not None and bool(known.active)

    def is_covered_beside(self, stream: str, link_id: int, since: float) -> bool:
        """Whether another link than this one covers the stream now, and has done so since that moment (monotonic seconds)."""
        known = self._streams.get(stream)
        others = () if known is None else (at for link, at in known.active.items() if link != link_id)
        return any(at.seconds <= since for at in others)

    def active_since(self, stream: str) -> float | None:
        """Since when some link delivers the stream (monotonic seconds), None while none does."""
        known = self._streams.get(stream)
        return min(known.active.values()).seconds if known is not None and known.active else None

    def cause(self, stream: str) -> str | None:
        """The reason of the gap that is open while nobody covers the stream; None while somebody does."""
        known = self._streams.get(stream)
        if known is None or known.since is None:
            return reports.STREAM_START
        return None if known.active else _REASONS[known.cause][0]

    def uncovered(self) -> set[str]:
        """Wanted streams that no link covers now."""
        return {name for name in self._wanted if not self.is_covered(name)}

    def other_link(self, link_id: int) -> bool:
        """Whether another link than this one delivers streams, so that the same message may come twice and out of turn."""
        return len(self._links) > 1 or (len(self._links) == 1 and link_id not in self._links)

    def complete_through(self, now: Moment) -> Moment:
        """Until when everything sent on the covered streams has been received; now, where none is covered."""
        return min((self._through(stream) for stream in self._streams.values() if stream.active), default=now)

    def through(self, stream: str) -> float | None:
        """Until when everything sent on this stream has been received (monotonic seconds); None while it is not covered."""
        known = self._streams.get(stream)
        return self._through(known).seconds if known is not None and known.active else None

    def since(self, stream: str) -> float | None:
        """Since when the stream is covered (monotonic seconds); None while it is not."""
        known = self._streams.get(stream)
        return known.since.seconds if known is not None and known.active and known.since is not None else None

    def began(self, now: Moment) -> Moment:
        """When the oldest interval that goes on began; now, where no stream is covered."""
        return min((stream.since for stream in self._streams.values() if stream.active and stream.since), default=now)

    def statement(self) -> tuple[tuple[Interval, tuple[str, ...]], ...]:
        """Every wanted stream by its interval, as the Watermark record has it."""
        groups: dict[Interval, list[str]] = {}
        for name in sorted(self._wanted):
            known = self._streams.get(name)
            interval = _UNKNOWN if known is None else _interval(known)
            groups.setdefault(interval, []).append(name)
        return tuple((interval, tuple(names)) for interval, names in groups.items())

    # What happens.

    def want(self, streams: Iterable[str]) -> None:
        """These streams are to be covered, and no others. Of one that is wanted again it is known how long it was not covered."""
        self._wanted = set(streams)
        self.generation += 1

    def leave(self, stream: str, now: Moment) -> Break | None:
        """A stream is wanted no more. If nobody covers it now, that time is over, as far as anybody will ever know."""
        known = self._streams.get(stream)
        if known is None or known.active or known.until is None:
            return None
        reason, detail = _REASONS[known.cause]
        bounds = known.until.bounds(now)
        known.until, known.cause = now, "UNSUBSCRIBED"
        return Break(stream, reason, detail, *bounds, 0)

    def take(self, event: CoverageEvent, now: Moment) -> list[Break]:
        """An event of the session; returns the times that are now known to have been covered by nobody."""
        match event:
            case LinkProven(link_id, through):
                self._proven[link_id] = now.at(through)
                self._find_links(now)
                return []
            case StreamsActive(streams, link_id, at):
                return list(self._activate(streams, link_id, now.at(at)))
            case StreamsInactive():
                return list(self._deactivate(event, now))

    def refused(self, stream: str) -> None:
        """The exchange refuses the subscription of a stream: that is why nobody covers it, whatever was the reason before."""
        known = self._streams.get(stream)
        if known is not None and not known.active:
            known.cause = "REFUSED"

    def settle(self, stream: str) -> None:
        """What the stream's last break cost is on record, or was nothing."""
        known = self._streams.get(stream)
        if known is not None and not known.is_told:
            known.is_told = True
            self.generation += 1

    def shown(self, stream: str) -> None:
        """What came since the stream's last break shows that it is delivered."""
        self.unshown.discard(stream)
        known = self._streams.get(stream)
        if known is not None and not known.is_shown:
            known.is_shown = True
            self.generation += 1

    def _broke(self, name: str, stream: _Stream, until_us: int | None) -> None:
        is_to_be_shown = self.is_to_be_shown(name)
        stream.broke(until_us, not is_to_be_shown)
        if is_to_be_shown:
            self.unshown.add(name)

    def resume(self, earlier: Mapping[str, int | None]) -> list[Break]:
        """Until when earlier instances, or others beside this one, have covered each stream (microseconds): None if one still does and goes
        past this instance's first coverage. A stream that is not named was never covered by anybody.
        """
        self._earlier = earlier
        found = [self._first_break(name, *stream.first) for name, stream in self._streams.items() if stream.first]
        return [each for each in found if each is not None]

    def _activate(self, streams: Iterable[str], link_id: int, at: Moment) -> Iterator[Break]:
        self.generation += 1
        for name in streams:
            stream = self._streams.setdefault(name, _Stream())
            if link_id in stream.active:
                continue
            self._active_links[link_id] = self._active_links.get(link_id, 0) + 1
            self._links.add(link_id)
            is_covered = bool(stream.active)
            stream.active[link_id] = at
            if is_covered:
                continue
            if stream.since is None:
                self._broke(name, stream, None)
                stream.since, stream.first = at, (at, link_id)
                found = None if self._earlier is None else self._first_break(name, at, link_id)
            else:
                found = self._resumed(name, stream, at, link_id)
            if found is not None:
                yield found

    def _resumed(self, name: str, stream: _Stream, at: Moment, link_id: int) -> Break | None:
        until, stream.until = stream.until, None
        if until is None or until >= at:
            return None
        self._broke(name, stream, until.us)
        stream.since = at
        reason, detail = _REASONS[stream.cause]
        is_new = link_id not in stream.left
        return Break(name, reason, detail, *until.bounds(at), link_id, is_new)

    def _first_break(self, name: str, at: Moment, link_id: int) -> Break | None:
        assert self._earlier is not None
        self._streams[name].first = None
        if name not in self._earlier:
            return Break(name, *_START, None, at.us, link_id)
        until_us = self._earlier[name]
        if until_us is None:
            self.settle(name)
            return None
        # Where the clock of an earlier producer was ahead of ours, its times do not say since when nobody covers the stream.
        return Break(name, *_RESTART, until_us if until_us <= at.us else None, at.us, link_id)

    def _deactivate(self, event: StreamsInactive, now: Moment) -> Iterator[Break]:
        self.generation += 1
        link_id, proof = event.link_id, self._proof(event.link_id)
        through = proof if event.through == proof.seconds else now.at(event.through)
        for name in event.streams:
            stream = self._streams.get(name)
            if stream is None or link_id not in stream.active:
                continue
            end = self._through(stream, {link_id: through})
            del stream.active[link_id]
            if event.cause == _SILENT:  # whatever other links claimed, nothing has come since `through`
                end = max(stream.since or _NEVER, min(end, through))
            stream.through = end
            stream.left = (*stream.left[-_LINKS_REMEMBERED:], link_id)
            self._active_links[link_id] -= 1
            if not self._active_links[link_id]:
                del self._active_links[link_id]
            if not stream.active:
                stream.until, stream.cause = end, event.cause
                continue
            other_link, other_at = min(stream.active.items(), key=_at)
            if other_at > end:  # the other link began after this one had last been proven
                self._broke(name, stream, end.us)
                stream.since = other_at
                reason, detail = _REASONS[event.cause]
                is_new = other_link not in stream.left
                yield Break(name, reason, detail, *end.bounds(other_at), other_link, is_new)
        if link_id not in self._active_links:
            self._proven.pop(link_id, None)
            self._links.discard(link_id)

    def _find_links(self, now: Moment) -> None:
        """A link that never had an active stream says nothing when it goes: it is forgotten once it has not been proven for a while."""
        for link, proof in list(self._proven.items()):
            if link not in self._active_links and now.seconds - proof.seconds > _FORGET_LINK_SECONDS:
                del self._proven[link]
        self._links = self._active_links.keys() | self._proven.keys()

    def _through(self, stream: _Stream, proofs: Mapping[int, Moment] = _NOTHING) -> Moment:
        """What a link that came later has brought counts only once those before it have brought everything until it came.

        `proofs`: of single links, instead of what is known.
        """
        assert stream.since is not None
        found = max(stream.since, stream.through or _NEVER)
        for link, at in sorted(stream.active.items(), key=_at) if len(stream.active) > 1 else stream.active.items():
            if at <= found:
                found = max(found, proofs.get(link) or self._proof(link))
        return found

    def _proof(self, link_id: int) -> Moment:
        return self._proven.get(link_id, _NEVER)


def _at(link: tuple[int, Moment]) -> Moment:
    return link[1]


def _interval(stream: _Stream) -> Interval:
    since, until = stream.since and stream.since.us, stream.until and stream.until.us
    is_settled = stream.is_settled
    return Interval(since, until, is_settled, None if is_settled else stream.settled_until)


_UNKNOWN = Interval(None, None)
_FORGET_LINK_SECONDS = 15.0
_LINKS_REMEMBERED = 8
"""More than there can be at once."""
_NEVER = Moment(float("-inf"), 0)
