"""The results of one socket's subscriptions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The exchange has taken the subscriptions of these streams."""

    streams: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The exchange refuses this stream by name.

    Attributes:
        stream: its name.
        code: the exchange's error code.
        message: the exchange's message.
    """

    stream: str
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The subscription of these streams was answered with an error.

    Attributes:
        streams: their names.
        code: the exchange's error code.
        message: the exchange's message.
        retry_seconds: when they are retried, in seconds from now.
    """

    streams: tuple[str, ...]
    code: int
    message: str
    retry_seconds: float


@dataclass(frozen=True, slots=True)
class Unattributed:
    """An error came that concerns no subscription. `code` and `message` are the exchange's."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class SignatureRefused:
    """The exchange refuses the signature of the request for these streams. `code` and `message` are the exchange's."""

    streams: tuple[str, ...]
    code: int
    message: str


Verdict = Confirmed | Rejected | Refused | Unattributed | SignatureRefused
