"""Keeps the wanted number of sockets up, and replaces a socket before it ends if possible."""

import random
from collections import deque
from collections.abc import Iterator

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.active_streams import ActiveStreams
from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.session_actions import (
    Action,
    DropSocket,
    Notice,
    NoticeKind,
    OpenSocket,
    SendClose,
    shown,
)
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.session_sockets import DELIVERING, DRAINING, Connection, Socket, SocketState
from backpack_streams.exchange.subscriptions import SocketSubscriptions

_MINUTE_SECONDS = 60.0
_AGE_JITTER = 0.1


class SocketPool:
    """The sockets of a session. Times are seconds of the session's clock.

    Attributes:
        sockets: the sockets by id.
        undivided_since: when a socket last ended. Earlier data may have come on a socket that is gone.
    """

    def __init__(self, settings: SessionSettings, rng: random.Random | None = None) -> None:
        """Start without sockets. `rng` makes the jitter repeatable."""
        self.sockets: dict[int, Socket] = {}
        self.undivided_since = float("-inf")
        self._settings = settings
        self._random = rng or random.Random()  # jitter spreads load; it guards no secret
        base, cap = settings.reconnect_base_seconds, settings.reconnect_cap_seconds
        self._connections = [Connection(Backoff(base, cap, rng)) for _ in range(settings.connections)]
        self._last_socket_id = 0
        self._connects: deque[float] = deque(maxlen=settings.connects_per_minute_limit)
        self._is_at_connect_limit = False

    def in_state(self, *states: SocketState) -> list[Socket]:
        """The sockets in one of these states."""
        return [socket for socket in self.sockets.values() if socket.state in states]

    def deadlines(self, *, is_paused: bool) -> Iterator[float]:
        """When something is due. While reading is paused, only the opening of sockets is."""
        for connection in self._connections:
            if connection.retry_at is not None and connection.incoming is None:
                yield connection.retry_at
        for socket in () if is_paused else self.in_state(*DELIVERING):
            yield socket.liveness.due_at()
            if socket.state is SocketState.CLOSING:
                yield socket.give_up_at

    # Opening.

    def start(self, now: float) -> None:
        """Schedule the first sockets."""
        for connection in self._connections:
            connection.retry_at = now

    def open_due(self, now: float) -> list[Action]:
        """Open the sockets that are due."""
        due = [
            connection
            for connection in self._connections
            if connection.retry_at is not None and connection.incoming is None and now >= connection.retry_at
        ]
        return [action for connection in due for action in self._open(connection, now)]

    def opened(self, socket: Socket, now: float) -> list[Action]:
        """The handshake of a socket is complete: it becomes the current one; the previous one delivers until this one has taken over."""
        connection, settings = socket.connection, self._settings
        connection.incoming = None
        if connection.current is not None:
            connection.current.state = SocketState.REPLACED
            if connection.current.was_stable(now, settings):
                connection.forget_failures()
        connection.current = socket
        socket.state = SocketState.OPEN
        socket.opened_at = now
        socket.renew_at = now + settings.max_socket_age_seconds * self._random.uniform(1 - _AGE_JITTER, 1 + _AGE_JITTER)
        opened = Notice(NoticeKind.SOCKET_OPENED, f"socket {socket.socket_id} is open", socket.socket_id)
        return [opened, *self._bound_draining(now)]

    def failed(self, socket: Socket, reason: str, now: float) -> list[Action]:
        """Note that a socket could not be opened, and schedule the next try. `reason` is one line."""
        del self.sockets[socket.socket_id]
        socket.connection.incoming = None
        delay = socket.connection.schedule(now, at_once=False)
        message = f"socket {socket.socket_id} did not open: {reason}; next try in {delay:.2f} s"
        return [Notice(NoticeKind.SOCKET_FAILED, message, socket.socket_id, retry_seconds=delay)]

    # Replacing.

    def renew(self, socket: Socket, reason: str, now: float) -> list[Action]:
        """Open a successor for an open socket, which takes over before this one ends; do nothing if one is already coming.

        Args:
            socket: the socket to renew.
            reason: one line for the notice.
            now: the time.
        """
        if not socket.is_lasting:
            return []
        socket.connection.retry_at = now
        message = f"opening a successor of socket {socket.socket_id}: {reason}"
        return [Notice(NoticeKind.SOCKET_RENEWAL, message, socket.socket_id)]

    def renew_all(self, reason: str, now: float) -> list[Action]:
        """Renew every open socket."""
        return [action for socket in self.in_state(SocketState.OPEN) for action in self.renew(socket, reason, now)]

    def renew_failing(self, socket: Socket, reason: str, now: float) -> list[Action]:
        """Renew a socket that does not deliver, unless that was tried too recently."""
        if not socket.is_lasting or not socket.connection.spend_renewal(now, self._settings):
            return []
        return self.renew(socket, reason, now)

    def renew_one_failing(self, reason: str, now: float) -> list[Action]:
        """Renew the oldest open socket for which that was not tried too recently."""
        for socket in sorted(self.in_state(SocketState.OPEN), key=lambda each: each.opened_at):
            if renewal := self.renew_failing(socket, reason, now):
                return renewal
        return []

    def look_after(self, socket: Socket, now: float) -> list[Action]:
        """Do what is due for one socket: send a Ping, open a successor, or drop it."""
        settings, liveness, socket_id = self._settings, socket.liveness, socket.socket_id
        if socket.state is SocketState.CLOSING and now >= socket.give_up_at:
            grace = settings.server_grace_seconds + settings.server_grace_margin_seconds
            message = f"the server closed socket {socket_id} and did not drop it within {grace:.0f} s"
            return self.drop(socket, NoticeKind.SOCKET_GRACE_OVER, message, now)
        actions: list[Action] = []
        if liveness.is_late(now):
            liveness.restart(now)
            socket.subscriptions.restart_barrier_clock(now)
        unheard_seconds = liveness.unheard_seconds(now)
        if unheard_seconds >= settings.ping_reply_seconds and socket.state is not SocketState.CLOSING:
            return self._bury(socket, now)
        if unheard_seconds >= settings.ping_reply_seconds / 2:
            actions += self.renew(
                socket, f"nothing received for {now - liveness.heard_at:.0f} s, a Ping unanswered", now
            )
        if liveness.is_mute(now):
            if not socket.is_told_mute:
                socket.is_told_mute = True
                message = f"socket {socket_id} leaves Pings unanswered: nothing on it can be confirmed"
                actions.append(Notice(NoticeKind.BARRIER_UNANSWERED, message, socket_id))
            if socket.state is SocketState.OPEN:
                actions += self.renew_failing(socket, "it leaves Pings unanswered", now)
        if now >= socket.renew_at:
            socket.renew_at = float("inf")
            actions += self.renew(socket, "it is old", now)
        if liveness.is_due(now):
            actions.append(liveness.ping(now)[1])
        return actions

    def drop_replaced(self, now: float) -> list[Action]:
        """Drop the sockets whose successor has taken over. Any other is the only one known to deliver some stream."""
        actions: list[Action] = []
        for socket in self.in_state(SocketState.REPLACED):
            successor = socket.connection.current
            if successor is not None and successor.covers_for(socket, now, self._settings):
                message = f"socket {socket.socket_id} is replaced by socket {successor.socket_id}"
                actions += self.drop(socket, NoticeKind.SOCKET_REPLACED, message, now)
        return actions

    # Ending.

    def lost(self, socket: Socket, reason: str, now: float) -> list[Action]:
        """Note that an open socket has ended, and schedule a new one. `reason` is one line."""
        gone = self._end(socket, now)
        if socket.state is not SocketState.OPEN:
            message = f"socket {socket.socket_id} ended as announced: {reason}"
            return [*gone, Notice(NoticeKind.SOCKET_DRAINED, message, socket.socket_id)]
        delay = self._vacate(socket, now, at_once=False)
        message = f"socket {socket.socket_id} was lost: {reason}" + _retry_words(delay)
        return [*gone, Notice(NoticeKind.SOCKET_LOST, message, socket.socket_id, retry_seconds=delay)]

    def closed_by_server(self, socket: Socket, code: int, reason: str, now: float) -> list[Action]:
        """Take the server's Close frame: open a new socket, and let the old one deliver as long as it does.

        Args:
            socket: the socket.
            code: the code of the Close frame (RFC 6455, section 7.4).
            reason: the text of the Close frame.
            now: the time.
        """
        grace = self._settings.server_grace_seconds + self._settings.server_grace_margin_seconds
        socket.give_up_at = now + grace
        delay = self._vacate(socket, now, at_once=True) if socket.state is SocketState.OPEN else None
        socket.state = SocketState.CLOSING
        words = f" ({shown(reason)})" if reason else ""
        message = f"the server closes socket {socket.socket_id} with code {code}{words}" + _retry_words(delay)
        notice = Notice(NoticeKind.SERVER_CLOSE, message, socket.socket_id, code=code, retry_seconds=delay)
        return [notice, *self._bound_draining(now)]

    def drop(self, socket: Socket, kind: NoticeKind, message: str, now: float) -> list[Action]:
        """End a socket.

        Args:
            socket: the socket.
            kind: why, for metrics.
            message: why, one line.
            now: the time.
        """
        actions: list[Action] = [*self._end(socket, now), Notice(kind, message, socket.socket_id)]
        if socket.state in DELIVERING and kind is not NoticeKind.SOCKET_DEAD:
            actions.append(SendClose(socket.socket_id))
        return [*actions, DropSocket(socket.socket_id)]

    def _end(self, socket: Socket, now: float) -> list[Action]:
        del self.sockets[socket.socket_id]
        if socket.state in DELIVERING:
            self.undivided_since = now
        return socket.streams.end()

    def _bury(self, socket: Socket, now: float) -> list[Action]:
        silent_seconds = now - socket.liveness.heard_at
        message = f"socket {socket.socket_id} is dead: nothing received for {silent_seconds:.0f} s, a Ping unanswered"
        dropped = self.drop(socket, NoticeKind.SOCKET_DEAD, message, now)
        if socket.state is SocketState.OPEN:
            self._vacate(socket, now, at_once=True)
        return dropped

    def _vacate(self, socket: Socket, now: float, *, at_once: bool) -> float | None:
        """Remove an open socket from its connection and schedule its successor. Returns the delay, None if one is already coming."""
        connection = socket.connection
        connection.current = None
        if socket.was_stable(now, self._settings):
            connection.forget_failures()
        if connection.incoming is not None or connection.retry_at is not None:
            return None
        return connection.schedule(now, at_once=at_once)

    def _bound_draining(self, now: float) -> list[Action]:
        draining = self.in_state(*DRAINING)
        surplus = draining[: max(0, len(draining) - self._settings.draining_sockets_limit)]
        message = "dropped early: too many sockets are draining"
        return [action for socket in surplus for action in self.drop(socket, NoticeKind.SOCKET_REPLACED, message, now)]

    def _open(self, connection: Connection, now: float) -> list[Action]:
        connects = self._connects
        if len(connects) == connects.maxlen and now < connects[0] + _MINUTE_SECONDS:
            connection.retry_at = connects[0] + _MINUTE_SECONDS
            if self._is_at_connect_limit:
                return []
            self._is_at_connect_limit = True
            delay = connection.retry_at - now
            message = f"the limit of {connects.maxlen} connects per minute is reached; next try in {delay:.0f} s"
            return [Notice(NoticeKind.CONNECT_LIMIT, message, retry_seconds=delay)]
        if len(connects) < self._settings.connects_per_minute_limit or now >= connects[0] + 2 * _MINUTE_SECONDS:
            self._is_at_connect_limit = False
        connects.append(now)
        connection.retry_at = None
        self._last_socket_id = socket_id = self._last_socket_id + 1
        liveness = Liveness(socket_id, self._settings, now)
        subscriptions = SocketSubscriptions(socket_id, self._settings, liveness, ())
        socket = Socket(socket_id, connection, liveness, subscriptions, ActiveStreams(socket_id))
        self.sockets[socket_id] = connection.incoming = socket
        return [OpenSocket(socket_id)]


def _retry_words(delay_seconds: float | None) -> str:
    return "" if delay_seconds is None else f"; a new one opens in {delay_seconds:.2f} s"
