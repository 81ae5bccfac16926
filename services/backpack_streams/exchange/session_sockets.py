"""The sockets of a session (`Socket`) and the connections that they serve (`Connection`): the life of each socket."""

import math
from dataclasses import dataclass
from enum import Enum, auto

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.active_streams import ActiveStreams
from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.session_actions import Action, Cause
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.subscriptions import SocketSubscriptions


class SocketState(Enum):
    """The stage of a socket's life; a socket that has ended is forgotten."""

    CONNECTING = auto()
    OPEN = auto()
    REPLACED = auto()
    """Still delivers until its successor has every stream that is active on it; the server is not informed."""
    CLOSING = auto()
    """The server has sent its Close, and still delivers during the grace period."""


DRAINING = (SocketState.REPLACED, SocketState.CLOSING)
DELIVERING = (SocketState.OPEN, *DRAINING)
USEFUL = (SocketState.OPEN, SocketState.REPLACED)
"""Sockets whose end the server has not announced."""


@dataclass(slots=True, eq=False)
class Connection:
    """One of the connections to keep up at all times; its sockets follow one another.

    Attributes:
        current: the open socket; None if there is none.
        incoming: the socket that is connecting; None if there is none.
        retry_at: when to open the next socket; None while none is due.
        failures: ends of sockets and failed tries since the last stable socket.
        renewable_at: a socket that does not deliver is not renewed again before this time.
    """

    backoff: Backoff
    current: "Socket | None" = None
    incoming: "Socket | None" = None
    retry_at: float | None = None
    failures: int = 0
    renewable_at: float = -math.inf
    _renewal_wait_seconds: float = 0.0

    def schedule(self, now: float, *, at_once: bool) -> float:
        """Schedule the next try and return its delay in seconds; `at_once` applies only to the first try after a stable socket."""
        delay_seconds = self.backoff.next_delay_seconds()
        if at_once and self.failures == 0:
            delay_seconds = 0.0
        self.failures += 1
        self.retry_at = now + delay_seconds
        return delay_seconds

    def forget_failures(self) -> None:
        """Restart the backoff: a socket was stable."""
        self.failures = 0
        self.backoff.reset()

    def spend_renewal(self, now: float, settings: SessionSettings) -> bool:
        """Whether the socket may be renewed because it does not deliver. If so, the next renewal is blocked for a growing time."""
        if now < self.renewable_at:
            return False
        if now >= self.renewable_at + settings.renewal_cap_seconds:
            self._renewal_wait_seconds = settings.renewal_base_seconds
        self.renewable_at = now + self._renewal_wait_seconds
        self._renewal_wait_seconds = min(settings.renewal_cap_seconds, 2 * self._renewal_wait_seconds)
        return True


@dataclass(slots=True, eq=False)
class Socket:
    """One socket, from the decision to open it to its end. Times are seconds of the session's clock.

    Attributes:
        streams: the streams that are active on it.
        give_up_at: when a closing socket is dropped at the latest.
        renew_at: when it is old enough to be renewed.
        is_told_mute: whether a notice has reported that it leaves Pings unanswered.
        is_trusted: data has come since it was opened, or since it was silent, so the exchange takes its subscriptions.
        is_held: confirmed streams do not become active, since data should come and the socket is not trusted.
        silent_since: when data last came on a socket that should deliver and does not; None while it is trusted.
        heal_at: the streams of a socket without data are not requested again before this time.
    """

    socket_id: int
    connection: Connection
    liveness: Liveness
    subscriptions: SocketSubscriptions
    streams: ActiveStreams
    state: SocketState = SocketState.CONNECTING
    opened_at: float = 0.0
    first_data_at: float | None = None
    last_data_at: float | None = None
    give_up_at: float = math.inf
    renew_at: float = math.inf
    is_told_mute: bool = False
    is_trusted: bool = False
    is_held: bool = False
    silent_since: float | None = None
    heal_at: float = -math.inf

    @property
    def delivers(self) -> bool:
        """Whether data has come since it was opened, or since it was found silent."""
        if self.last_data_at is None:
            return False
        return self.silent_since is None or self.last_data_at > self.silent_since

    def trust(self) -> None:
        """Data came before the newest Pong, so the exchange now accepts SUBSCRIBEs.

        Earlier it may have dropped SUBSCRIBEs and still answered the Pings after them. The data belongs to a SUBSCRIBE that was answered,
        so the newest of these was accepted; the streams of all others are requested again.
        """
        for name in self.subscriptions.confirmed_early if self.is_held else ():
            if name not in self.streams.since:
                self.subscriptions.ask_anew(name)
        self.is_trusted, self.is_held, self.silent_since = True, False, None

    def fall_silent(self) -> list[Action]:
        """The socket should deliver and does not: deactivate all its streams until data comes and they are confirmed again."""
        self.is_trusted, self.is_held = False, True
        self.silent_since = through = self.opened_at if self.last_data_at is None else self.last_data_at
        for name in list(self.subscriptions.confirmed):
            if self.state is SocketState.OPEN:
                self.subscriptions.ask_anew(name)
            else:
                self.subscriptions.distrust(name)
        names = list(self.streams.since)
        return self.streams.deactivate(names, Cause.SILENT, dict.fromkeys(names, through))

    @property
    def is_lasting(self) -> bool:
        """Whether it is open and no successor is scheduled or connecting."""
        return self.connection.current is self and self.connection.incoming is None and self.connection.retry_at is None

    def was_stable(self, now: float, settings: SessionSettings) -> bool:
        """Whether it was up or delivering for long enough that the next try does not count as a repeated failure."""
        if now - self.opened_at >= settings.stable_after_open_seconds:
            return True
        if self.first_data_at is None or self.last_data_at is None:
            return False
        return self.last_data_at - self.first_data_at >= settings.stable_after_data_seconds

    def prove(self) -> list[Action]:
        """Report how far the socket is proven.

        After the server has announced the end, it may answer Pings and no longer deliver. Then only the data itself proves anything.
        """
        through = self.liveness.proven_through
        if self.state is SocketState.CLOSING:
            through = min(through, -math.inf if self.last_data_at is None else self.last_data_at)
        return self.streams.prove(through)

    def covers_for(self, old: "Socket", now: float, settings: SessionSettings) -> bool:
        """Whether the old socket may go: every stream that is active on it has been active here for a while.

        The old socket must be proven until after that began, unless it leaves Pings unanswered. If no stream is active on it, every wanted
        one must be active here, for a limited time: the old socket may still deliver.
        """
        names = old.streams.since.keys() or self.subscriptions.wanted
        if not names <= self.streams.since.keys():
            return not old.streams.since and now >= self.opened_at + settings.overlap_max_seconds
        since = max((self.streams.since[name] for name in names), default=self.opened_at)
        is_proven = old.streams.through >= since or old.liveness.is_mute(now)
        return is_proven and now >= since + settings.overlap_min_seconds
