"""The links of a session and the slots they fill: where each connection is in its life."""

import math
from dataclasses import dataclass
from enum import Enum, auto

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.active_streams import ActiveStreams
from backpack_streams.exchange.liveness import Liveness
from backpack_streams.exchange.session_actions import Action, Cause
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
USEFUL = (LinkState.OPEN, LinkState.REPLACED)
"""Links of which the server has not announced the end."""


@dataclass(slots=True, eq=False)
class Slot:
    """One of the connections wanted at all times.

    Attributes:
        current: the open link, None while there is none.
        incoming: the link that is connecting, None while there is none.
        retry_at: when to open the next link, None while none is due.
        failures: ends of links and failed tries since the last stable link.
        renewable_at: not before then is a link renewed again because it does not deliver.
    """

    backoff: Backoff
    current: "Link | None" = None
    incoming: "Link | None" = None
    retry_at: float | None = None
    failures: int = 0
    renewable_at: float = -math.inf
    _renewal_wait_seconds: float = 0.0

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

    def spend_renewal(self, now: float, settings: SessionSettings) -> bool:
        """Whether the link may be renewed because it does not deliver; then it may not for a while, each time a longer one."""
        if now < self.renewable_at:
            return False
        if now >= self.renewable_at + settings.renewal_cap_seconds:
            self._renewal_wait_seconds = settings.renewal_base_seconds
        self.renewable_at = now + self._renewal_wait_seconds
        self._renewal_wait_seconds = min(settings.renewal_cap_seconds, 2 * self._renewal_wait_seconds)
        return True


@dataclass(slots=True, eq=False)
class Link:
    """One connection, from the wish to open it until it is gone. Times are seconds of the session's clock.

    Attributes:
        streams: which streams are active on it.
        give_up_at: for a draining link, when it is dropped at the latest.
        renew_at: when it is old enough to be renewed.
        is_told_mute: it was told of that it leaves Pings unanswered.
        is_trusted: data has come since it was opened, or since it was silent, so the exchange takes its subscriptions.
        is_held: what is confirmed on it is not active, as it is not trusted and data should come.
        silent_since: when data came last, of a link on which none comes although it should; None while it is trusted.
        heal_at: not before then is a link without data asked for its streams again.
    """

    link_id: int
    slot: Slot
    liveness: Liveness
    subscriptions: LinkSubscriptions
    streams: ActiveStreams
    state: LinkState = LinkState.CONNECTING
    opened_at: float = 0.0
    first_data_at: float | None = None
    last_data_at: float | None = None
    give_up_at: float = math.inf
    renew_at: float = math.inf
    is_told_mute: bool = False
    is_trusted: bool = False
    is_held: bool = False
    silent_since: float | None = None
    heal_at: float = -math.inf

    @property
    def delivers(self) -> bool:
        """Whether data has come since it was opened, or since it was found silent."""
        if self.last_data_at is None:
            return False
        return self.silent_since is None or self.last_data_at > self.silent_since

    def trust(self) -> None:
        """Data has come in front of the newest Pong, so the exchange takes what it is sent.

        Before it did, it may have dropped SUBSCRIBEs and answered the Pings behind them all the same. The data is of one
        that was answered, so the newest of them was taken; what was in another is asked for again.
        """
        for name in self.subscriptions.confirmed_early if self.is_held else ():
            if name not in self.streams.since:
                self.subscriptions.ask_anew(name)
        self.is_trusted, self.is_held, self.silent_since = True, False, None

    def fall_silent(self) -> list[Action]:
        """It delivers nothing although it should: nothing is active on it until it does, and was confirmed anew."""
        self.is_trusted, self.is_held = False, True
        self.silent_since = through = self.opened_at if self.last_data_at is None else self.last_data_at
        for name in list(self.subscriptions.confirmed):
            if self.state is LinkState.OPEN:
                self.subscriptions.ask_anew(name)
            else:
                self.subscriptions.distrust(name)
        names = list(self.streams.since)
        return self.streams.deactivate(names, Cause.SILENT, dict.fromkeys(names, through))

    @property
    def is_lasting(self) -> bool:
        """Whether it is open and no successor is on its way."""
        return self.slot.current is self and self.slot.incoming is None and self.slot.retry_at is None

    def was_stable(self, now: float, settings: SessionSettings) -> bool:
        """Whether it lived or delivered for long enough that the next try is no repetition of a failure."""
        if now - self.opened_at >= settings.stable_after_open_seconds:
            return True
        if self.first_data_at is None or self.last_data_at is None:
            return False
        return self.last_data_at - self.first_data_at >= settings.stable_after_data_seconds

    def prove(self) -> list[Action]:
        """Tell how far it is proven.

        Once the server has announced its end, it may answer Pings and deliver no more, so that proves only what came with data.
        """
        through = self.liveness.proven_through
        if self.state is LinkState.CLOSING:
            through = min(through, -math.inf if self.last_data_at is None else self.last_data_at)
        return self.streams.prove(through)

    def covers_for(self, old: "Link", now: float, settings: SessionSettings) -> bool:
        """Whether it has taken over: it has every wanted stream since a moment until which the old one had them too."""
        settled_at = self.subscriptions.settled_at
        if settled_at is None or now < settled_at + settings.overlap_min_seconds or self.is_held:
            return False
        return old.streams.through >= settled_at
