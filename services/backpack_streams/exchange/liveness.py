"""The numbered Pings of one socket: a Pong proves the receipt of everything sent before its Ping arrived.

The exchange answers in order. The Pong to a Ping therefore shows that everything it had sent until then has arrived, and that it has
handled every request before the Ping.
"""

from backpack_streams.exchange.session_actions import SendPing
from backpack_streams.exchange.session_settings import SessionSettings

_UNANSWERED_LIMIT = 1024
_LATE_SECONDS = 1.0
"""A Ping sent more than this after it was due means that this process was stalled, which says nothing about the socket."""


class Liveness:
    """Which Pings of one socket are answered, and since when none is. Times are seconds of the session's clock.

    Attributes:
        proven_through: when the newest answered Ping was sent.
        heard_at: when anything was last received, control frames included.
    """

    def __init__(self, socket_id: int, settings: SessionSettings, now: float) -> None:
        """Start without Pings. `now` is when the socket opened."""
        self.proven_through = float("-inf")
        self.heard_at = now
        self._socket_id = socket_id
        self._settings = settings
        self._number = 0
        self._pinged_at = now
        self._unanswered: dict[bytes, tuple[int, float]] = {}
        self._waiting_since: float | None = None
        self._judged_from = now

    def ping(self, now: float) -> tuple[int, SendPing]:
        """The next Ping and its number."""
        self._number += 1
        payload = b"%d" % self._number
        self._unanswered[payload] = (self._number, now)
        if len(self._unanswered) > _UNANSWERED_LIMIT:
            del self._unanswered[next(iter(self._unanswered))]
        self._pinged_at = now
        if not self._is_waiting:
            self._waiting_since = now
        return self._number, SendPing(self._socket_id, payload)

    def pong(self, payload: bytes) -> int | None:
        """The number of the Ping that this Pong answers, together with all earlier ones; None if it answers none."""
        if payload not in self._unanswered:
            return None
        while True:
            first = next(iter(self._unanswered))
            number, sent_at = self._unanswered.pop(first)
            if first == payload:
                self.proven_through = max(self.proven_through, sent_at)
                self._waiting_since = None
                return number

    def heard(self, at: float) -> None:
        """Note that a frame of any kind arrived at `at`."""
        self.heard_at = max(self.heard_at, at)

    def restart(self, now: float) -> None:
        """Restart every wait: nothing could be received until now."""
        self._judged_from = now
        self._waiting_since = None
        self._pinged_at = now - self._settings.ping_interval_seconds  # a Ping is due at once

    def is_due(self, now: float) -> bool:
        """Whether a Ping is due."""
        return now >= self.due_at()

    def is_late(self, now: float) -> bool:
        """Whether this process was stalled, so that silence proves nothing."""
        return now > self.due_at() + _LATE_SECONDS

    def unheard_seconds(self, now: float) -> float:
        """For how long a Ping has been unanswered with nothing else received (seconds)."""
        return now - self._waiting_since if self._waiting_since is not None and self._is_waiting else 0.0

    def is_mute(self, now: float) -> bool:
        """Whether Pings have been unanswered for so long that no answer is expected, whatever else is received."""
        sent_at = next((sent_at for _, sent_at in self._unanswered.values()), now)
        return now >= max(sent_at, self._judged_from) + self._settings.barrier_timeout_seconds

    def due_at(self) -> float:
        """When the next Ping is due; the socket is judged at the same pace."""
        return self._pinged_at + self._settings.ping_interval_seconds

    @property
    def _is_waiting(self) -> bool:
        return self._waiting_since is not None and self.heard_at <= self._waiting_since
