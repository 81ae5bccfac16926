"""The streams of each kind of market, and so the subscriptions of a producer. Sans I/O."""

import re
from collections.abc import Iterable, Mapping, Sequence

from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.streams import BY_SYMBOL, StreamKind
from backpack_streams.feed.markets import CLOSED, ListedMarket, Selection, shard_of

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
    """Whether markets of this kind have streams of this channel."""
    return channel in CHANNELS_OF_KIND.get(market_type, _EVERY_MARKET)


def must_deliver(market_type: str, channel: str) -> bool:
    """Whether a stream that never delivers is faulty.

    The exchange answers an unknown stream with silence. Silence therefore proves nothing for channels that many markets lack, or for kinds
    of market that are not well known.
    """
    return market_type in _PROVEN_KINDS and channel not in _ONLY_SOME_HAVE


def expectation(channel: str, max_silence_seconds: float | None, must_deliver: bool) -> Expectation:
    """How long a stream may be silent before it is reported. A stream that need not exist is reported only once it has delivered."""
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
    """The streams to subscribe to, each with whether it must deliver (see `must_deliver`).

    Args:
        kinds: the kinds of stream the user asked for.
        markets: the exchange's markets, closed ones included.
        selection: the markets that this producer carries.
        all_in_one: channels with one stream for all markets. If that stream is wanted, the same channel by symbol would bring everything
            twice, so it is left out.
        securities: assets such as `AAPL.US` that have a stock price besides those of the markets.
    """
    listed = list(markets)
    carried = selection.carried(listed)
    for_all = {kind.channel for kind in kinds if kind.channel in all_in_one and kind.parameter != BY_SYMBOL}
    streams: dict[str, bool] = {}
    for kind in kinds:
        if kind.channel in for_all:
            streams[StreamKind(kind.channel).stream(None)] = True
        elif kind.channel == STOCK_PRICE:
            for ticker in stock_tickers(listed, selection, securities):
                streams[kind.stream(ticker)] = False
        else:
            for market in carried:
                if has_channel(market.market_type, kind.channel):
                    streams[kind.stream(market.symbol)] = must_deliver(market.market_type, kind.channel)
    return streams


def stock_tickers(markets: Iterable[ListedMarket], selection: Selection, securities: Iterable[str]) -> list[str]:
    """The tickers whose stock price is carried: of the chosen markets on stocks and, if all markets are chosen, of `securities`.

    A stock may have several markets, so tickers are assigned to shards by their own names.
    """
    assets = {
        market.base
        for market in markets
        if market.rwa_market_type == STOCK and market.state != CLOSED and selection.names(market.symbol)
    }
    if selection.symbols is None:
        assets.update(securities)
    tickers = {ticker_of(asset) for asset in assets if asset}
    return sorted(ticker for ticker in tickers if shard_of(ticker, selection.shard_count) == selection.shard_index)


def ticker_of(asset: str) -> str:
    """The ticker of a stock's asset: `AAPL` for `AAPL.US`, `BRK.B` for both `BRK.B.US` and `BRK.B`."""
    return _COUNTRY.sub("", asset) or asset
