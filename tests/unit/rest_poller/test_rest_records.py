"""REST rows become records that their schemas hold, equal in every value, best levels first."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import DecimalDoesNotFit
from backpack_streams.exchange import rest_wire
from backpack_streams.rest_poller.records import (
    asset_row,
    funding_rate_row,
    is_crossed,
    mark_price_row,
    market_row,
    open_interest_row,
    snapshot_row,
    ticker_row,
)

RECEIVED_US = 1_800_000_000_000_000
CREATED_US = 1_700_000_000_000_001
CODEC = Codec()
fewer = settings(max_examples=25)
RECORDS = ("Market", "Asset", "Ticker", "MarkPrice", "OpenInterest", "FundingRate", "BookSnapshot")
ENCODERS = {name: CODEC.encoder(name, "t") for name in RECORDS}
prices = st.decimals(Decimal("0.000001"), 10**9, places=6).map(lambda number: format(number, "f"))
maybe_prices = st.none() | prices
symbols = st.sampled_from(["BTC_USDC_PERP", "AAPL.US_USDC_PERP", "kSHIB_USDC"])
maybe_ages = st.none() | st.integers(0, 3600)


def read(record: str, row: dict[str, Any]) -> dict[str, Any]:
    """The record as a consumer gets it."""
    name, values = CODEC.read(ENCODERS[record](row))
    assert name == record
    return values


def number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def assert_heading(
    values: dict[str, Any], symbol: str, event_us: int | None = None, engine_us: int | None = None
) -> None:
    assert (values["symbol"], values["source"], values["received_time"]) == (symbol, "REST", RECEIVED_US)
    assert (values["event_time"], values["engine_time"]) == (event_us, engine_us)


@fewer
@given(
    symbols,
    st.lists(maybe_prices, min_size=10, max_size=10),
    st.none() | st.integers(0, 10**8),
    st.none() | st.booleans(),
    maybe_ages,
)
def test_a_market(
    symbol: str, numbers: list[str | None], interval_ms: int | None, visible: bool | None, age: int | None
) -> None:
    market = rest_wire.Market(
        symbol,
        base="BTC",
        quote="USDC",
        market_type="SOMETHING_NEW",
        order_book_state="PostOnly",
        created_at_us=CREATED_US,
        visible=visible,
        tick_size=numbers[0],
        min_price=numbers[1],
        max_price=numbers[2],
        step_size=numbers[3],
        min_quantity=numbers[4],
        max_quantity=numbers[5],
        funding_interval_ms=interval_ms,
        funding_rate_upper_bound=numbers[6],
        funding_rate_lower_bound=numbers[7],
        open_interest_limit=numbers[8],
        rwa_market_type="STOCK",
        raw='{"symbol":1}',
    )
    values = read("Market", market_row(market, RECEIVED_US, age))
    assert_heading(values, symbol)
    names = ("tick_size", "minimum_price", "maximum_price", "step_size", "minimum_quantity", "maximum_quantity",
             "funding_rate_upper_bound", "funding_rate_lower_bound", "open_interest_limit")  # fmt: skip
    assert [values[name] for name in names] == [number(text) for text in numbers[:9]]
    assert (values["market_type"], values["order_book_state"], values["rwa_market_type"]) == (
        "SOMETHING_NEW",
        "PostOnly",
        "STOCK",
    )
    assert (values["base_symbol"], values["quote_symbol"], values["created_time"]) == (
        "BTC",
        "USDC",
        1_700_000_000_000_001,
    )
    assert (values["funding_interval_millis"], values["is_visible"], values["cache_age_seconds"]) == (
        interval_ms,
        visible,
        age,
    )
    assert values["raw"] == '{"symbol":1}'


@fewer
@given(
    st.lists(
        st.tuples(maybe_prices, maybe_prices, st.none() | st.booleans(), st.none() | st.integers(0, 30)), max_size=3
    ),
    maybe_ages,
)
def test_an_asset(tokens: list[tuple[str | None, str | None, bool | None, int | None]], age: int | None) -> None:
    wire = tuple(
        rest_wire.Token("Solana", None, "address", enabled, minimum, enabled, minimum, None, fee, places)
        for minimum, fee, enabled, places in tokens
    )
    values = read("Asset", asset_row(rest_wire.Asset("SOL", None, "solana", wire, "{}"), RECEIVED_US, age))
    assert_heading(values, "SOL")
    assert (values["display_name"], values["coingecko_id"], values["raw"]) == ("SOL", "solana", "{}")
    names = ("minimum_deposit", "withdrawal_fee", "deposit_enabled", "native_decimals")
    expected = [(number(minimum), number(fee), enabled, places) for minimum, fee, enabled, places in tokens]
    assert [tuple(token[name] for name in names) for token in values["tokens"]] == expected


@fewer
@given(symbols, st.lists(prices, min_size=6, max_size=6), maybe_prices, maybe_ages)
def test_a_ticker(symbol: str, numbers: list[str], percent: str | None, age: int | None) -> None:
    first, last, high, low, volume, quote_volume = numbers
    ticker = rest_wire.Ticker(
        symbol,
        first,
        last,
        high,
        low,
        volume,
        quote_volume,
        trades=77,
        price_change=f"-{first}",
        price_change_percent=percent,
    )
    values = read("Ticker", ticker_row(ticker, RECEIVED_US, age))
    assert_heading(values, symbol)
    names = ("first_price", "last_price", "high", "low", "base_volume", "quote_volume")
    assert [values[name] for name in names] == [Decimal(text) for text in numbers]
    assert (values["price_change"], values["price_change_percent"]) == (-Decimal(numbers[0]), number(percent))
    assert (values["trades"], values["cache_age_seconds"]) == (77, age)


@fewer
@given(symbols, prices, maybe_prices, st.none() | st.integers(0, 10**13))
def test_a_mark_price(symbol: str, price: str, index: str | None, next_ms: int | None) -> None:
    rate = "-0.0002438565367033305404731178"
    values = read("MarkPrice", mark_price_row(rest_wire.MarkPrice(symbol, price, index, rate, next_ms), RECEIVED_US, 3))
    assert_heading(values, symbol)
    assert (values["mark_price"], values["index_price"], values["funding_rate"]) == (
        Decimal(price),
        number(index),
        Decimal(rate),
    )
    assert values["next_funding_time"] == (None if next_ms is None else next_ms * 1000)


def test_a_mark_price_of_a_market_without_funding() -> None:
    values = read("MarkPrice", mark_price_row(rest_wire.MarkPrice("X", "1", None, None, None), RECEIVED_US, None))
    assert (
        values["index_price"],
        values["funding_rate"],
        values["next_funding_time"],
        values["cache_age_seconds"],
    ) == (None,) * 4


@fewer
@given(symbols, maybe_prices, st.integers(0, 10**13))
def test_open_interest_says_its_own_time(symbol: str, interest: str | None, at_ms: int) -> None:
    values = read("OpenInterest", open_interest_row(rest_wire.OpenInterest(symbol, interest, at_ms), RECEIVED_US, None))
    assert_heading(values, symbol, event_us=at_ms * 1000)
    assert values["open_interest"] == number(interest)


@fewer
@given(st.integers(-10, 10), st.none() | st.integers(0, 10))
def test_a_funding_rate_is_settled_once_its_interval_had_ended_when_the_exchange_answered(
    seconds: int, age: int | None
) -> None:
    end_us = RECEIVED_US + seconds * 1_000_000
    values = read("FundingRate", funding_rate_row(rest_wire.FundingRate("X", "0.0000125", end_us), RECEIVED_US, age))
    assert_heading(values, "X")
    assert (values["funding_rate"], values["interval_end_time"]) == (Decimal("0.0000125"), end_us)
    assert values["is_settled"] is (seconds <= -(age or 0))


# ---- books


def snapshot(bids: list[tuple[str, str]], asks: list[tuple[str, str]]) -> rest_wire.DepthSnapshot:
    return rest_wire.DepthSnapshot("X", tuple(bids), tuple(asks), 42, 1_700_000_000_000_000)


levels = st.lists(st.tuples(prices, prices), max_size=8, unique_by=lambda level: Decimal(level[0]))


@fewer
@given(levels, levels, st.integers(1, 10))
def test_a_book_has_its_best_levels_first_and_says_where_it_was_cut(
    bids: list[tuple[str, str]], asks: list[tuple[str, str]], limit: int
) -> None:
    values = read(
        "BookSnapshot", snapshot_row(snapshot(bids, asks), RECEIVED_US, limit, "backpack.market.depth", 3, 77)
    )
    assert_heading(values, "X", engine_us=1_700_000_000_000_000)
    for name, given_levels, descending in (("bids", bids, True), ("asks", asks, False)):
        expected = sorted(((Decimal(price), Decimal(size)) for price, size in given_levels), reverse=descending)
        assert [(level["price"], level["quantity"]) for level in values[name]] == expected
        assert values[f"{name}_complete"] is (len(given_levels) < limit)
    assert (values["delta_topic"], values["delta_partition"], values["delta_offset"]) == (
        "backpack.market.depth",
        3,
        77,
    )
    assert (values["last_update_id"], values["origin"], values["depth_limit"]) == (42, "SEED", limit)


@fewer
@given(levels, levels)
def test_a_book_is_crossed_when_its_best_bid_reaches_its_best_ask(
    bids: list[tuple[str, str]], asks: list[tuple[str, str]]
) -> None:
    crossed = bool(bids and asks) and max(Decimal(price) for price, _ in bids) >= min(
        Decimal(price) for price, _ in asks
    )
    assert is_crossed(snapshot(bids, asks)) is crossed


@pytest.mark.parametrize(
    ("bids", "asks", "crossed"),
    [(["9", "10"], ["10.0", "11"], True), (["9", "10"], ["9.5", "11"], True), (["9"], ["10"], False), (["9"], [], False), ([], [], False)],
)  # fmt: skip
def test_known_books(bids: list[str], asks: list[str], crossed: bool) -> None:
    assert is_crossed(snapshot([(price, "1") for price in bids], [(price, "1") for price in asks])) is crossed


@pytest.mark.parametrize("price", ["1" * 40, "0.0000000000000000001", "abc"])
def test_a_price_that_does_not_fit_is_refused(price: str) -> None:
    with pytest.raises(DecimalDoesNotFit):
        snapshot_row(snapshot([(price, "1")], []), RECEIVED_US, 5, "t", 0, 0)
    with pytest.raises(DecimalDoesNotFit):
        mark_price_row(rest_wire.MarkPrice("X", price, None, None, None), RECEIVED_US, None)
