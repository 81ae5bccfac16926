"""The sandbox's WebSocket server: subscriptions, Pings, Close with grace, and one URL for every stream."""

import asyncio
import json
import logging
import random
from collections.abc import Callable
from typing import Any

import picows

from backpack_sandbox.account_keys import AccountKeys
from backpack_sandbox.faults import Fault, FaultBox
from backpack_sandbox.hub import Hub, text_frame
from backpack_sandbox.settings import SandboxSettings
from backpack_sandbox.streams import INVALID_STREAM, PARSE_ERROR, WireError, parse_stream

logger = logging.getLogger(__name__)

_HIGH_WATER_BYTES = 1024 * 1024
_CLOSE_GOING_AWAY = b"\x88\x02\x03\xe9"  # a Close frame with code 1001, RFC 6455 7.4.1
_MAX_REQUEST_BYTES = 1024 * 1024


class Socket(picows.WSListener):
    """One client. Frames bypass picows, so that data can still flow after the Close frame."""

    def __init__(
        self,
        hub: Hub,
        faults: FaultBox,
        settings: SandboxSettings,
        now_us: Callable[[], int],
        keys: AccountKeys,
        greeting: Callable[[str], list[bytes]],
    ) -> None:
        """Create the socket of a client of `hub`; `greeting` returns the first frames of a new subscription."""
        super().__init__()
        self._keys = keys
        self._greeting = greeting
        self.number = 0
        self.outgoing: list[bytes] = []
        self.closing = False
        self.half_open = False
        """Whether the socket reads everything and sends nothing, not even a Pong; to the client it looks connected."""
        self.writable = asyncio.Event()
        self.writable.set()
        self._hub = hub
        self._faults = faults
        self._settings = settings
        self._now_us = now_us
        self._transport: picows.WSTransport | None = None
        self._request = b""
        self._timers: list[asyncio.TimerHandle] = []
        self._unanswered: asyncio.TimerHandle | None = None
        self.pings_sent = 0

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        """Number the socket and schedule its first Ping."""
        self._transport = transport
        self.half_open = self._faults.take("half-open", self._now_us()) is not None
        transport.underlying_transport.set_write_buffer_limits(high=_HIGH_WATER_BYTES)
        self._hub.join(self)
        logger.debug("sandbox socket opened", extra={"socket": self.number})
        earliest, latest = self._settings.first_ping_min_seconds, self._settings.first_ping_max_seconds
        self._later(random.uniform(min(earliest, latest), latest), self._ping)

    def _later(self, seconds: float, action: Any) -> asyncio.TimerHandle:
        self._timers = [timer for timer in self._timers if not timer.cancelled() and timer.when() > _loop_time()]
        timer = asyncio.get_running_loop().call_later(seconds, action)
        self._timers.append(timer)
        return timer

    def _ping(self) -> None:
        if self._transport is None or self.half_open:
            return
        if not self._faults.active("ping-off", self._now_us()):
            self._transport.send_ping(b"")
            self.pings_sent += 1
            if self._unanswered is None:
                self._unanswered = self._later(self._settings.pong_timeout_seconds, self.drop)
        self._later(self._settings.ping_interval_seconds, self._ping)

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """Handle a request, a Ping, a Pong or the client's Close."""
        kind = frame.msg_type
        if self.half_open:
            return
        if kind == picows.WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        elif kind == picows.WSMsgType.PONG:
            if self._unanswered is not None:
                self._unanswered.cancel()
                self._unanswered = None
        elif kind == picows.WSMsgType.CLOSE:
            if not self.closing:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif kind in (picows.WSMsgType.TEXT, picows.WSMsgType.BINARY, picows.WSMsgType.CONTINUATION):
            self._request += frame.get_payload_as_bytes()
            if frame.fin or len(self._request) > _MAX_REQUEST_BYTES:
                request, self._request = self._request, b""
                self._answer(request)

    def _answer(self, request: bytes) -> None:
        for error in self._obey(request):
            self.outgoing.append(text_frame(error.payload))
        if self.outgoing:
            self.flush()

    def _obey(self, request: bytes) -> list[WireError]:
        """Carry out a request; return the errors to send. There is no acknowledgement."""
        try:
            order = json.loads(request)
        except ValueError:
            return [PARSE_ERROR]
        if not isinstance(order, dict) or order.get("method") not in ("SUBSCRIBE", "UNSUBSCRIBE"):
            return [PARSE_ERROR]
        params = order.get("params")
        if not isinstance(params, list) or not all(isinstance(param, str) for param in params):
            return [PARSE_ERROR]
        if order["method"] == "UNSUBSCRIBE":
            for stream in params:
                self._hub.unsubscribe(self, stream)
            return [name for name in map(parse_stream, params) if isinstance(name, WireError)]
        wrong = self._faults.take_for("error", self._now_us(), params)
        if wrong is None:
            return self._subscribe(params, order.get("signature"))
        self.outgoing.append(text_frame(_error_payload(wrong)))
        return [] if wrong.is_on("refuse", default=True) else self._subscribe(params, order.get("signature"))

    def _subscribe(self, streams: list[str], signature: Any) -> list[WireError]:
        """Subscribe to streams. An invalid signature refuses the request's private streams, with one error for all of them."""
        errors: list[WireError] = []
        refusal: WireError | None = None
        for stream in streams:
            name = parse_stream(stream)
            if isinstance(name, WireError):
                errors.append(name)
                continue
            if name.private and signature is None:
                errors.append(INVALID_STREAM)
                continue
            if name.private:
                refusal = self._keys.refusal(signature, self._exchange_ms())
                if refusal is not None:
                    continue
            if self._faults.take_for("ignore-subscribe", self._now_us(), [stream]) is not None:
                continue
            if self._hub.subscribe(self, stream):
                self.outgoing += map(text_frame, self._greeting(stream))
        return errors if refusal is None else [*errors, refusal]

    def _exchange_ms(self) -> int:
        now_us = self._now_us()
        return (now_us + self._faults.clock_offset_us(now_us)) // 1000

    def flush(self) -> None:
        """Write the outgoing frames. A socket too far behind is dropped, unless the flow waits for it."""
        transport, outgoing = self._transport, self.outgoing
        self.outgoing = []
        if transport is None or transport.is_disconnected or self.half_open:
            return
        transport.underlying_transport.write(outgoing[0] if len(outgoing) == 1 else b"".join(outgoing))
        if not self.writable.is_set() and self._settings.effective_rate != "max":
            behind = self.buffered_bytes
            if behind > self._settings.socket_buffer_bytes:
                logger.warning("sandbox socket too slow, dropped", extra={"socket": self.number, "bytes": behind})
                self.drop()

    @property
    def buffered_bytes(self) -> int:
        """Bytes written that the client's side has not read yet."""
        if self._transport is None:
            return 0
        return int(self._transport.underlying_transport.get_write_buffer_size())

    def pause_writing(self) -> None:
        """Note that the socket's buffer is full."""
        self.writable.clear()

    def resume_writing(self) -> None:
        """Note that the socket's buffer has drained."""
        self.writable.set()

    def close(self) -> None:
        """Send a Close frame and go on sending data; drop the socket after the grace."""
        if self._transport is None or self.closing or self.half_open:
            return
        self.closing = True
        self._transport.underlying_transport.write(_CLOSE_GOING_AWAY)
        self._later(self._settings.grace_seconds, self.drop)

    def drop(self) -> None:
        """Cut the connection without a Close frame."""
        if self._transport is not None:
            self._transport.underlying_transport.abort()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        """Remove the client."""
        self._transport = None
        self.writable.set()
        for timer in self._timers:
            timer.cancel()
        self._hub.leave(self)
        logger.debug("sandbox socket gone", extra={"socket": self.number})

    def shown(self) -> dict[str, Any]:
        """Return the socket as the control API shows it."""
        return {
            "id": self.number,
            "closing": self.closing,
            "half_open": self.half_open,
            "buffered_bytes": self.buffered_bytes,
            "pings_sent": self.pings_sent,
        }


def _loop_time() -> float:
    return asyncio.get_running_loop().time()


def _error_payload(fault: Fault) -> bytes:
    """Return the payload of the fault `error`: an error frame with its code and message, or a text that is not JSON."""
    message = fault.text("message") or "Internal error"
    if fault.kind() == "text":
        return f"<html><body>{message}</body></html>".encode()
    return json.dumps({"id": None, "error": {"code": int(fault.number_of("code", 5000)), "message": message}}).encode()
