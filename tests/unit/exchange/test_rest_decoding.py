"""Rows of REST answers: typed as on the wire, and a bad row loses no good one."""

import json
from contextlib import suppress
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from backpack_streams.exchange.rest_decoding import (
    BadRow,
    decode_depth,
    decode_rows,
    decode_time_ms,
    kline_reader,
    read_funding_rate,
    read_market,
    trade_reader,
)
from backpack_streams.exchange.rest_wire import (
    DepthSnapshot,
    FundingRate,
    Kline,
    Market,
    Trade,
)
from backpack_streams.exchange.wire_errors import UnreadableMessageError

# Slow tests do not fail.
unhurried = hypothesis_settings(deadline=None)

MARKET = (
    '{"symbol": "kSHIB_USDC_PERP","baseSymbol":"kSHIB","quoteSymbol":"USDC","marketType":"PERP",'
    '"filters":{"price":{"minPrice":"0.000001","maxPrice":null,"tickSize":1e-7,"meanMarkPriceBand":{"maxMultiplier":"1"}},'
    '"quantity":{"minQuantity":"1","stepSize":1}},'
    '"imfFunction":{"type":"sqrt","base":"0.02","factor":"0.00006"},"fundingInterval":"3600000",'
    '"fundingRateUpperBound":"100","fundingRateLowerBound":-100,"openInterestLimit":"4000000000",'
    '"orderBookState":"Dreaming","createdAt":"2025-01-21T06:34:54.691858","visible":true,"brandNew":{"a":[1.50]}}'
)


def test_a_market_keeps_its_rules_digits_and_raw_text() -> None:
    answer = decode_rows(f"[{MARKET}]".encode(), read_market)
    assert answer.rows == (
        Market(
            symbol="kSHIB_USDC_PERP",
            base="kSHIB",
            quote="USDC",
            market_type="PERP",
            order_book_state="Dreaming",
            created_at_us=1_737_441_294_691_858,
            visible=True,
            tick_size="0.0000001",
            min_price="0.000001",
            max_price=None,
            step_size="1",
            min_quantity="1",
            max_quantity=None,
            funding_interval_ms=3_600_000,
            funding_rate_upper_bound="100",
            funding_rate_lower_bound="-100",
            open_interest_limit="4000000000",
            rwa_market_type=None,
            raw=MARKET,
        ),
    )
    assert answer.bad_rows == ()
    assert answer.unknown_fields == {"brandNew": 1}


def test_a_market_with_little_more_than_a_name_is_valid() -> None:
    raw = b'[{"symbol":"AAPL.US_USDC_PERP","baseSymbol":"AAPL.US","quoteSymbol":"USDC","marketType":"EXOTIC",'
    raw += b'"orderBookState":"Closed","rwaMarketType":"STOCK","filters":null}]'
    (market,) = decode_rows(raw, read_market).rows
    assert (market.symbol, market.market_type, market.rwa_market_type) == ("AAPL.US_USDC_PERP", "EXOTIC", "STOCK")
    optional = (market.tick_size, market.created_at_us, market.visible, market.funding_interval_ms)
    assert optional == (None, None, None, None)


def test_bad_rows_are_set_apart_with_their_bytes_and_reason() -> None:
    no_symbol = MARKET.replace("symbol", "cymbal")
    bad_text = b'{"symbol":"\xff"}'
    body = b"[" + b", ".join([b'"nonsense"', no_symbol.encode(), MARKET.encode(), b"null", bad_text]) + b"]"
    answer = decode_rows(body, read_market)
    assert [market.symbol for market in answer.rows] == ["kSHIB_USDC_PERP"]
    assert [bad.raw for bad in answer.bad_rows] == [b'"nonsense"', no_symbol.encode(), b"null", bad_text]
    assert answer.bad_rows[0] == BadRow(b'"nonsense"', "not an object: 'nonsense'")
    assert answer.bad_rows[1].reason == "field `symbol` is missing"


@unhurried
@given(good=st.lists(st.booleans(), max_size=12))
def test_order_and_number_of_good_rows_do_not_depend_on_bad_ones(good: list[bool]) -> None:
    rows = [
        {"price": "1.5", "quantity": "1.50" if is_good else "many", "timestamp": str(number), "isBuyerMaker": True}
        for number, is_good in enumerate(good)
    ]
    answer = decode_rows(json.dumps(rows).encode(), trade_reader("A"))
    assert [row.timestamp_ms for row in answer.rows] == [number for number, is_good in enumerate(good) if is_good]
    assert len(answer.bad_rows) == good.count(False)


@pytest.mark.parametrize(
    "body", [b"", b"{}", b'{"code":"X"}', b"<html>", b"[1", b"[" * 100_000, b"null", b'"text"', b"[1,]", b"\xff"]
)
def test_a_body_that_is_not_an_array_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableMessageError):
        decode_rows(body, read_market)


@unhurried
@given(body=st.binary(max_size=60))
def test_no_body_raises_anything_but_an_unreadable_message(body: bytes) -> None:
    for decode in (lambda raw: decode_rows(raw, read_market), decode_time_ms, lambda raw: decode_depth(raw, "A")):
        with suppress(UnreadableMessageError):
            decode(body)


def test_a_depth_snapshot_keeps_wire_order_and_every_digit() -> None:
    body = b'{"asks":[["86700","1.0"],[86700.10,2]],"bids":[["1e-7","5"],["86699.9","0.50"]],'
    body += b'"lastUpdateId":"6730019258","timestamp":1790134357267074,"extra":1}'
    assert decode_depth(body, "BTC_USDC_PERP") == DepthSnapshot(
        symbol="BTC_USDC_PERP",
        bids=(("0.0000001", "5"), ("86699.9", "0.50")),
        asks=(("86700", "1.0"), ("86700.10", "2")),
        last_update_id=6_730_019_258,
        timestamp_us=1_790_134_357_267_074,
    )


levels = st.lists(
    st.tuples(st.decimals(0, 10**9, places=8), st.decimals(0, 10**9, places=5), st.booleans()), max_size=20
)


@unhurried
@given(sides=st.tuples(levels, levels))
def test_levels_equal_what_was_sent_as_text_or_number(
    sides: tuple[list[tuple[Decimal, Decimal, bool]], list[tuple[Decimal, Decimal, bool]]],
) -> None:
    def sent(side: list[tuple[Decimal, Decimal, bool]]) -> str:
        quote = {True: '"', False: ""}
        return ",".join(
            f"[{quote[is_text]}{price}{quote[is_text]},{quote[is_text]}{quantity}{quote[is_text]}]"
            for price, quantity, is_text in side
        )

    body = f'{{"bids":[{sent(sides[0])}],"asks":[{sent(sides[1])}],"lastUpdateId":1,"timestamp":"2"}}'
    depth = decode_depth(body.encode(), "X")
    for read, side in zip((depth.bids, depth.asks), sides, strict=True):
        assert [(Decimal(price), Decimal(quantity)) for price, quantity in read] == [level[:2] for level in side]


@pytest.mark.parametrize(
    "change",
    [
        {"bids": [["1"]]},
        {"bids": [["1", "x"]]},
        {"bids": [{"price": "1"}]},
        {"bids": None},
        {"asks": "none"},
        {"lastUpdateId": None},
        {"lastUpdateId": "1.5"},
        {"timestamp": ""},
    ],
)
def test_a_depth_snapshot_with_any_error_is_refused(change: dict[str, object]) -> None:
    good: dict[str, object] = {"bids": [["1", "1"]], "asks": [], "lastUpdateId": "7", "timestamp": 1}
    decode_depth(json.dumps(good).encode(), "X")
    with pytest.raises(UnreadableMessageError):
        decode_depth(json.dumps(good | change).encode(), "X")


def test_the_other_rows_are_read_as_the_wire_writes_them() -> None:
    funding = b'[{"symbol":"A","intervalEndTimestamp":"2025-07-19T14:00:00","fundingRate":"-0.000012500"}]'
    assert decode_rows(funding, read_funding_rate).rows == (FundingRate("A", "-0.000012500", 1_752_933_600_000_000),)
    kline = b'[{"start":"2025-07-19 13:12:00","end":"2025-07-19 13:13:00","open":null,"high":null,"low":null,'
    kline += b'"close":null,"volume":"0","quoteVolume":"0","trades":"0"}]'
    assert decode_rows(kline, kline_reader("A", "1m")).rows == (
        Kline("A", "1m", 1_752_930_720_000_000, 1_752_930_780_000_000, None, None, None, None, "0", "0", 0),
    )
    trades = b'[{"id":"9","price":"1.5","quantity":"2","quoteQuantity":"3.0","timestamp":5,"isBuyerMaker":true},'
    trades += b'{"price":"1.5","quantity":"2","timestamp":6,"isBuyerMaker":false}]'
    assert decode_rows(trades, trade_reader("A")).rows == (
        Trade("A", 9, "1.5", "2", "3.0", 5, True),
        Trade("A", None, "1.5", "2", None, 6, False),
    )


def test_the_time_is_a_whole_number() -> None:
    assert decode_time_ms(b" 1752930720123\n") == 1_752_930_720_123
    with pytest.raises(UnreadableMessageError):
        decode_time_ms(b"soon")
