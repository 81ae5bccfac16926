"""The subscriptions, and the path of a frame from the market through the faults to the sockets."""

from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol

from backpack_sandbox.faults import FaultBox
from backpack_sandbox.frames import Frame
from backpack_sandbox.streams import StreamName, parse_stream

_HEADERS_UP_TO = 4096


def websocket_header(size: int) -> bytes:
    """Return the header of an unmasked, final text frame with `size` bytes of payload (RFC 6455, 5.2)."""
    if size < 126:
        return bytes((0x81, size))
    if size < 65536:
        return b"\x81\x7e" + size.to_bytes(2, "big")
    return b"\x81\x7f" + size.to_bytes(8, "big")


_HEADERS = [websocket_header(size) for size in range(_HEADERS_UP_TO)]


def text_frame(payload: bytes) -> bytes:
    """Return a whole WebSocket text frame; its bytes are the same for every subscriber."""
    size = len(payload)
    return (_HEADERS[size] if size < _HEADERS_UP_TO else websocket_header(size)) + payload


class Outlet(Protocol):
    """One socket as the hub sees it.

    Attributes:
        number: its number, from 1; `Hub.join` sets it.
    """

    number: int
    outgoing: list[bytes]
    """Encoded frames for the next flush."""

    def flush(self) -> None:
        """Write `outgoing`."""


class Channel:
    """One stream: its subscribers and the number of frames sent to them.

    Args:
        stream: its full name.

    Attributes:
        outlets: its subscribers, oldest subscription first.
        sent: frames sent, however many subscribers each had.
    """

    __slots__ = ("outlets", "sent", "stream")

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.outlets: list[Outlet] = []
        self.sent = 0


class Hub:
    """Routes frames.

    Args:
        faults: the faults that frames pass.
        watch: takes the name of a stream that gets its first subscriber.
        unwatch: takes the name of a stream that loses its last one.

    Attributes:
        subscriptions_made: number of subscriptions so far, ended ones included.
        snapshots_asked: symbols whose `/depth` was requested.
    """

    def __init__(self, faults: FaultBox, watch: Callable[[str], None], unwatch: Callable[[str], None]) -> None:
        self._faults = faults
        self._watch = watch
        self._unwatch = unwatch
        self._channels: dict[str, Channel] = {}
        self._outlets: dict[int, Outlet] = {}
        self._next_number = 1
        self.subscriptions_made = 0
        self.snapshots_asked: set[str] = set()

    def join(self, outlet: Outlet) -> None:
        """Register an opened socket and number it."""
        outlet.number = self._next_number
        self._next_number += 1
        self._outlets[outlet.number] = outlet

    def leave(self, outlet: Outlet) -> None:
        """Remove a closed socket and its subscriptions."""
        self._outlets.pop(outlet.number, None)
        for stream, channel in self._channels.items():
            if outlet in channel.outlets:
                self.unsubscribe(outlet, stream)

    def subscribe(self, outlet: Outlet, stream: str) -> bool:
        """Deliver a stream to a socket. Return False if it is subscribed already."""
        channel = self._channels.setdefault(stream, Channel(stream))
        if outlet in channel.outlets:
            return False
        channel.outlets.append(outlet)
        self.subscriptions_made += 1
        if len(channel.outlets) == 1:
            self._watch(stream)
        return True

    def unsubscribe(self, outlet: Outlet, stream: str) -> None:
        """Stop delivering a stream to a socket."""
        channel = self._channels.get(stream)
        if channel is None or outlet not in channel.outlets:
            return
        channel.outlets.remove(outlet)
        if not channel.outlets:
            self._unwatch(stream)

    def publish(self, frames: Iterable[Frame], now_us: int) -> None:
        """Put frames into the sockets' outgoing lists, through the faults if there are any. `flush` sends them.

        Args:
            frames: streams and payloads; a frame without a subscriber is dropped.
            now_us: wall clock for the faults, µs since the Unix epoch.
        """
        channels = self._channels
        if self._faults.busy:
            self._publish_faulty(frames, now_us)
            return
        for stream, payload in frames:
            channel = channels.get(stream)
            if channel is not None and channel.outlets:
                channel.sent += 1
                size = len(payload)
                encoded = (_HEADERS[size] if size < _HEADERS_UP_TO else websocket_header(size)) + payload
                for outlet in channel.outlets:
                    outlet.outgoing.append(encoded)

    def _publish_faulty(self, frames: Iterable[Frame], now_us: int) -> None:
        for stream, payload in frames:
            channel = self._channels.get(stream)
            if channel is None or not channel.outlets:
                continue
            for delivery in self._faults.pass_on(stream, payload, now_us):
                self._deliver(delivery.stream, delivery.payload, delivery.spared)

    def release_held(self, now_us: int) -> None:
        """Deliver the frames that faults have held back until now."""
        if self._faults.busy:
            for delivery in self._faults.release(now_us):
                self._deliver(delivery.stream, delivery.payload, delivery.spared)

    def _deliver(self, stream: str, payload: bytes, spared: int | None) -> None:
        channel = self._channels.get(stream)
        if channel is None:
            return
        encoded = text_frame(payload)
        outlets = channel.outlets
        if spared == 0 and outlets:
            spared = outlets[0].number
        for outlet in outlets:
            if outlet.number != spared:
                outlet.outgoing.append(encoded)
        channel.sent += bool(outlets)

    def broadcast(self, payload: bytes) -> None:
        """Send a frame to every socket, whatever its subscriptions."""
        for outlet in self._outlets.values():
            outlet.outgoing.append(text_frame(payload))

    def flush(self) -> None:
        """Write what was published."""
        for outlet in list(self._outlets.values()):
            if outlet.outgoing:
                outlet.flush()

    @property
    def outlets(self) -> list[Outlet]:
        """Open sockets, oldest first."""
        return list(self._outlets.values())

    def subscribed(self) -> set[str]:
        """Return the streams that have a subscriber."""
        return {stream for stream, channel in self._channels.items() if channel.outlets}

    def state(self) -> dict[str, Any]:
        """Return `subscriptions` (number of sockets by stream) and `frames_sent` (by kind of stream), as the control API shows them."""
        kinds: Counter[str] = Counter()
        for channel in self._channels.values():
            name = parse_stream(channel.stream)
            if isinstance(name, StreamName):
                kinds[name.kind] += channel.sent
        return {
            "subscriptions": {stream: len(c.outlets) for stream, c in sorted(self._channels.items()) if c.outlets},
            "frames_sent": dict(sorted(kinds.items())),
        }
