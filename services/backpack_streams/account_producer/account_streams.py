"""The streams of one account: signed, with a watch on the clock, and independent of the state of markets."""

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Sequence

from prometheus_client.registry import Collector

from backpack_streams.account_producer.settings import AccountProducerSettings
from backpack_streams.exchange.clock import ExchangeClock, Skew
from backpack_streams.exchange.limit_queue import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.session_actions import Notice, NoticeKind
from backpack_streams.exchange.signing import SubscriptionSigner
from backpack_streams.exchange.streams import StreamKind, parse_kind
from backpack_streams.feed.stream_choice import Chore, Streams, Want
from backpack_streams.markets.first_list import until_listed
from backpack_streams.markets.market_list import MarketList
from backpack_streams.markets.selection import Selection
from backpack_streams.publishing.clock_watch import ClockWatch
from backpack_streams.publishing.publishing import now_us
from backpack_streams.runtime.collectors import count, value

__all__ = ["BY_ASSET", "AccountStreams", "account_streams"]

logger = logging.getLogger(__name__)

BY_ASSET = frozenset({"account.balanceUpdate"})
"""Streams that have no form for a single market."""

_BECAUSE = " — "


def account_streams(kinds: Iterable[StreamKind], symbols: Sequence[str] | None) -> dict[str, bool]:
    """Return the streams to subscribe to; each must deliver.

    Args:
        kinds: the kinds of stream.
        symbols: None for the streams of the whole account, otherwise one stream for each market. Kinds in `BY_ASSET` have
            no such form, and stay streams of the whole account.
    """
    wanted: dict[str, bool] = {}
    for kind in kinds:
        for symbol in [None] if symbols is None or kind.channel in BY_ASSET else symbols:
            wanted[kind.stream(symbol)] = True
    return wanted


class AccountStreams:
    """Chooses the streams of one account. They do not follow the market list: an order may outlive the state of its market.

    Attributes:
        sign: signs subscriptions with the corrected time.
    """

    def __init__(self, settings: AccountProducerSettings, rest: RestClient, clock: ExchangeClock) -> None:
        """Prepare; nothing is sent yet.

        Args:
            settings: the key, the kinds of stream, the symbols, and the interval of clock checks in seconds.
            rest: the client that requests the market list and the exchange's time.
            clock: what is known of the exchange's clock; this object updates it.

        Raises:
            SettingConflict: there is no key, or it cannot be used.
            UsageError: a kind of stream is unknown.
        """
        self.sign = SubscriptionSigner(
            settings.signing_key(), lambda: clock.signed_ms(now_us()), settings.signature_window_ms
        )
        self._kinds = [parse_kind(text) for text in settings.streams]
        self._symbols = None if settings.symbols == "all" else settings.symbols
        self._list = MarketList(rest, settings.market_types)
        self._clock = clock
        self._clock_watch = ClockWatch(rest, clock, self._on_skew, Priority.GAP_SNAPSHOT)
        self._clock_check_seconds = settings.clock_check
        self._is_chosen = False
        self._refusal = ""
        self._was_refused = asyncio.Event()
        self._refusals = 0

    def takes(self, symbol: str) -> bool:
        """Return True: every message of the account belongs to this service."""
        return True

    async def first(self) -> Streams:
        """Measure the skew of our clock, which signatures need, and return the account's streams.

        If the settings name symbols, this waits for the exchange's market list.

        Raises:
            UsageError: the exchange does not list one of the symbols.
        """
        logger.info("signing for the account", extra={"public_key": self.sign.public_key})
        await self._clock_watch.compare()
        if self._symbols is not None:
            Selection(frozenset(self._symbols)).check(await until_listed(self._list.markets))
        self._is_chosen = True
        return account_streams(self._kinds, self._symbols)

    def chores(self, want: Want) -> Iterable[Chore]:
        """Return the task that watches the clock; the streams themselves never change.

        Args:
            want: not used.
        """
        yield "clock", self._watch_clock()

    def problems(self) -> list[str]:
        """Return why the service is not ready: the streams are not chosen yet, or the exchange refuses the signature."""
        if not self._is_chosen:
            return ["the market list is not available yet"]
        return [self._refusal] if self._refusal else []

    def collectors(self) -> Iterable[Collector]:
        """Return the metrics of signatures, and of the clock correction that they carry."""
        return (
            value(
                "clock_correction_seconds",
                "What is added to our clock's time before it is signed.",
                lambda: self._clock.correction_ms / 1000,
            ),
            count("signatures", "Subscriptions signed.", lambda: self.sign.signatures),
            count("signatures_refused", "Signatures that the exchange refused.", lambda: self._refusals),
        )

    def on_notice(self, notice: Notice) -> None:
        """Handle an event of the sockets: a refused signature is counted, and makes the service measure the clock at once.

        Args:
            notice: the event; other kinds have no effect.
        """
        if notice.kind is NoticeKind.SIGNATURE_REFUSED:
            self._refusals += 1
            self._refusal = notice.message
            self._was_refused.set()

    def on_all_covered(self) -> None:
        """Clear an earlier refusal: every stream is covered, so the exchange accepts the signature again."""
        if self._refusal:
            self._refusal = ""
            logger.info("the exchange takes our signature")

    async def _watch_clock(self) -> None:
        """Measure the clock periodically, and at once when a signature is refused: a wrong clock is the usual reason."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._was_refused.wait(), self._clock_check_seconds)
            was_refused = self._was_refused.is_set()
            self._was_refused.clear()
            await self._clock_watch.compare()
            if was_refused:
                self._refusal = f"{self._refusal.partition(_BECAUSE)[0]}{_BECAUSE}{self._clock.why_refused()}"
                logger.error("signature refused", extra={"reason": self._refusal, "public_key": self.sign.public_key})

    def _on_skew(self, skew: Skew) -> None:
        news = self._clock.observe(skew)
        if news is not None:
            logger.error(news) if self._clock.is_beyond_correction else logger.warning(news)
