"""The actions and notices of a WebSocket session for its shell: small frozen values without I/O."""

from dataclasses import dataclass
from enum import StrEnum

from backpack_streams.shown_text import one_line


class NoticeKind(StrEnum):
    """What happened, in the word used by logs and metrics."""

    SOCKET_OPENED = "socket_opened"
    SOCKET_FAILED = "socket_failed"
    """The connection could not be opened; another try follows."""
    SOCKET_LOST = "socket_lost"
    """An open socket broke without a Close from the server."""
    SOCKET_DEAD = "socket_dead"
    """Nothing was received, not even the answer to a Ping; the socket was dropped."""
    SERVER_CLOSE = "server_close"
    """The server announced the end; the socket delivers during the grace period while a new one opens."""
    SOCKET_DRAINED = "socket_drained"
    """A socket with an announced end has ended."""
    SOCKET_GRACE_OVER = "socket_grace_over"
    """The server never dropped the socket that it had closed, so the session dropped it."""
    SOCKET_REPLACED = "socket_replaced"
    """A newer socket delivers in its place, so it was dropped."""
    SOCKET_STOPPED = "socket_stopped"
    """Dropped because the session stops."""
    SOCKET_RENEWAL = "socket_renewal"
    """A successor is opened for a socket that is still up: it is old, does not answer, or does not deliver."""
    CONNECT_LIMIT = "connect_limit"
    """The limit of connects per minute was reached; the next try waits."""
    STREAM_REJECTED = "stream_rejected"
    """The exchange answered the subscription of this stream with an error."""
    SIGNATURE_REFUSED = "signature_refused"
    """The exchange refused the signature of a subscription; all its streams wait for another try."""
    UNATTRIBUTED_ERROR = "unattributed_error"
    """An error frame came that belongs to no known request."""
    SUBSCRIBE_REFUSED = "subscribe_refused"
    """The subscription of several streams was answered with an error; they are requested again."""
    BARRIER_UNANSWERED = "barrier_unanswered"
    """The server leaves Pings unanswered, so no subscription is confirmed and no receipt is proven."""
    STREAM_SILENT = "stream_silent"
    STREAM_RECOVERED = "stream_recovered"


CLOSING_KINDS = frozenset(
    {
        NoticeKind.SOCKET_FAILED,
        NoticeKind.SOCKET_LOST,
        NoticeKind.SOCKET_DEAD,
        NoticeKind.SOCKET_DRAINED,
        NoticeKind.SOCKET_GRACE_OVER,
        NoticeKind.SOCKET_REPLACED,
        NoticeKind.SOCKET_STOPPED,
    }
)
"""The end of a socket, or a failure to open one."""


@dataclass(frozen=True, slots=True)
class OpenSocket:
    """Connect a new socket under this id, and report `socket_opened` or `socket_failed`."""

    socket_id: int


@dataclass(frozen=True, slots=True)
class SendText:
    """Send one text frame."""

    socket_id: int
    text: str


@dataclass(frozen=True, slots=True)
class SendPing:
    """Send a protocol Ping; its Pong returns the same payload (RFC 6455, section 5.5.3)."""

    socket_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SendClose:
    """Send a Close frame; a `DropSocket` follows."""

    socket_id: int


@dataclass(frozen=True, slots=True)
class DropSocket:
    """Cut the socket. The session has already forgotten it and expects no event about it."""

    socket_id: int


@dataclass(frozen=True, slots=True)
class Notice:
    """An event for a log line, a metric or a StreamStatus record.

    Attributes:
        kind: what happened.
        message: one line for people.
        socket_id: the socket concerned; None if no single one.
        stream: the stream concerned; None if a socket is.
        code: the exchange's error code, or the code of a Close frame.
        never_delivered: for `STREAM_SILENT`, whether nothing ever came on this stream.
        silent_seconds: for `STREAM_SILENT` and `STREAM_RECOVERED`, how long nothing came.
        retry_seconds: seconds from now to the next try.
    """

    kind: NoticeKind
    message: str
    socket_id: int | None = None
    stream: str | None = None
    code: int | None = None
    never_delivered: bool | None = None
    silent_seconds: float | None = None
    retry_seconds: float | None = None


class Cause(StrEnum):
    """Why a stream is no longer active on a socket."""

    DISCONNECTED = "DISCONNECTED"
    REFUSED = "REFUSED"
    SILENT = "SILENT"
    UNSUBSCRIBED = "UNSUBSCRIBED"


@dataclass(frozen=True, slots=True)
class StreamsActive:
    """The exchange has confirmed subscriptions.

    Attributes:
        streams: their names.
        socket_id: the socket.
        at: everything sent on them from this time on arrives on this socket (seconds of the session's clock).
    """

    streams: tuple[str, ...]
    socket_id: int
    at: float


@dataclass(frozen=True, slots=True)
class StreamsInactive:
    """Streams are no longer active on this socket.

    Attributes:
        streams: their names.
        socket_id: the socket.
        through: everything sent on them until this time was received (seconds of the session's clock).
        cause: a `Cause`.
    """

    streams: tuple[str, ...]
    socket_id: int
    through: float
    cause: str


@dataclass(frozen=True, slots=True)
class SocketProven:
    """Everything that the exchange sent on this socket until `through` was received (seconds of the session's clock)."""

    socket_id: int
    through: float


CoverageEvent = StreamsActive | StreamsInactive | SocketProven
Action = OpenSocket | SendText | SendPing | SendClose | DropSocket | Notice | CoverageEvent

_SHOWN_CHARACTERS = 200


def shown(text: str) -> str:
    """Text of the other side in a form for messages: short and on one line."""
    return one_line(text, _SHOWN_CHARACTERS)
