"""The active streams of one socket and how far it is proven: the only source of reports about delivery."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from backpack_streams.exchange.session_actions import Action, Cause, SocketProven, StreamsActive, StreamsInactive


class ActiveStreams:
    """The active streams of one socket. Times are seconds of the session's clock.

    Attributes:
        since: the active streams, each with the moment from which everything sent on it arrives.
        through: everything that the exchange sent on the socket until then was received.
    """

    def __init__(self, socket_id: int) -> None:
        self.since: dict[str, float] = {}
        self.through = float("-inf")
        self._socket_id = socket_id

    def activate(self, streams: Iterable[str], at: float) -> list[Action]:
        """Note that the exchange has confirmed these subscriptions. Returns a `StreamsActive` for those that were not
        active.

        Args:
            streams: their names.
            at: when they were confirmed.
        """
        new = tuple(name for name in streams if name not in self.since)
        self.since.update(dict.fromkeys(new, at))
        return [StreamsActive(new, self._socket_id, at)] if new else []

    def deactivate(
        self, streams: Iterable[str], cause: Cause, delivered: Mapping[str, float] | None = None
    ) -> list[Action]:
        """Deactivate those of these streams that are active.

        Args:
            streams: their names.
            cause: why.
            delivered: if given, the proof of the socket as a whole does not count for them; each is known to have delivered until its
                value.
        """
        by_through: defaultdict[float, list[str]] = defaultdict(list)
        for name in streams:
            at = self.since.pop(name, None)
            if at is None:
                continue
            proven = self.through if delivered is None else min(self.through, delivered.get(name, at))
            by_through[max(at, proven)].append(name)
        return [
            StreamsInactive(tuple(names), self._socket_id, through, cause)
            for through, names in sorted(by_through.items())
        ]

    def end(self) -> list[Action]:
        """Deactivate all streams because the socket has ended."""
        return self.deactivate(list(self.since), Cause.DISCONNECTED)

    def prove(self, through: float) -> list[Action]:
        """Note that everything sent until `through` was received. Earlier values are ignored."""
        if through <= self.through:
            return []
        self.through = through
        return [SocketProven(self._socket_id, through)]
