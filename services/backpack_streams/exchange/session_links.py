"""The links of a session and the slots they fill: plain records of where each connection is in its life."""

from dataclasses import dataclass
from enum import Enum, auto

from backpack_streams.exchange.backoff import Backoff
from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.subscriptions import LinkSubscriptions


class LinkState(Enum):
    """Where a link is in its life; a link that is gone is forgotten."""

    CONNECTING = auto()
    OPEN = auto()
    REPLACED = auto()
    """Still delivers while its successor settles; the server knows nothing of it."""
    CLOSING = auto()
    """The server has sent its Close and delivers on during the grace."""


DRAINING = (LinkState.REPLACED, LinkState.CLOSING)
DELIVERING = (LinkState.OPEN, *DRAINING)


@dataclass(slots=True, eq=False)
class Slot:
    """One of the connections wanted at all times.

    Attributes:
        current: the open link, None while there is none.
        incoming: the link that is connecting, None while there is none.
        retry_at: when to open the next link, None while none is due.
        failures: ends of links and failed tries since the last stable link.
    """

    backoff: Backoff
    current: "Link | None" = None
    incoming: "Link | None" = None
    retry_at: float | None = None
    failures: int = 0

    def schedule(self, now: float, *, at_once: bool) -> float:
        """Plan the next try and give its delay; `at_once` holds only for the first try after a stable link."""
        delay_seconds = self.backoff.next_delay_seconds()
        if at_once and self.failures == 0:
            delay_seconds = 0.0
        self.failures += 1
        self.retry_at = now + delay_seconds
        return delay_seconds

    def forget_failures(self) -> None:
        """Start the backoff anew: a link was stable."""
        self.failures = 0
        self.backoff.reset()


@dataclass(slots=True, eq=False)
class Link:
    """One connection, from the wish to open it until it is gone. Times are seconds of the session's clock.

    Attributes:
        heard_at: when anything was received, control frames included.
        ping_sent_at: when the unanswered Ping of the liveness check went out, None if none is.
        give_up_at: for a draining link, when it is dropped at the latest.
        look_again_at: for a replaced link, when to look again whether its successor delivers.
    """

    link_id: int
    slot: Slot
    subscriptions: LinkSubscriptions
    state: LinkState = LinkState.CONNECTING
    opened_at: float = 0.0
    heard_at: float = 0.0
    first_data_at: float | None = None
    last_data_at: float | None = None
    settled_at: float | None = None
    ping_sent_at: float | None = None
    give_up_at: float = 0.0
    look_again_at: float = 0.0

    def was_stable(self, now: float, settings: SessionSettings) -> bool:
        """Whether it lived or delivered for long enough that the next try is no repetition of a failure."""
        if now - self.opened_at >= settings.stable_after_open_seconds:
            return True
        if self.first_data_at is None or self.last_data_at is None:
            return False
        return self.last_data_at - self.first_data_at >= settings.stable_after_data_seconds

    def has_taken_over(self, now: float, settings: SessionSettings) -> bool:
        """Whether it is subscribed to everything, has delivered since, and for long enough."""
        return (
            self.state is LinkState.OPEN
            and self.settled_at is not None
            and self.last_data_at is not None
            and self.last_data_at > self.settled_at
            and now >= self.settled_at + settings.overlap_min_seconds
        )

    def liveness_due_at(self, settings: SessionSettings) -> float:
        """When the liveness check has something to do: send a Ping, or give the link up."""
        if self.ping_sent_at is not None and self.heard_at <= self.ping_sent_at:
            return self.ping_sent_at + settings.ping_reply_seconds
        return self.heard_at + settings.idle_before_ping_seconds
