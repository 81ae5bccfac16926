"""What a WebSocket session asks its shell to do and what it tells about: small frozen values, without any I/O."""

from dataclasses import dataclass
from enum import StrEnum

from backpack_streams.shown_text import one_line


class NoticeKind(StrEnum):
    """What happened, in the word that logs and metrics use."""

    LINK_OPENED = "link_opened"
    LINK_FAILED = "link_failed"
    """No connection came about; another try follows."""
    LINK_LOST = "link_lost"
    """An open link broke without a Close from the server."""
    LINK_DEAD = "link_dead"
    """Nothing was received, not even the answer to a Ping; the link was dropped."""
    SERVER_CLOSE = "server_close"
    """The server announced its end; the link delivers on during the grace while a new one comes up."""
    LINK_DRAINED = "link_drained"
    """A link whose end was announced is gone."""
    LINK_GRACE_OVER = "link_grace_over"
    """The server never dropped the link it had closed, so it was dropped here."""
    LINK_REPLACED = "link_replaced"
    """A newer link delivers in its place, so it was dropped."""
    LINK_STOPPED = "link_stopped"
    """Dropped because the session stops."""
    LINK_RENEWAL = "link_renewal"
    """A successor is opened for a link that still stands: it is old, does not answer, or does not deliver."""
    CONNECT_LIMIT = "connect_limit"
    """The bound on connects a minute was hit; the next try waits."""
    STREAM_REJECTED = "stream_rejected"
    """The exchange answered the subscription of this stream with an error."""
    SIGNATURE_REFUSED = "signature_refused"
    """The exchange does not take the signature of a subscription; every stream in it waits for another try."""
    UNATTRIBUTED_ERROR = "unattributed_error"
    """An error frame came that belongs to no known request."""
    SUBSCRIBE_REFUSED = "subscribe_refused"
    """A subscription of several streams was answered with an error; they are asked for again."""
    BARRIER_UNANSWERED = "barrier_unanswered"
    """The server leaves Pings unanswered, so no subscription is confirmed and nothing is known to be received."""
    STREAM_SILENT = "stream_silent"
    STREAM_RECOVERED = "stream_recovered"


@dataclass(frozen=True, slots=True)
class OpenLink:
    """Connect a new link under this id, and report `link_opened` or `link_failed`."""

    link_id: int


@dataclass(frozen=True, slots=True)
class SendText:
    """Send one text frame."""

    link_id: int
    text: str


@dataclass(frozen=True, slots=True)
class SendPing:
    """Send a protocol Ping; its Pong carries the same payload back (RFC 6455, section 5.5.3)."""

    link_id: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class SendClose:
    """Send a Close frame; a `DropLink` follows."""

    link_id: int


@dataclass(frozen=True, slots=True)
class DropLink:
    """Cut the link. The session has forgotten it already: no event about it is awaited."""

    link_id: int


@dataclass(frozen=True, slots=True)
class Notice:
    """Something worth a log line, a metric or a StreamStatus record.

    Attributes:
        kind: what happened.
        message: one line for people.
        link_id: the link it happened to, None if to none in particular.
        stream: the stream it is about, None if about a link.
        code: error code of the exchange, or the code of a Close frame.
        never_delivered: for `STREAM_SILENT`, whether nothing ever came on this stream.
        silent_seconds: for `STREAM_SILENT` and `STREAM_RECOVERED`, how long nothing came.
        retry_seconds: when the next try is due, seconds from now.
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
    """Why a stream is no longer active on a link."""

    DISCONNECTED = "DISCONNECTED"
    REFUSED = "REFUSED"
    SILENT = "SILENT"
    UNSUBSCRIBED = "UNSUBSCRIBED"


@dataclass(frozen=True, slots=True)
class StreamsActive:
    """The exchange has confirmed subscriptions: everything sent on them from `at` on arrives on this link."""

    streams: tuple[str, ...]
    link_id: int
    at: float


@dataclass(frozen=True, slots=True)
class StreamsInactive:
    """Streams are active on this link no more. Everything sent on them until `through` was received; `cause` is a `Cause`."""

    streams: tuple[str, ...]
    link_id: int
    through: float
    cause: str


@dataclass(frozen=True, slots=True)
class LinkProven:
    """Everything that the exchange sent on this link until `through` was received."""

    link_id: int
    through: float


CoverageEvent = StreamsActive | StreamsInactive | LinkProven
Action = OpenLink | SendText | SendPing | SendClose | DropLink | Notice | CoverageEvent

_SHOWN_CHARACTERS = 200


def shown(text: str) -> str:
    """Words of the other side as they may stand in a message: short and on one line."""
    return one_line(text, _SHOWN_CHARACTERS)
