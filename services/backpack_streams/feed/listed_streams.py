"""The streams of the markets that the exchange lists, as they open and close."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from functools import partial

from prometheus_client.registry import Collector

from backpack_streams.errors import UsageError
from backpack_streams.exchange.clock import ExchangeClock
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.session_actions import Notice
from backpack_streams.exchange.streams import parse_kind
from backpack_streams.feed.producer import Producer
from backpack_streams.feed.settings import ProducerSettings
from backpack_streams.feed.stream_choice import Chore, Streams, Want
from backpack_streams.feed.stream_spec import StreamSpec
from backpack_streams.markets.first_list import until_listed
from backpack_streams.markets.market_list import MarketList
from backpack_streams.markets.market_streams import STOCK_PRICE, streams_for
from backpack_streams.markets.measures import market_list_measures, shard_measures
from backpack_streams.markets.selection import ListedMarket, Selection
from backpack_streams.publishing.clock_watch import ClockWatch

__all__ = ["ListedStreams", "listed_producer"]

logger = logging.getLogger(__name__)


def listed_producer(name: str, settings: ProducerSettings, specs: Sequence[StreamSpec]) -> Producer:
    """Return a producer of the listed markets' streams; it is not connected yet.

    Args:
        name: the name of the service.
        settings: its settings.
        specs: the stream specs of its channels.

    Raises:
        UsageError: a setting is invalid, for example the REST URL.
    """
    return Producer(name, settings, specs, partial(ListedStreams, settings, specs))


class ListedStreams:
    """Follows the market list: the streams of this shard's open markets."""

    sign = None

    def __init__(
        self, settings: ProducerSettings, specs: Sequence[StreamSpec], rest: RestClient, clock: ExchangeClock
    ) -> None:
        """Prepare; `first` asks the exchange.

        Args:
            settings: kinds of stream, symbols, kinds of market and shard.
            specs: the stream specs of the service.
            rest: the client for the market list. The caller closes it.
            clock: takes the measured difference between our clock and the exchange's.
        """
        self._settings = settings
        self._kinds = [parse_kind(text) for text in settings.streams]
        self._in_one = frozenset(spec.channel for spec in specs if spec.all_markets_in_one)
        self._selection = Selection(
            None if settings.symbols == "all" else frozenset(settings.symbols),
            settings.shard_index,
            settings.shard_count,
        )
        self._list = MarketList(rest, settings.market_types)
        self._clock_watch = ClockWatch(rest, clock)
        self._securities: tuple[str, ...] = ()
        self._is_listed = False

    def takes(self, symbol: str) -> bool:
        """Return whether the streams of this market are ours, whether it is open or not."""
        return self._selection.takes(symbol)

    async def first(self) -> Streams:
        """Return the streams of the open markets, retrying until the exchange answers: it may be down when the producer starts.

        Raises:
            UsageError: a symbol is unknown.
        """

        async def ask() -> Streams:
            markets = await self._markets()
            self._selection.check(markets)
            return self._streams(markets)

        return await until_listed(ask)

    def chores(self, want: Want) -> Iterable[Chore]:
        """Look at the list periodically, and compare clocks."""
        yield "markets", self._follow(want)
        yield "clock", self._clock_watch.run()

    def problems(self) -> list[str]:
        """Return why the service is not ready."""
        return [] if self._is_listed else ["the market list is not available yet"]

    def collectors(self) -> Iterable[Collector]:
        """Metrics of the market list, and of the shard."""
        return (
            *market_list_measures(self._list),
            *shard_measures(self._settings.shard_index, self._settings.shard_count),
        )

    def on_notice(self, notice: Notice) -> None:
        """Ignore events of the sockets: they change nothing about the markets."""

    def on_all_covered(self) -> None:
        """Ignore that all streams are covered."""

    async def _markets(self) -> list[ListedMarket]:
        markets = await self._list.markets()
        if any(kind.channel == STOCK_PRICE for kind in self._kinds):
            self._securities = await self._list.securities()
        self._is_listed = True
        return markets

    def _streams(self, markets: Iterable[ListedMarket]) -> Streams:
        return streams_for(self._kinds, markets, self._selection, self._in_one, self._securities)

    async def _follow(self, want: Want) -> None:
        while True:
            await asyncio.sleep(self._settings.market_refresh)
            try:
                want(self._streams(await self._markets()))
            except (RestError, UsageError) as error:
                logger.warning(
                    "the list of markets could not be fetched; the last one stands", extra={"error": str(error)}
                )
