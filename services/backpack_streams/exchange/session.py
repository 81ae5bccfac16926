"""The WebSocket session with the exchange as a state machine without I/O: events and times in, actions out.

It keeps the wanted number of sockets up and subscribes each to every wanted stream. It reports which streams are active on which socket,
and how far each socket is proven. Gaps, readiness and watermarks all follow from these reports.
"""

import random
from collections.abc import Iterable, Iterator, Mapping

from backpack_streams.exchange.answers import Answers
from backpack_streams.exchange.healing import Healing
from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.refusals import Refusals
from backpack_streams.exchange.session_actions import Action, Cause, NoticeKind, shown
from backpack_streams.exchange.session_settings import Expectation, SessionSettings
from backpack_streams.exchange.session_sockets import DELIVERING, USEFUL, Socket, SocketState
from backpack_streams.exchange.silence import SilenceWatch
from backpack_streams.exchange.socket_pool import SocketPool
from backpack_streams.exchange.subscriptions import Sign, SocketSubscriptions

_UNWANTED_LIMIT = 10_000


class Session:
    """The sockets, subscriptions, liveness, reconnects, errors and silence of one WebSocket endpoint.

    `now` is in seconds of one monotonic clock. Every event returns the actions to carry out, in order. Events about sockets that the
    session has dropped are ignored. After each event the shell should schedule a `tick` for `next_deadline()`.
    """

    def __init__(
        self,
        settings: SessionSettings | None = None,
        *,
        rng: random.Random | None = None,
        sign: Sign | None = None,
    ) -> None:
        """Start without sockets and streams.

        Args:
            settings: bounds and times.
            rng: makes the jitter repeatable.
            sign: called for a signature right before each subscription of private streams is sent. Without it they are sent unsigned.
        """
        self._settings = settings or SessionSettings()
        self._random = rng
        self._sign = sign
        self._pool = SocketPool(self._settings, rng)
        self._expectations: dict[str, Expectation] = {}
        self._refusals = Refusals(self._settings)
        self._silence = SilenceWatch(self._settings)
        self._healing = Healing(self._pool, self._silence)
        self._answers = Answers(self._pool, self._refusals, self._silence, self._healing)
        self._unsubscribed_at: dict[str, float] = {}
        self._is_paused = False
        self._is_stopped = False

    # State.

    @property
    def open_sockets(self) -> int:
        """Sockets that can deliver now: open ones, and draining ones that have not ended."""
        return len(self._pool.in_state(*DELIVERING))

    @property
    def streams(self) -> frozenset[str]:
        """The wanted streams, rejected ones included."""
        return frozenset(self._expectations)

    @property
    def rejected_streams(self) -> frozenset[str]:
        """Wanted streams that the exchange refused and that are not due for another try yet."""
        return frozenset(self._refusals.until)

    @property
    def silent_streams(self) -> frozenset[str]:
        """Wanted streams that should deliver and have been silent for longer than expected."""
        return self._silence.silent

    @property
    def confirmed_streams(self) -> frozenset[str]:
        """Streams that are active on a socket: the sum of all `StreamsActive` and `StreamsInactive` events."""
        return frozenset().union(*(socket.streams.since for socket in self._pool.in_state(*DELIVERING)))

    def next_deadline(self) -> float | None:
        """When the next `tick` is due; None if only an event can change anything."""
        return None if self._is_stopped else min(self._deadlines(), default=None)

    # Commands of the owner.

    def start(self, now: float) -> list[Action]:
        """Open the first sockets."""
        self._pool.start(now)
        return self.tick(now)

    def stop(self, now: float) -> list[Action]:
        """Close and drop every socket. The session does nothing after that."""
        self._is_stopped = True
        sockets = list(self._pool.sockets.values())
        message = "the session stops"
        return [
            action for socket in sockets for action in self._pool.drop(socket, NoticeKind.SOCKET_STOPPED, message, now)
        ]

    def set_streams(self, streams: Mapping[str, Expectation], now: float) -> list[Action]:
        """Want exactly these streams. On every open socket, new ones are subscribed and others unsubscribed.

        Args:
            streams: what each wanted stream should deliver, by name.
            now: the time.
        """
        gone = self._expectations.keys() - streams.keys()
        added = [name for name in streams if name not in self._expectations]
        self._expectations = dict(streams)
        actions: list[Action] = []
        for socket in self._pool.in_state(*DELIVERING):
            actions += socket.streams.deactivate(sorted(gone), Cause.UNSUBSCRIBED)
        for name in gone:
            self._refusals.forget(name)
            self._silence.forget(name)
            self._unsubscribed_at.pop(name, None)  # the oldest come first
            self._unsubscribed_at[name] = now
        for name in added:
            self._silence.add(name)
        for socket in self._pool.in_state(*USEFUL):
            for name in sorted(gone):
                socket.subscriptions.remove(name)
        for subscriptions in self._open_subscriptions():
            for name in added:
                subscriptions.add(name)
        return actions + self._flush(now)

    def renew(self, now: float) -> list[Action]:
        """Replace every open socket by a new one, which is subscribed before the old one ends."""
        return self._pool.renew_all("requested", now) + self._flush(now)

    def doubt(self, streams: Iterable[str], reason: str, now: float) -> list[Action]:
        """Mark streams as not delivered, because other streams show that they should have sent something. They are
        inactive until they deliver.

        Each is resubscribed repeatedly, with growing waits. A second doubt of the same stream means that its new
        subscription does not deliver either.

        Args:
            streams: their names; those that are neither active nor failing are ignored.
            reason: one line for notices.
            now: the time.
        """
        active = self.confirmed_streams
        found = [
            name
            for name in dict.fromkeys(streams)
            if name in self._expectations and (name in active or self._silence.is_failing(name))
        ]
        return self._healing.doubt(found, shown(reason), now) + self._flush(now)

    def unwanted(self, stream: str, now: float) -> list[Action]:
        """Note a frame of a stream that is not wanted. Its UNSUBSCRIBE is repeated from time to time."""
        asked = self._unsubscribed_at
        repeatable = now - self._settings.unwanted_repeat_seconds
        if stream in self._expectations or asked.get(stream, repeatable) > repeatable:
            return []
        while asked and asked[oldest := next(iter(asked))] <= repeatable:
            del asked[oldest]
        if len(asked) >= _UNWANTED_LIMIT:
            return []
        asked[stream] = now
        for subscriptions in self._open_subscriptions():
            subscriptions.unsubscribe(stream)
        return self._flush(now)

    def reading_paused(self, now: float) -> list[Action]:
        """Nothing is read from any socket from now on, so silence proves nothing."""
        self._is_paused = True
        return self._flush(now)

    def reading_resumed(self, now: float) -> list[Action]:
        """Sockets are read again: every wait for something to arrive restarts."""
        self._is_paused = False
        self._healing.listening_since = now
        for socket in self._pool.sockets.values():
            socket.liveness.restart(now)
            socket.give_up_at = max(socket.give_up_at, now + self._settings.server_grace_margin_seconds)
            socket.subscriptions.restart_barrier_clock(now)
        return self.tick(now)

    # Events of sockets.

    def socket_opened(self, socket_id: int, now: float) -> list[Action]:
        """The WebSocket handshake of a socket is complete."""
        socket = self._pool.sockets.get(socket_id)
        if socket is None or socket.state is not SocketState.CONNECTING:
            return []
        wanted = [name for name in self._expectations if name not in self._refusals.until]
        socket.liveness = Liveness(socket_id, self._settings, now)
        socket.subscriptions = SocketSubscriptions(
            socket_id, self._settings, socket.liveness, wanted, sign=self._sign, rng=self._random
        )
        return self._pool.opened(socket, now) + self._flush(now)

    def socket_failed(self, socket_id: int, reason: str, now: float) -> list[Action]:
        """A socket could not be opened; `reason` is one line."""
        socket = self._pool.sockets.get(socket_id)
        if socket is None or socket.state is not SocketState.CONNECTING:
            return []
        return self._pool.failed(socket, reason, now) + self._flush(now)

    def socket_lost(self, socket_id: int, reason: str, now: float) -> list[Action]:
        """A socket ended; `reason` is one line."""
        socket = self._pool.sockets.get(socket_id)
        if socket is None or socket.state is SocketState.CONNECTING:
            return self.socket_failed(socket_id, reason, now)
        return self._pool.lost(socket, reason, now) + self._flush(now)

    def server_close(self, socket_id: int, code: int, reason: str, now: float) -> list[Action]:
        """Take the server's Close frame: open a new socket, and let the old one deliver as long as it does.

        Args:
            socket_id: the socket.
            code: the code of the Close frame (RFC 6455, section 7.4).
            reason: the text of the Close frame.
            now: the time.
        """
        socket = self._pool.sockets.get(socket_id)
        if socket is None or socket.state not in USEFUL:
            return []
        return self._pool.closed_by_server(socket, code, reason, now) + self._flush(now)

    def frame_seen(self, socket_id: int, seen_at: float) -> None:
        """Data arrived on a socket. It is enough to report the first and the latest arrival before each `tick`."""
        socket = self._delivering(socket_id)
        if socket is None:
            return
        if socket.first_data_at is None:
            socket.first_data_at = seen_at
        socket.last_data_at = seen_at
        socket.liveness.heard(seen_at)

    def heard(self, socket_id: int, heard_at: float) -> None:
        """A frame of any kind arrived on a socket."""
        socket = self._delivering(socket_id)
        if socket is not None:
            socket.liveness.heard(heard_at)

    def pong(self, socket_id: int, payload: bytes, now: float) -> list[Action]:
        """Take a Pong.

        Args:
            socket_id: the socket.
            payload: the payload of the Ping that it answers (RFC 6455, section 5.5.3).
            now: the time.
        """
        socket = self._delivering(socket_id)
        if socket is None:
            return []
        socket.liveness.heard(now)
        number = socket.liveness.pong(payload)
        if number is None:
            return []
        socket.is_told_mute = False
        verdicts = socket.subscriptions.answered(number, now)
        actions = socket.prove() + self._answers.judge(socket, verdicts, self._expectations, now)
        return actions + self._flush(now)

    def error_frame(self, socket_id: int, code: int, message: str, now: float) -> list[Action]:
        """Take an error frame of the exchange, such as 4006 `Invalid stream`.

        Args:
            socket_id: the socket.
            code: the exchange's error code.
            message: the exchange's message.
            now: the time.
        """
        socket = self._delivering(socket_id)
        if socket is None or socket.subscriptions.error(code, shown(message), now):
            return []
        return self._refusals.unattributed(code, shown(message), socket_id, now)

    # Time.

    def tick(self, now: float) -> list[Action]:
        """Do what is due."""
        if self._is_stopped:
            return []
        for name in self._refusals.take_due(now):
            for subscriptions in self._open_subscriptions():
                subscriptions.add(name)
        actions: list[Action] = []
        if not self._is_paused:
            for socket in self._pool.in_state(*DELIVERING):
                actions += self._pool.look_after(socket, now)
        return actions + self._flush(now)

    def check_silence(self, now: float, deliveries: Mapping[str, int]) -> list[Action]:
        """Find streams and sockets that should have delivered, and repair them.

        Args:
            now: seconds of the session's clock.
            deliveries: frames of each stream so far; an absent stream has none. The mapping is kept, and read again when a subscription is
                confirmed.
        """
        if self._is_stopped or self._is_paused:
            return []
        return self._healing.check(now, self._expectations, deliveries) + self._flush(now)

    def _deadlines(self) -> Iterator[float]:
        yield from self._refusals.until.values()
        yield from self._pool.deadlines(is_paused=self._is_paused)
        for subscriptions in self._open_subscriptions():
            due_at = subscriptions.due_at()
            if due_at is not None:
                yield due_at

    def _flush(self, now: float) -> list[Action]:
        if self._is_stopped:
            return []
        actions = self._pool.open_due(now)
        for subscriptions in self._open_subscriptions():
            actions += subscriptions.send(now)
        if not self._is_paused:
            actions += self._pool.drop_replaced(now)
        return actions

    def _delivering(self, socket_id: int) -> Socket | None:
        socket = self._pool.sockets.get(socket_id)
        return socket if socket is not None and socket.state in DELIVERING else None

    def _open_subscriptions(self) -> list[SocketSubscriptions]:
        return [socket.subscriptions for socket in self._pool.in_state(SocketState.OPEN)]
