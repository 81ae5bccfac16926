"""The actions and notices of a WebSocket session for its shell: small frozen values without I/O."""

from dataclasses import dataclass
from enum import StrEnum

from backpack_streams.shown_text import one_line


class NoticeKind(StrEnum):
    """What happened, in the word used by logs and metrics."""

    LINK_OPENED = "link_opened"
    LINK_FAILED = "link_failed"
    """The connection could not be opened; another try follows."""
    LINK_LOST = "link_lost"
    """An open socket broke without a Close from the server."""
    LINK_DEAD = "link_dead"
    """Nothing was received, not even the answer to a Ping; the socket was dropped."""
    SERVER_CLOSE = "server_close"
    """The server announced the end; the socket delivers during the grace period while a new one opens."""
    LINK_DRAINED = "link_drained"
    """A socket with an announced end has ended."""
    LINK_GRACE_OVER = "link_grace_over"
    """The server never dropped the socket that it had closed, so the session dropped it."""
    LINK_REPLACED = "link_replaced"
    """A newer socket delivers in its place, so it was dropped."""
    LINK_STOPPED = "link_stopped"
    """Dropped because the session stops."""
    LINK_RENEWAL = "link_renewal"
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


@dataclass(frozen=True, slots=True)
class OpenLink:
    """Connect a new socket under this id, and report `link_opened` or `link_failed`."""

    link_id: int


@dataclass(frozen=True, slots=True)
class SendText:
    """Send one text frame."""

    link_id: int
    text: str


@dataclass(frozen=True, slots=True)
class SendPing:
    """Send a protocol Ping; its Pong returns the same payload (RFC 6455, section 5.5.3)."""

    link_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SendClose:
    """Send a Close frame; a `DropLink` follows."""

    link_id: int


@dataclass(frozen=True, slots=True)
class DropLink:
    """Cut the socket. The session has already forgotten it and expects no event about it."""

    link_id: int


@dataclass(frozen=True, slots=True)
class Notice:
    """An event for a log line, a metric or a StreamStatus record.

    Attributes:
        kind: what happened.
        message: one line for people.
        link_id: the socket concerned; None if no single one.
        stream: the stream concerned; None if a socket is.
        code: the exchange's error code, or the code of a Close frame.
        never_delivered: for `STREAM_SILENT`, whether nothing ever came on this stream.
        silent_seconds: for `STREAM_SILENT` and `STREAM_RECOVERED`, how long nothing came.
        retry_seconds: seconds from now to the next try.
    """

    kind: NoticeKind
    message: str
    link_id: int | None = None
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
    """The exchange has confirmed subscriptions: everything sent on them from `at` on arrives on this socket.

    `at` is in seconds of the session's clock.
    """

    streams: tuple[str, ...]
    link_id: int
    at: float


@dataclass(frozen=True, slots=True)
class StreamsInactive:
    """Streams are no longer active on this socket. Everything sent on them until `through` was received; `cause` is a `Cause`."""

    streams: tuple[str, ...]
    link_id: int
    through: float
    cause: str


@dataclass(frozen=True, slots=True)
class LinkProven:
    """Everything that the exchange sent on this socket until `through` was received (seconds of the session's clock)."""

    link_id: int
    through: float


CoverageEvent = StreamsActive | StreamsInactive | LinkProven
Action = OpenLink | SendText | SendPing | SendClose | DropLink | Notice | CoverageEvent

_SHOWN_CHARACTERS = 200


def shown(text: str) -> str:
    """Text of the other side in a form for messages: short and on one line."""
    return one_line(text, _SHOWN_CHARACTERS)
