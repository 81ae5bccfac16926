"""The parameters of a WebSocket session, and what each stream is expected to deliver."""

from dataclasses import dataclass, fields

from backpack_streams.errors import UsageError


@dataclass(frozen=True, slots=True)
class Expectation:
    """How long a stream may stay silent; None means without limit.

    A stream with `max_silence_seconds` is sent at fixed intervals, so its silence proves that it is not delivered. A stream with only
    `first_delivery_seconds` may be quiet forever: it is requested again, and reported if it has never delivered.

    Attributes:
        max_silence_seconds: longest pause between two frames of the stream.
        first_delivery_seconds: longest wait for the first frame of each subscription.
    """

    max_silence_seconds: float | None = None
    first_delivery_seconds: float | None = None


MAY_STAY_QUIET = Expectation()
"""A stream whose silence proves nothing: a quiet book sends nothing for minutes, and a liquidation may not come for days."""


@dataclass(frozen=True, slots=True)
class SessionSettings:
    """Bounds and times of a session. All times are seconds.

    The exchange gives 30 s of grace after its Close, pings every 60 s and answers a Ping in about 0.13 s (observed on the live exchange).

    Raises:
        UsageError: a number is out of its range.
    """

    connections: int = 1
    """Sockets kept up at all times, 1 or 2."""

    subscribe_batch_streams: int = 100
    subscribe_spacing_seconds: float = 0.05
    outstanding_batches: int = 4
    """Subscribe frames sent ahead of the Pong that confirms them; 1 while the cause of an error is searched."""
    barrier_timeout_seconds: float = 30.0
    """After this long without a Pong, subscribing continues without it and the socket is renewed."""
    refusal_base_seconds: float = 0.5
    """First wait after an error about no stream; it doubles up to `refusal_cap_seconds`."""
    refusal_cap_seconds: float = 30.0
    rejected_base_seconds: float = 10.0
    """First wait before a stream refused by name is retried; it doubles up to `rejected_retry_seconds`."""
    rejected_retry_seconds: float = 900.0
    refused_signature_retry_seconds: float = 10.0
    """Wait before streams whose signature was refused are retried."""
    unwanted_repeat_seconds: float = 30.0
    """The UNSUBSCRIBE of a stream that still delivers is repeated no sooner than this."""

    ping_interval_seconds: float = 1.0
    ping_reply_seconds: float = 10.0
    """A socket that leaves Pings unanswered and delivers nothing for this long is dead; after half of it a successor opens."""

    server_grace_seconds: float = 30.0
    server_grace_margin_seconds: float = 5.0
    overlap_min_seconds: float = 1.0
    """A replaced socket is dropped once its streams have been active on its successor for this long."""
    overlap_max_seconds: float = 60.0
    """A replaced socket without active streams is dropped this long after its successor opened, at the latest."""
    draining_sockets_limit: int = 4

    reconnect_base_seconds: float = 0.25
    reconnect_cap_seconds: float = 30.0
    stable_after_open_seconds: float = 60.0
    stable_after_data_seconds: float = 10.0
    connects_per_minute_limit: int = 30
    max_socket_age_seconds: float = 86_400.0
    """A socket is renewed at this age, plus or minus a tenth."""
    renewal_base_seconds: float = 300.0
    """Shortest time between two renewals of a connection that does not deliver; it doubles up to `renewal_cap_seconds`."""
    renewal_cap_seconds: float = 1_800.0

    heal_base_seconds: float = 20.0
    """First wait between two subscriptions of a stream that does not deliver; it doubles up to `heal_cap_seconds`.

    Longer than `trust_again_seconds`: a quiet stream is trusted again before it is subscribed again, which takes its coverage away.
    """
    heal_cap_seconds: float = 900.0
    trust_again_seconds: float = 15.0
    """A doubted stream is active again if it is not doubted for this long after its new subscription was confirmed."""

    unattributed_notices_per_minute_limit: int = 10

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            may_be_zero = field.name in ("subscribe_spacing_seconds", "overlap_min_seconds")
            if value < 0 or (value == 0 and not may_be_zero):
                raise UsageError(f"{field.name} is {value}; give a number above 0")
        if self.connections > 2:
            raise UsageError(f"connections is {self.connections}; give 1 or 2")
        if self.overlap_min_seconds > self.overlap_max_seconds:
            raise UsageError("overlap_min_seconds is above overlap_max_seconds; lower it")
        for what in ("reconnect", "refusal", "renewal", "heal"):
            if getattr(self, f"{what}_base_seconds") > getattr(self, f"{what}_cap_seconds"):
                raise UsageError(f"{what}_base_seconds is above {what}_cap_seconds; lower it")
