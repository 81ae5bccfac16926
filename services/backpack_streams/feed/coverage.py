"""When each stream was covered, from the events of the session: the only source of gaps, readiness and watermarks. Sans I/O.

A stream is covered while the exchange has confirmed its subscription on a socket that is proven to be alive. Overlapping coverage of two
sockets makes one interval. A time without coverage is a `Break`; the stream's feed decides what was lost in it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

from backpack_streams.exchange.session_actions import CoverageEvent, SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.moments import Break, Clock, Moment
from backpack_streams.feed.stream_state import StreamState
from backpack_streams.publishing import reports
from backpack_streams.sequencing.watermarks import Interval

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


class Coverage:
    """The intervals of every stream, from the events of one session.

    `generation` grows whenever an interval begins or ends.
    """

    def __init__(self) -> None:
        self.is_to_be_shown: Callable[[str], bool] = lambda stream: False
        """Streams whose coverage counts for a successor only after a message: the exchange may forget what it confirmed."""
        self.unshown: set[str] = set()
        """Those of these streams that have brought nothing since their last break."""
        self._streams: dict[str, StreamState] = {}
        self._wanted: set[str] = set()
        self._proven: dict[int, Moment] = {}
        self._active_sockets: dict[int, int] = {}
        """The number of streams that each socket delivers."""
        self._sockets: set[int] = set()
        """Sockets that may deliver: they are proven, or have active streams."""
        self._earlier: dict[str, int | None] | None = None
        self._noted: Moment | None = None
        self.generation = 0

    # State.

    def is_covered(self, stream: str) -> bool:
        """Return whether a socket covers the stream now."""
        known = self._streams.get(stream)
        return known is not None and bool(known.active)

    def is_covered_beside(self, stream: str, socket_id: int, since: float) -> bool:
        """Return whether another socket covers the stream now and has done so since a moment.

        Args:
            stream: the stream's name.
            socket_id: the socket that does not count.
            since: the moment (monotonic seconds).
        """
        known = self._streams.get(stream)
        others = () if known is None else (at for socket, at in known.active.items() if socket != socket_id)
        return any(at.seconds <= since for at in others)

    def active_since(self, stream: str) -> float | None:
        """Return the moment since which a socket delivers the stream (monotonic seconds); None if none does."""
        known = self._streams.get(stream)
        return min(known.active.values()).seconds if known is not None and known.active else None

    def cause(self, stream: str) -> str | None:
        """Return the reason of the stream's open gap; None while a socket covers the stream."""
        known = self._streams.get(stream)
        if known is None or known.since is None:
            return reports.STREAM_START
        return None if known.active else _REASONS[known.cause][0]

    def uncovered(self) -> set[str]:
        """Wanted streams that no socket covers now."""
        return {name for name in self._wanted if not self.is_covered(name)}

    def other_socket(self, socket_id: int) -> bool:
        """Return whether another socket delivers streams, so that a message may come twice and out of order."""
        return len(self._sockets) > 1 or (len(self._sockets) == 1 and socket_id not in self._sockets)

    def complete_through(self, now: Moment) -> Moment:
        """Return until when everything sent on the covered streams has been received.

        Args:
            now: present time, returned if no stream is covered.
        """
        return min((self._through(stream) for stream in self._streams.values() if stream.active), default=now)

    def through(self, stream: str) -> float | None:
        """Return until when everything sent on this stream has been received (monotonic seconds); None while it is not covered."""
        known = self._streams.get(stream)
        return self._through(known).seconds if known is not None and known.active else None

    def since(self, stream: str) -> float | None:
        """Return the moment since which the stream is covered (monotonic seconds); None while it is not."""
        known = self._streams.get(stream)
        return known.since.seconds if known is not None and known.active and known.since is not None else None

    def began(self, now: Moment) -> Moment:
        """Return when the oldest open interval began; `now` if no stream is covered."""
        return min((stream.since for stream in self._streams.values() if stream.active and stream.since), default=now)

    def statement(self) -> tuple[tuple[Interval, tuple[str, ...]], ...]:
        """Return every wanted stream by its interval, in the form of the Watermark record."""
        groups: dict[Interval, list[str]] = {}
        for name in sorted(self._wanted):
            known = self._streams.get(name)
            interval = _UNKNOWN if known is None else known.interval
            groups.setdefault(interval, []).append(name)
        return tuple((interval, tuple(names)) for interval, names in groups.items())

    # Events.

    def want(self, streams: Iterable[str]) -> None:
        """Cover exactly these streams. For a stream that is wanted again, the time without coverage is known."""
        self._wanted = set(streams)
        self.generation += 1

    def forget(self, stream: str) -> bool:
        """Forget a stream that is not wanted; return False while a socket covers it. If it is wanted again, nothing is known of it."""
        if self.is_covered(stream):
            return False
        self._streams.pop(stream, None)
        (self._earlier or {}).pop(stream, None)
        self.unshown.discard(stream)
        return True

    def leave(self, stream: str, now: Moment) -> Break | None:
        """Stop wanting a stream. If it is not covered now, close the time without coverage: nothing will ever show more about it.

        Returns:
            The time without coverage, with `socket_id` 0; None if the stream is covered, or never was.
        """
        known = self._streams.get(stream)
        if known is None or known.active or known.until is None:
            return None
        reason, detail = _REASONS[known.cause]
        bounds = known.until.bounds(now)
        known.until, known.cause = now, "UNSUBSCRIBED"
        return Break(stream, reason, detail, *bounds, 0)

    def take(self, event: CoverageEvent, now: Moment) -> list[Break]:
        """Take an event of the session; return the breaks of coverage that are now known.

        Args:
            event: a proof that a socket is alive, or streams that a socket delivers from now on or no longer delivers.
            now: present time; with that of the event before, it relates the event's monotonic times to the wall clock.
        """
        clock, self._noted = Clock(self._noted or now, now), now
        match event:
            case SocketProven(socket_id, through):
                self._proven[socket_id] = clock.at(through)
                self._find_sockets(now)
                return []
            case StreamsActive(streams, socket_id, at):
                return list(self._activate(streams, socket_id, now.at(at)))
            case StreamsInactive():
                return list(self._deactivate(event, clock))

    def interrupt(self, stream: str, now: Moment) -> bool:
        """Break the coverage of a stream that sockets still deliver: Kafka has lost records of it. It is covered again from `now` on.

        Call `settle` once the loss is on record, unless True is returned: the stream had an unsettled break, or is not covered.
        """
        known = self._streams.get(stream)
        if known is None or not known.active:
            return True
        is_known = not known.is_told
        self._broke(stream, known, self._through(known).us)
        known.since, known.first = now, None
        known.active = dict.fromkeys(known.active, now)
        self.generation += 1
        return is_known

    def refused(self, stream: str) -> None:
        """Record that the exchange refused the stream's subscription: from now on this is the cause of its gap, if it is not covered."""
        known = self._streams.get(stream)
        if known is not None and not known.active:
            known.cause = "REFUSED"

    def settle(self, stream: str) -> None:
        """Record that the loss of the stream's last break is on record, or that there was none."""
        known = self._streams.get(stream)
        if known is not None and not known.is_told:
            known.is_told = True
            self.generation += 1

    def shown(self, stream: str) -> None:
        """Record that a message since the stream's last break shows that it is delivered."""
        self.unshown.discard(stream)
        known = self._streams.get(stream)
        if known is not None and not known.is_shown:
            known.is_shown = True
            self.generation += 1

    def _broke(self, name: str, stream: StreamState, until_us: int | None) -> None:
        is_to_be_shown = self.is_to_be_shown(name)
        stream.broke(until_us, not is_to_be_shown)
        if is_to_be_shown:
            self.unshown.add(name)

    def resume(self, earlier: Mapping[str, int | None]) -> list[Break]:
        """Take until when other instances, earlier or parallel ones, covered each stream; return the breaks that follow.

        Args:
            earlier: by stream, when the coverage of others ended (µs since the Unix epoch); None if one still covers it
                past this instance's first coverage. An absent stream was never covered.
        """
        self._earlier = dict(earlier)
        found = [self._first_break(name, *stream.first) for name, stream in self._streams.items() if stream.first]
        return [each for each in found if each is not None]

    def _activate(self, streams: Iterable[str], socket_id: int, at: Moment) -> Iterator[Break]:
        self.generation += 1
        for name in streams:
            stream = self._streams.setdefault(name, StreamState())
            if socket_id in stream.active:
                continue
            self._active_sockets[socket_id] = self._active_sockets.get(socket_id, 0) + 1
            self._sockets.add(socket_id)
            is_covered = bool(stream.active)
            stream.active[socket_id] = at
            if is_covered:
                continue
            if stream.since is None:
                self._broke(name, stream, None)
                stream.since, stream.first = at, (at, socket_id)
                found = None if self._earlier is None else self._first_break(name, at, socket_id)
            else:
                found = self._resumed(name, stream, at, socket_id)
            if found is not None:
                yield found

    def _resumed(self, name: str, stream: StreamState, at: Moment, socket_id: int) -> Break | None:
        until, stream.until = stream.until, None
        if until is None or until >= at:
            return None
        self._broke(name, stream, until.us)
        stream.since = at
        reason, detail = _REASONS[stream.cause]
        is_new = socket_id not in stream.left
        return Break(name, reason, detail, *until.bounds(at), socket_id, is_new)

    def _first_break(self, name: str, at: Moment, socket_id: int) -> Break | None:
        assert self._earlier is not None
        self._streams[name].first = None
        if name not in self._earlier:
            return Break(name, *_START, None, at.us, socket_id)
        until_us = self._earlier[name]
        if until_us is None:
            if self._streams[name].since == at:  # otherwise a later break is still to be told
                self.settle(name)
            return None
        # If an earlier producer's clock was ahead of ours, its times do not tell when the coverage ended.
        return Break(name, *_RESTART, until_us if until_us <= at.us else None, at.us, socket_id)

    def _deactivate(self, event: StreamsInactive, clock: Clock) -> Iterator[Break]:
        self.generation += 1
        socket_id, proof = event.socket_id, self._proof(event.socket_id)
        through = proof if event.through == proof.seconds else clock.at(event.through)
        for name in event.streams:
            stream = self._streams.get(name)
            if stream is None or socket_id not in stream.active:
                continue
            end = self._through(stream, {socket_id: through})
            del stream.active[socket_id]
            if event.cause == _SILENT:  # nothing has come since `through`, whatever other sockets claimed
                end = max(stream.since or _NEVER, min(end, through))
            stream.through = end
            stream.left = (*stream.left[-_SOCKETS_REMEMBERED:], socket_id)
            self._active_sockets[socket_id] -= 1
            if not self._active_sockets[socket_id]:
                del self._active_sockets[socket_id]
            if not stream.active:
                stream.until, stream.cause = end, event.cause
                continue
            other_socket, other_at = min(stream.active.items(), key=_at)
            if other_at > end:  # the other socket began after the last proof of this one
                self._broke(name, stream, end.us)
                stream.since = other_at
                reason, detail = _REASONS[event.cause]
                is_new = other_socket not in stream.left
                yield Break(name, reason, detail, *end.bounds(other_at), other_socket, is_new)
        if socket_id not in self._active_sockets:
            self._proven.pop(socket_id, None)
            self._sockets.discard(socket_id)

    def _find_sockets(self, now: Moment) -> None:
        """Forget sockets that never had an active stream, and so end without an event, once they have not been proven for a while."""
        for socket, proof in list(self._proven.items()):
            if socket not in self._active_sockets and now.seconds - proof.seconds > _FORGET_SOCKET_SECONDS:
                del self._proven[socket]
        self._sockets = self._active_sockets.keys() | self._proven.keys()

    def _through(self, stream: StreamState, proofs: Mapping[int, Moment] = _NOTHING) -> Moment:
        """What a later socket has brought counts only once the earlier ones are complete up to its start.

        `proofs` replaces the known proof of single sockets.
        """
        assert stream.since is not None
        found = max(stream.since, stream.through or _NEVER)
        for socket, at in sorted(stream.active.items(), key=_at) if len(stream.active) > 1 else stream.active.items():
            if at <= found:
                found = max(found, proofs.get(socket) or self._proof(socket))
        return found

    def _proof(self, socket_id: int) -> Moment:
        return self._proven.get(socket_id, _NEVER)


def _at(socket: tuple[int, Moment]) -> Moment:
    return socket[1]


_UNKNOWN = Interval(None, None)
_FORGET_SOCKET_SECONDS = 15.0
_SOCKETS_REMEMBERED = 8
"""More than can exist at once."""
_NEVER = Moment(float("-inf"), 0)
