"""Which streams are subscribed, by kind of market, user settings and shard; and which of them are reported when silent."""

from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.exchange.session_settings import SessionSettings
from backpack_streams.exchange.silence import FellSilent, SilenceWatch
from backpack_streams.exchange.streams import StreamKind, parse_kind, parse_kinds, split_stream
from backpack_streams.markets.market_streams import (
    CHANNELS_OF_KIND,
    expectation,
    has_channel,
    must_deliver,
    stock_tickers,
    streams_for,
    ticker_of,
)
from backpack_streams.markets.selection import ListedMarket, Selection, shard_of
from unit.feed.recorded_queues import STREAM_SPECS

EVERYTHING = Selection(None)
IN_ONE = frozenset({"liquidation"})
KINDS_OF_MARKET = ["SPOT", "PERP", "IPERP", "DATED", "PREDICTION", "RFQ"]
MARKETS = [ListedMarket(f"A.B_{kind}", kind, "Open") for kind in [*KINDS_OF_MARKET, "A_NEW_KIND"]]
APPLE = [
    ListedMarket("AAPL.US_USDC", "SPOT", "Open", "AAPL.US", "STOCK"),
    ListedMarket("AAPL.US_USDC_PERP", "PERP", "Open", "AAPL.US", "STOCK"),
    ListedMarket("SPX_USDC_PERP", "PERP", "Open", "SPX", "INDEX"),
    ListedMarket("OLD.US_USDC", "SPOT", "Closed", "OLD.US", "STOCK"),
    ListedMarket("SOL_USDC", "SPOT", "Open", "SOL"),
]
every_channel = [
    "depth", "depth.200ms", "bookTicker", "trade", "ticker", "kline.1m", "externalTicker", "markPrice", "openInterest",
    "liquidation.symbol",
]  # fmt: skip


def names(kinds: list[str], markets: list[ListedMarket], *, selection: Selection = EVERYTHING) -> list[str]:
    return list(streams_for([parse_kind(kind) for kind in kinds], markets, selection, IN_ONE))


# ---- kinds of market


@pytest.mark.parametrize(
    ("market_type", "channels"),
    [
        ("SPOT", "depth bookTicker trade ticker kline externalTicker"),
        ("PERP", "depth bookTicker trade ticker kline externalTicker markPrice openInterest liquidation"),
        ("IPERP", "depth bookTicker trade ticker kline externalTicker markPrice openInterest liquidation"),
        ("DATED", "depth bookTicker trade ticker kline externalTicker markPrice openInterest liquidation"),
        ("PREDICTION", "depth bookTicker trade ticker kline externalTicker markPrice"),
        ("RFQ", "trade ticker kline"),
        ("A_NEW_KIND", "depth bookTicker trade ticker kline externalTicker"),
    ],
)
def test_a_market_has_the_streams_of_its_kind(market_type: str, channels: str) -> None:
    market = ListedMarket("A.B", market_type, "Open")
    found = {split_stream(name)[0].channel for name in names(every_channel, [market])}
    assert found == set(channels.split())
    assert all(has_channel(market_type, channel) for channel in found)


def test_the_table_has_every_channel_of_every_stream_spec() -> None:
    public = {spec.channel for spec in STREAM_SPECS if not spec.channel.startswith("account.")}
    assert set().union(*CHANNELS_OF_KIND.values()) == public - {"stockPrice"}
    assert set(CHANNELS_OF_KIND) == set(KINDS_OF_MARKET)


def test_streams_are_one_for_each_market_or_one_for_all() -> None:
    markets = [ListedMarket("C", "PERP", "Open"), ListedMarket("A.B", "PERP", "Open")]
    assert names(["depth.200ms", "liquidation", "kline.1m"], markets) == [
        "depth.200ms.A.B", "depth.200ms.C", "liquidation", "kline.1m.A.B", "kline.1m.C",
    ]  # fmt: skip
    assert names(["liquidation"], []) == ["liquidation"]
    assert names(["liquidation.symbol"], markets) == ["liquidation.A.B", "liquidation.C"]


@pytest.mark.parametrize("kinds", list(permutations(["liquidation", "liquidation.symbol"])))
def test_liquidations_requested_both_ways_come_once(kinds: tuple[str, ...]) -> None:
    assert names(list(kinds), [ListedMarket("A", "PERP", "Open")]) == ["liquidation"]


@given(
    st.lists(st.sampled_from(["BTC_USDC", "AAPL.US_USDC_PERP", "1m.X"]), unique=True),
    st.sampled_from(["trade", "kline.1m", "depth"]),
)
def test_each_stream_names_its_market(symbols: list[str], kind: str) -> None:
    streams = names([kind], [ListedMarket(symbol, "SPOT", "Open") for symbol in symbols])
    assert [split_stream(stream) for stream in streams] == [(parse_kind(kind), symbol) for symbol in sorted(symbols)]


@given(st.permutations(MARKETS), st.integers(1, 5), st.sets(st.sampled_from([*every_channel, "liquidation"])))
def test_shards_share_the_streams_of_one_producer(markets: list[ListedMarket], shards: int, kinds: set[str]) -> None:
    together = [
        name
        for shard in range(shards)
        for name in names(sorted(kinds), markets, selection=Selection(None, shard, shards))
    ]
    assert sorted(together) == sorted(names(sorted(kinds), MARKETS))


def test_the_stream_of_all_markets_has_one_shard_whatever_the_symbols_are() -> None:
    """Each of two shards would vouch for all of its messages, so neither could tell what the other one lost."""
    for symbols in (None, frozenset({"A.B_SPOT"})):
        having = [
            shard for shard in range(4) if names(["liquidation"], MARKETS, selection=Selection(symbols, shard, 4))
        ]
        assert having == [shard_of("liquidation", 4)]


# ---- which streams are reported when silent


@pytest.mark.parametrize("market_type", ["SPOT", "PERP", "IPERP", "DATED"])
def test_channels_that_every_such_market_has_must_deliver(market_type: str) -> None:
    assert must_deliver(market_type, "ticker")
    assert must_deliver(market_type, "depth")


@pytest.mark.parametrize(
    ("market_type", "channel"),
    [
        ("SPOT", "externalTicker"),
        ("PERP", "externalTicker"),
        ("RFQ", "ticker"),
        ("A_NEW_KIND", "depth"),
        ("PREDICTION", "ticker"),
    ],
)
def test_channels_that_a_market_may_lack_are_not_missed(market_type: str, channel: str) -> None:
    assert not must_deliver(market_type, channel)
    market = ListedMarket("A", market_type, "Open")
    assert streams_for([parse_kind(channel)], [market], Selection(None), IN_ONE) == {f"{channel}.A": False}


def fell_silent(channel: str, must: bool, now: float, seen_at: float | None) -> bool:
    """Whether a stream subscribed at 0 and last seen at `seen_at` is reported at `now`."""
    [spec] = [each for each in STREAM_SPECS if each.channel == channel]
    wanted = {channel: expectation(channel, spec.max_silence_seconds, must)}
    watch, active_since = SilenceWatch(SessionSettings()), {channel: 0.0}
    watch.add(channel)
    deliveries = {} if seen_at is None else {channel: 1}
    if seen_at is not None:
        watch.check(seen_at, wanted, deliveries, active_since, 0.0, lambda _: True)
    changes = watch.check(now, wanted, deliveries, active_since, 0.0, lambda _: True)
    return any(isinstance(change, FellSilent) for change in changes)


@pytest.mark.parametrize("channel", ["depth", "ticker", "externalTicker", "stockPrice", "trade", "kline"])
def test_an_optional_stream_may_never_deliver(channel: str) -> None:
    assert not fell_silent(channel, False, 1e6, None)


@pytest.mark.parametrize("channel", ["depth", "ticker", "markPrice"])
def test_a_stream_that_must_deliver_and_never_does_is_reported(channel: str) -> None:
    assert fell_silent(channel, True, 61, None)
    assert not fell_silent(channel, True, 59, None)


@pytest.mark.parametrize("must", [True, False])
def test_a_periodic_stream_that_stops_is_reported_but_a_pausing_provider_is_not(must: bool) -> None:
    assert fell_silent("ticker", must, 100, 50)
    assert not fell_silent("ticker", must, 100, 99)
    assert not fell_silent("externalTicker", must, 1e6, 50)
    assert not fell_silent("stockPrice", must, 1e6, 50)


# ---- stocks


def test_stock_prices_are_those_of_stock_markets_and_securities() -> None:
    assert stock_tickers(APPLE, Selection(None), []) == ["AAPL"]
    assert stock_tickers(APPLE, Selection(None), ["BRK.B.US", "AAPL.US", "NVDA.US"]) == ["AAPL", "BRK.B", "NVDA"]
    assert streams_for([StreamKind("stockPrice")], APPLE, Selection(None), IN_ONE, ["BRK.B.US"]) == {
        "stockPrice.AAPL": False,
        "stockPrice.BRK.B": False,
    }


def test_for_named_markets_only_their_stock_prices_are_subscribed() -> None:
    assert stock_tickers(APPLE, Selection(frozenset({"AAPL.US_USDC_PERP"})), ["BRK.B.US"]) == ["AAPL"]
    assert stock_tickers(APPLE, Selection(frozenset({"SOL_USDC"})), ["BRK.B.US"]) == []


@given(st.integers(1, 8), st.lists(st.from_regex(r"[A-Z]{1,5}\.US", fullmatch=True), max_size=20))
def test_each_ticker_belongs_to_one_shard_however_many_markets_it_has(shards: int, assets: list[str]) -> None:
    shares = [stock_tickers(APPLE, Selection(None, shard, shards), assets) for shard in range(shards)]
    together = [ticker for share in shares for ticker in share]
    assert sorted(together) == sorted({"AAPL", *(asset.removesuffix(".US") for asset in assets)})


@pytest.mark.parametrize(
    ("asset", "ticker"),
    [
        ("AAPL.US", "AAPL"),
        ("BRK.B.US", "BRK.B"),
        ("BRK.B", "BRK.B"),
        ("AAPL", "AAPL"),
        ("SAP.DE", "SAP"),
        (".US", ".US"),
        ("kX.US", "kX"),
    ],
)
def test_a_ticker_is_its_asset_without_the_country(asset: str, ticker: str) -> None:
    assert ticker_of(asset) == ticker


# ---- user input


def test_intervals_may_be_given_singly_joined_or_as_all() -> None:
    assert [str(kind) for kind in parse_kinds("kline.1m+1month+1m")] == ["kline.1m", "kline.1month"]
    assert len(parse_kinds("kline.all")) == 16
    assert parse_kinds("depth.200ms") == [parse_kind("depth.200ms")]
