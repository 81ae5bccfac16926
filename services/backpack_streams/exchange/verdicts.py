"""The results of one socket's subscriptions."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The exchange has taken the subscriptions of these streams."""

    streams: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rejected:
    """The exchange refuses this stream."""

    stream: str
    code: int
    message: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The subscription of these streams was answered with an error; they are retried in `retry_seconds`."""

    streams: tuple[str, ...]
    code: int
    message: str
    retry_seconds: float


@dataclass(frozen=True, slots=True)
class Unattributed:
    """An error came that concerns no subscription."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class SignatureRefused:
    """The exchange refuses the signature of the request for these streams."""

    streams: tuple[str, ...]
    code: int
    message: str


Verdict = Confirmed | Rejected | Refused | Unattributed | SignatureRefused
