"""The WebSocket connection to the exchange: carries out a session's actions on real sockets, with a real clock."""

import asyncio
import logging
import random
import ssl
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from time import monotonic

from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.exchange_socket import ExchangeSocket
from backpack_streams.exchange.exchange_sockets import ExchangeSockets
from backpack_streams.exchange.session import Session
from backpack_streams.exchange.session_actions import (
    CLOSING_KINDS,
    Action,
    CoverageEvent,
    DropSocket,
    Notice,
    NoticeKind,
    OpenSocket,
    SendClose,
    SendPing,
    SendText,
    SocketProven,
    StreamsActive,
    StreamsInactive,
)
from backpack_streams.exchange.session_settings import Expectation, SessionSettings
from backpack_streams.exchange.subscriptions import Sign

logger = logging.getLogger(__name__)

_AFTER_ERROR_SECONDS = 1.0


class Connection:
    """Keeps one or two sockets to one URL up and subscribed, and passes on every message.

    All methods belong to the event loop of `run`. Callbacks are plain functions, called in that loop:

    - `on_frame(socket_id, payload)`: one whole text or binary message. It is the hot path.
    - `on_notice(notice)`: an event for logs, metrics or StreamStatus. Without it, notices are logged.
    - `on_coverage(event)`: which streams are active on which socket and how far it is proven, in order with the frames.
      Times are those of `time.monotonic`. What it raises ends `run`.
    - `on_failure(socket_id, payload, error)`: `on_frame` raised; the socket stays up. Without it, the error is logged.

    Attributes:
        opens: sockets that were opened.
        closes: sockets that ended or never opened, by `NoticeKind`.
        server_closes: Close frames of the server.
        frame_failures: errors raised by `on_frame`.
    """

    def __init__(
        self,
        url: str,
        on_frame: Callable[[int, bytes], None],
        *,
        on_notice: Callable[[Notice], None] | None = None,
        on_coverage: Callable[[CoverageEvent], None] | None = None,
        on_failure: Callable[[int, bytes, Exception], None] | None = None,
        deliveries: Mapping[str, int] | None = None,
        settings: ConnectionSettings | None = None,
        session_settings: SessionSettings | None = None,
        ssl_context: ssl.SSLContext | None = None,
        rng: random.Random | None = None,
        sign: Sign | None = None,
    ) -> None:
        """Prepare a connection to `url`; nothing is opened before `run`.

        Args:
            url: `ws://` or `wss://`.
            on_frame: see above, as for the other callbacks.
            on_notice: see above.
            on_coverage: see above.
            on_failure: see above.
            deliveries: frames of each stream so far, kept by the caller and checked every second for silent streams.
                None: no check.
            settings: bounds and times of the sockets.
            session_settings: bounds and times of the session.
            ssl_context: for `wss://`; the default follows `ConnectionSettings.network`.
            rng: makes the reconnect jitter repeatable.
            sign: returns the signature for private streams; called right before each of their subscriptions is sent.

        Raises:
            UsageError: `url` is not a WebSocket URL, or the proxy's URL is invalid.
        """
        self._settings = settings or ConnectionSettings()
        self._sockets = ExchangeSockets(url, ssl_context, self, on_frame, self._settings)
        self._session_settings = session_settings or SessionSettings()
        self._sign = sign
        self._session = Session(self._session_settings, rng=rng, sign=self._signature if sign is not None else None)
        self._on_notice = on_notice
        self._on_coverage = on_coverage
        self._on_failure = on_failure
        self._deliveries = deliveries
        self._to_perform: deque[Action] = deque()
        self._is_performing = False
        self._next_silence_check = monotonic() + self._settings.silence_check_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._is_started = False
        self.opens = 0
        self.server_closes = 0
        self.frame_failures = 0
        self.closes: Counter[NoticeKind] = Counter()

    # State.

    @property
    def frames(self) -> int:
        """Messages received so far."""
        return self._sockets.frames

    @property
    def bytes_received(self) -> int:
        """Bytes of the messages received so far, without frame headers."""
        return self._sockets.bytes_received

    @property
    def open_sockets(self) -> int:
        """Sockets that can deliver now, including those whose end the server has announced."""
        return self._session.open_sockets

    @property
    def wanted_sockets(self) -> int:
        """The number of sockets to keep up."""
        return self._session_settings.connections

    @property
    def silent_streams(self) -> frozenset[str]:
        """Streams that should deliver and have been silent for longer than expected."""
        return self._session.silent_streams

    @property
    def rejected_streams(self) -> frozenset[str]:
        """Streams that the exchange refused and that wait for another try."""
        return self._session.rejected_streams

    @property
    def confirmed_streams(self) -> frozenset[str]:
        """Streams that are active on a socket, as reported by `on_coverage`."""
        return self._session.confirmed_streams

    @property
    def is_reading_paused(self) -> bool:
        """Whether reading is paused."""
        return self._sockets.is_reading_paused

    # Commands of the owner.

    async def run(self, stop: asyncio.Event) -> None:
        """Keep the sockets up until `stop` is set or the task is cancelled, then close them.

        Raises:
            RuntimeError: it ran before; a connection runs once.
            Exception: any other one is a fault of this program.
        """
        if self._is_started:
            raise RuntimeError("a connection runs only once; create a new one")
        self._is_started = True
        try:
            self._perform(self._session.start(monotonic()))
            await self._sockets.live_until(stop)
        finally:
            self._perform(self._session.stop(monotonic()))
            await self._sockets.wait_closed()
        self._sockets.raise_failure()

    def set_streams(self, streams: Mapping[str, Expectation]) -> None:
        """Want exactly these streams, before or during `run`; open sockets are sent the difference."""
        self._perform(self._session.set_streams(streams, monotonic()))

    def error_frame(self, socket_id: int, code: int, message: str) -> None:
        """Report an error frame found among the messages of a socket. Call this from within `on_frame`.

        Args:
            socket_id: the socket.
            code: the exchange's error code.
            message: the exchange's message.
        """
        if socket_id in self._sockets.sockets:
            self._sockets.sockets[socket_id].discount_message()
        self._perform(self._session.error_frame(socket_id, code, message, monotonic()))

    def doubt(self, streams: Iterable[str], reason: str) -> None:
        """Mark streams as not delivered, because other streams show that they should have sent something (see
        `Session.doubt`).

        Args:
            streams: their names.
            reason: one line for notices.
        """
        self._perform(self._session.doubt(streams, reason, monotonic()))

    def unwanted_frame(self, stream: str) -> None:
        """Report a frame of a stream that is not wanted: its UNSUBSCRIBE is repeated from time to time."""
        self._perform(self._session.unwanted(stream, monotonic()))

    def renew(self) -> None:
        """Replace every socket by a new one that is subscribed before the old one ends."""
        self.sync()
        self._perform(self._session.renew(monotonic()))

    def pause_reading(self) -> None:
        """Stop reading from all sockets until `resume_reading`: TCP holds the sender back.

        The content of the read buffers (`ConnectionSettings.read_buffer_bytes` per socket) may still be passed on.
        """
        if self._sockets.is_reading_paused:
            return
        self._sockets.pause_reading()
        self._perform(self._session.reading_paused(monotonic()))

    def resume_reading(self) -> None:
        """Read again."""
        if not self._sockets.is_reading_paused:
            return
        self._sockets.resume_reading()
        self._perform(self._session.reading_resumed(monotonic()))

    # Events of sockets.

    def socket_opened(self, socket: ExchangeSocket) -> None:
        """Called by a socket after its handshake."""
        self.opens += 1
        if self._sockets.is_reading_paused:
            socket.pause_reading()
        self._perform(self._session.socket_opened(socket.socket_id, monotonic()))

    def socket_failed(self, socket_id: int, reason: str) -> None:
        """Called when a socket could not be opened."""
        self._perform(self._session.socket_failed(socket_id, reason, monotonic()))

    def socket_lost(self, socket_id: int, reason: str) -> None:
        """Called when an open socket has ended."""
        self._perform(self._session.socket_lost(socket_id, reason, monotonic()))

    def socket_ponged(self, socket_id: int, payload: bytes) -> None:
        """Called by a socket on a Pong."""
        self.sync()
        self._perform(self._session.pong(socket_id, payload, monotonic()))

    def socket_closed_by_server(self, socket_id: int, code: int, reason: str) -> None:
        """Called by a socket on a Close frame, with its code and reason (RFC 6455, section 7.4)."""
        self.server_closes += 1
        self.sync()
        self._perform(self._session.server_close(socket_id, code, reason, monotonic()))

    def frame_failed(self, socket_id: int, payload: bytes, error: Exception) -> None:
        """Called by a socket when the consumer of its messages raised."""
        self.frame_failures += 1
        if self._on_failure is None:
            logger.error("frame handler failed", extra={"socket_id": socket_id}, exc_info=error)
            return
        try:
            self._on_failure(socket_id, payload, error)
        except Exception:  # the last resort: no caller could handle it
            logger.exception("failure handler failed", extra={"socket_id": socket_id})

    # Actions.

    def _perform(self, actions: list[Action]) -> None:
        """Carry out actions in order, including those that a callback adds meanwhile."""
        self._to_perform.extend(actions)
        if self._is_performing:
            return
        self._is_performing = True
        try:
            while self._to_perform:
                self._act(self._to_perform.popleft())
        finally:
            self._is_performing = False
        self._plan_tick()

    def _act(self, action: Action) -> None:
        match action:
            case OpenSocket(socket_id):
                self._sockets.open(socket_id)
            case Notice():
                self._notify(action)
            case StreamsActive() | StreamsInactive() | SocketProven():
                self._tell_coverage(action)
            case SendText() | SendPing() | SendClose() | DropSocket():
                self._sockets.act(action)

    def _notify(self, notice: Notice) -> None:
        if notice.kind in CLOSING_KINDS:
            self.closes[notice.kind] += 1
        if self._on_notice is None:
            logger.info(notice.kind.value, extra={"notice": notice})
            return
        try:
            self._on_notice(notice)
        except Exception:  # a listener's fault must not stop the sockets
            logger.exception("notice handler failed", extra={"notice": notice})

    def _tell_coverage(self, event: CoverageEvent) -> None:
        try:
            if self._on_coverage is not None:
                self._on_coverage(event)
        except Exception as error:  # without the event, a dead socket may count as active for good
            logger.exception("coverage handler failed", extra={"event": event})
            self._sockets.fail(error)

    def _signature(self) -> Sequence[str]:
        try:
            return self._sign() if self._sign is not None else ()
        except Exception:  # without a signature the exchange refuses the subscription, and it is retried
            logger.exception("signing failed")
            return ()

    # Time.

    def _plan_tick(self, not_before: float = 0.0) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._session.next_deadline() if self._is_started else None
        if deadline is None:
            return
        if self._deliveries is not None:
            deadline = min(deadline, self._next_silence_check)
        delay = max(0.0, deadline - monotonic(), not_before)
        self._timer = asyncio.get_running_loop().call_later(delay, self._tick)

    def _tick(self) -> None:
        self._timer = None
        try:
            self.sync()
            now = monotonic()
            self._perform(self._session.tick(now))
            if self._deliveries is not None and now >= self._next_silence_check:
                self._next_silence_check = now + self._settings.silence_check_seconds
                self._perform(self._session.check_silence(now, self._deliveries))
        except Exception:  # a fault in the owner's input, such as `deliveries`, must not stop the ticks
            logger.exception("tick failed")
            self._plan_tick(_AFTER_ERROR_SECONDS)

    def sync(self) -> None:
        """Pass on what the sockets noted themselves: the hot path does not call the session."""
        for socket in self._sockets.sockets.values():
            if socket.last_data_seconds:
                self._session.frame_seen(socket.socket_id, socket.first_data_seconds)
                self._session.frame_seen(socket.socket_id, socket.last_data_seconds)
            if socket.last_heard_seconds:
                self._session.heard(socket.socket_id, socket.last_heard_seconds)
