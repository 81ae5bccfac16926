"""The producer of an account's streams: like the others, but it signs, watches the clock, and keeps its streams whatever markets do."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Iterable, Sequence

from prometheus_client.registry import Collector

from backpack_streams.account_producer.settings import AccountProducerSettings
from backpack_streams.exchange.clock import Skew
from backpack_streams.exchange.limit_queue import Priority
from backpack_streams.exchange.session_actions import CoverageEvent, Notice, NoticeKind
from backpack_streams.exchange.signing import SubscriptionSigner
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.feed.clock_watch import ClockWatch
from backpack_streams.feed.family import Family
from backpack_streams.feed.markets import Selection
from backpack_streams.feed.measures import count, value
from backpack_streams.feed.producer import Producer
from backpack_streams.feed.publishing import now_us

logger = logging.getLogger(__name__)

_BECAUSE = " — "
BY_ASSET = frozenset({"account.balanceUpdate"})
"""Streams that have no form for a single market."""


def account_streams(kinds: Iterable[StreamKind], symbols: Sequence[str] | None) -> dict[str, bool]:
    """Return the streams to subscribe to: of the whole account (`symbols` None), or of each market if the kind has such a form."""
    wanted: dict[str, bool] = {}
    for kind in kinds:
        for symbol in [None] if symbols is None or kind.channel in BY_ASSET else symbols:
            wanted[kind.stream(symbol)] = True
    return wanted


class AccountProducer(Producer):
    """The account's streams. Its subscriptions do not follow the market list: an order may outlive the state of its market."""

    def __init__(self, name: str, settings: AccountProducerSettings, families: Sequence[Family]) -> None:
        self._signer = SubscriptionSigner(
            settings.signing_key(), lambda: self._clock.signed_ms(now_us()), settings.signature_window_ms
        )
        # A selection drops the messages of other shards; here every message of the account is ours.
        super().__init__(name, settings.model_copy(update={"symbols": "all"}), families, self._signer)
        self._clock_watch = ClockWatch(self._rest, self._clock, self._on_skew, Priority.GAP_SEED)
        self._symbols = None if settings.symbols == "all" else settings.symbols
        self._clock_check_seconds = settings.clock_check
        self._refusal = ""
        self._was_refused = asyncio.Event()
        self.refusals = 0

    async def open(self) -> "AccountProducer":
        """Connect to Kafka, create missing topics, compare clocks.

        Raises:
            BackpackStreamsError: Kafka cannot be reached, or a symbol is unknown.
        """
        logger.info("signing for the account", extra={"public_key": self._signer.public_key})
        await super().open()
        return self

    def _chores(self) -> Iterable[tuple[str, Coroutine[None, None, None]]]:
        yield "clock", self._watch_clock()

    def readiness(self) -> list[str]:
        """Return why the service is not ready."""
        reasons = super().readiness()
        return [*reasons, self._refusal] if self._refusal else reasons

    def _own_measures(self) -> Iterable[Collector]:
        return (
            value(
                "clock_correction_seconds",
                "What is added to our clock's time before it is signed.",
                lambda: self._clock.correction_ms / 1000,
            ),
            count("signatures", "Subscriptions signed.", lambda: self._signer.signatures),
            count("signatures_refused", "Signatures that the exchange refused.", lambda: self.refusals),
        )

    # Start.

    async def _start_streams(self) -> None:
        await self._clock_watch.compare()
        if self._symbols is not None:
            Selection(frozenset(self._symbols)).check(await self._markets_patiently())
        self._listed = True
        self._want(account_streams(self._kinds, self._symbols))

    # Refused signatures.

    def _on_notice(self, notice: Notice) -> None:
        super()._on_notice(notice)
        if notice.kind is NoticeKind.SIGNATURE_REFUSED:
            self.refusals += 1
            self._refusal = notice.message
            self._was_refused.set()

    # Background tasks.

    async def _watch_clock(self) -> None:
        """Compare clocks periodically, and at once when a signature is refused: a wrong clock is the usual reason."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._was_refused.wait(), self._clock_check_seconds)
            was_refused = self._was_refused.is_set()
            self._was_refused.clear()
            await self._clock_watch.compare()
            if was_refused:
                self._refusal = f"{self._refusal.partition(_BECAUSE)[0]}{_BECAUSE}{self._clock.why_refused()}"
                logger.error(
                    "signature refused", extra={"reason": self._refusal, "public_key": self._signer.public_key}
                )

    def _on_skew(self, skew: Skew) -> None:
        news = self._clock.observe(skew)
        if news is not None:
            logger.error(news) if self._clock.is_beyond_correction else logger.warning(news)

    def _on_coverage(self, event: CoverageEvent) -> None:
        super()._on_coverage(event)
        if self._refusal and not self._coverage.uncovered():
            self._refusal = ""
            logger.info("the exchange takes our signature", extra={"streams": len(self._router.feeds)})
