"""The streams of each kind of market, and so the subscriptions of a producer. Sans I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence

from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.streams import BY_SYMBOL, StreamKind
from backpack_streams.markets.selection import CLOSED, ListedMarket, Selection

FIRST_DELIVERY_SECONDS = 60.0
STOCK_PRICE = "stockPrice"
STOCK = "STOCK"
"""The `rwaMarketType` of markets on stocks."""

_EVERY_MARKET = frozenset({"depth", "bookTicker", "trade", "ticker", "kline", "externalTicker"})
_FUTURE = _EVERY_MARKET | {"markPrice", "openInterest", "liquidation"}

CHANNELS_OF_KIND: Mapping[str, frozenset[str]] = {
    "SPOT": _EVERY_MARKET,
    "PERP": _FUTURE,
    "IPERP": _FUTURE,
    "DATED": _FUTURE,
    "PREDICTION": _EVERY_MARKET | {"markPrice"},
    "RFQ": frozenset({"trade", "ticker", "kline"}),  # prices are asked for, so there is no book
}
"""Channels by kind of market. An unknown kind counts as having the channels that every market has."""

_PROVEN_KINDS = frozenset({"SPOT", "PERP", "IPERP", "DATED"})
_ONLY_SOME_HAVE = frozenset({"externalTicker", STOCK_PRICE})
_COUNTRY = re.compile(r"\.[A-Z]{2}\Z")


def has_channel(market_type: str, channel: str) -> bool:
    """Return whether markets of this kind have streams of this channel.

    Args:
        market_type: the kind, such as `PERP`. An unknown one has the channels that every market has.
        channel: the exchange's name of the channel, such as `markPrice`.
    """
    return channel in CHANNELS_OF_KIND.get(market_type, _EVERY_MARKET)


def must_deliver(market_type: str, channel: str) -> bool:
    """Return whether a stream that never delivers is faulty.

    The exchange answers an unknown stream with silence. Silence therefore proves nothing for channels that many markets
    lack, or for kinds of market that are not well known.

    Args:
        market_type: the kind of market, such as `PERP`.
        channel: the exchange's name of the channel.
    """
    return market_type in _PROVEN_KINDS and channel not in _ONLY_SOME_HAVE


def expectation(channel: str, max_silence_seconds: float | None, must_deliver: bool) -> Expectation:
    """Return how long a stream may be silent before it is reported.

    Args:
        channel: the channel of the stream. A `depth` stream has to deliver within 60 s, although it has no fixed
            interval.
        max_silence_seconds: longest pause between two messages; None for a channel without a fixed interval.
        must_deliver: False for a stream that need not exist: it is reported only once it has delivered.
    """
    if not must_deliver:
        return Expectation(max_silence_seconds=max_silence_seconds)
    if max_silence_seconds is not None:
        first_delivery = max(max_silence_seconds, FIRST_DELIVERY_SECONDS)
        return Expectation(max_silence_seconds=max_silence_seconds, first_delivery_seconds=first_delivery)
    return Expectation(first_delivery_seconds=FIRST_DELIVERY_SECONDS if channel == "depth" else None)


def streams_for(
    kinds: Sequence[StreamKind],
    markets: Iterable[ListedMarket],
    selection: Selection,
    all_in_one: frozenset[str],
    securities: Iterable[str] = (),
) -> dict[str, bool]:
    """Return the streams to subscribe to, each with whether it must deliver (see `must_deliver`).

    Args:
        kinds: the kinds of stream the user asked for.
        markets: the exchange's markets, closed ones included.
        selection: the markets that this producer carries.
        all_in_one: channels with one stream for all markets, whatever symbols are chosen. If that stream is wanted, the same channel by
            symbol would bring everything twice, so it is left out.
        securities: assets such as `AAPL.US` that have a stock price besides those of the markets.
    """
    listed = list(markets)
    carried = selection.carried(listed)
    for_all = {kind.channel for kind in kinds if kind.channel in all_in_one and kind.parameter != BY_SYMBOL}
    streams: dict[str, bool] = {}
    for kind in kinds:
        if kind.channel in for_all:
            stream = StreamKind(kind.channel).stream(None)
            if selection.has(stream):  # who covers a stream publishes all of it, so it has one shard, as a symbol has
                streams[stream] = True
        elif kind.channel == STOCK_PRICE:
            for ticker in stock_tickers(listed, selection, securities):
                streams[kind.stream(ticker)] = False
        else:
            for market in carried:
                if has_channel(market.market_type, kind.channel):
                    streams[kind.stream(market.symbol)] = must_deliver(market.market_type, kind.channel)
    return streams


def stock_tickers(markets: Iterable[ListedMarket], selection: Selection, securities: Iterable[str]) -> list[str]:
    """Return the tickers whose stock price is carried, sorted.

    A stock may have several markets, so tickers are assigned to shards by their own names.

    Args:
        markets: the exchange's markets; those on stocks count that are open and chosen.
        selection: the chosen markets, and the shard.
        securities: further assets, such as `AAPL.US`; they count only if all markets are chosen.
    """
    assets = {
        market.base
        for market in markets
        if market.rwa_market_type == STOCK and market.state != CLOSED and selection.names(market.symbol)
    }
    if selection.symbols is None:
        assets.update(securities)
    tickers = {ticker_of(asset) for asset in assets if asset}
    return sorted(ticker for ticker in tickers if selection.has(ticker))


def ticker_of(asset: str) -> str:
    """Return the ticker of a stock's asset: `AAPL` for `AAPL.US`, `BRK.B` for both `BRK.B.US` and `BRK.B`.

    Args:
        asset: the asset's name; a two-letter country at its end is cut off.
    """
    return _COUNTRY.sub("", asset) or asset
