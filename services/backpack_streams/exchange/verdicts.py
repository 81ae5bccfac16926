"""What the answers to one link's subscriptions turned out to mean."""

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
    """An error came back on the subscription of these streams, which are asked for again."""

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
    """The exchange does not take the signature that these streams were asked for with."""

    streams: tuple[str, ...]
    code: int
    message: str


Verdict = Confirmed | Rejected | Refused | Unattributed | SignatureRefused
