"""Chooses one copy of each stream from the copies of several sockets. Sans I/O."""

import json
from collections import deque

_REMEMBERED = 2048
_WAITING_FRAMES = 2048
_SILENT_US = 10_000_000

_FIRST = b'{"stream":"'


class OneSocket:
    """One stream as one socket delivered it. When that socket is gone, the frames of another follow without a duplicate or a gap.

    Frames that other sockets delivered ahead of the chosen one wait; each is dropped when the chosen socket delivers the same bytes.
    """

    __slots__ = ("_at_us", "_is_catching_up", "_recent", "_recent_order", "_socket", "_waiting")

    def __init__(self) -> None:
        self._socket: int | None = None
        self._is_catching_up = False
        self._at_us = 0
        self._recent: set[bytes] = set()
        self._recent_order: deque[bytes] = deque()
        self._waiting: dict[int, deque[bytes]] = {}

    def take(self, socket: int, payload: bytes, at_us: int) -> list[bytes]:
        """Take a frame of a socket.

        If the chosen socket is silent for 10 s while another one delivers, the other becomes the chosen one.

        Args:
            socket: number of the socket; the first to deliver is chosen.
            payload: the frame as received.
            at_us: when it was received, µs since the Unix epoch.

        Returns:
            The frames to play now, in order.
        """
        if self._socket is None:
            self._socket, self._is_catching_up = socket, True
        if socket == self._socket:
            self._at_us = at_us
            if self._is_catching_up and payload in self._recent:
                return []  # the previous socket had delivered it
            self._is_catching_up = False
            self._played(payload)
            return [payload]
        if payload in self._recent:
            self._waiting.pop(socket, None)  # all that the socket delivered before is older still
            return []
        waiting = self._waiting.setdefault(socket, deque(maxlen=_WAITING_FRAMES))
        waiting.append(payload)
        if at_us - self._at_us < _SILENT_US:
            return []
        return self._go_over_to(socket, at_us)  # the chosen socket is silent although the stream goes on

    def gone(self, socket: int, at_us: int) -> list[bytes]:
        """Take the end of a socket. If it was the chosen one, the socket with the most waiting frames follows it.

        Args:
            socket: number of the socket.
            at_us: when it ended, µs since the Unix epoch.

        Returns:
            The frames that another had delivered ahead of it, in order.
        """
        if socket != self._socket:
            return []  # the frames that it delivered ahead may be the only copies
        self._socket = None
        if not self._waiting:
            return []
        return self._go_over_to(max(self._waiting, key=lambda each: len(self._waiting[each])), at_us)

    def end(self) -> list[bytes]:
        """The recording has ended. Return the frames that were still waiting."""
        return [] if self._socket is None else self.gone(self._socket, self._at_us)

    def _go_over_to(self, socket: int, at_us: int) -> list[bytes]:
        self._socket, self._is_catching_up, self._at_us = socket, False, at_us
        frames = list(self._waiting.pop(socket))
        for payload in frames:
            self._played(payload)
        return frames

    def _played(self, payload: bytes) -> None:
        if payload not in self._recent:
            self._recent.add(payload)
            self._recent_order.append(payload)
            if len(self._recent_order) > _REMEMBERED:
                self._recent.discard(self._recent_order.popleft())
        for socket, waiting in list(self._waiting.items()):
            if payload in waiting:
                while waiting.popleft() != payload:
                    pass
                if not waiting:
                    del self._waiting[socket]


def stream_of(payload: bytes) -> str | None:
    """Return the stream of a frame; None if it names none, as error frames do not.

    The name is taken from the text if it is at its usual place, first or last; otherwise the frame is parsed.
    """
    name = None
    if payload.startswith(_FIRST):
        name = payload[len(_FIRST) :].partition(b'"')[0]
    elif payload.endswith(b'"}'):
        head, _, last = payload[:-2].rpartition(b',"stream":"')
        name = last if head.endswith((b"}", b"]")) else None
    if name is not None and name.isascii() and b"\\" not in name and b'"' not in name:
        return name.decode()
    return _parsed_stream(payload)


def _parsed_stream(payload: bytes) -> str | None:
    try:
        frame = json.loads(payload)
    except ValueError:  # not JSON: no client can have subscribed to it
        return None
    stream = frame.get("stream") if isinstance(frame, dict) else None
    return stream if isinstance(stream, str) else None
