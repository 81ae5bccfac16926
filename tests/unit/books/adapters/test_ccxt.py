"""Against ccxt itself: the same keys and order as its order books, and the same market names."""

from decimal import Decimal

import pytest
from recorded_markets import Follower, recorded_records

from backpack_streams.books.adapters.ccxt import order_book, unified_symbol
from backpack_streams.books.market_book import MarketBook
from backpack_streams.errors import BookError

SYMBOL = "LINK_USDC_PERP"


@pytest.fixture
def market() -> MarketBook:
    follower = Follower(SYMBOL)
    for record in recorded_records(SYMBOL):
        follower.take(record)
    return follower.market


def test_the_keys_and_floats_match_ccxt(market: MarketBook) -> None:
    ccxt = pytest.importorskip("ccxt", reason="ccxt is not installed")
    bids, asks = market.book.to_lines()
    raw = {"bids": bids[::-1], "asks": asks}
    theirs = ccxt.backpack().parse_order_book(raw, unified_symbol(SYMBOL), (market.engine_time or 0) // 1000)
    theirs["nonce"] = market.last_update_id
    assert order_book(market, number=float) == theirs


def test_symbols_are_named_as_in_ccxt() -> None:
    ccxt = pytest.importorskip("ccxt", reason="ccxt is not installed")
    exchange = ccxt.backpack()
    for symbol, kind in (("SOL_USDC", "SPOT"), ("BTC_USDC_PERP", "PERP"), ("kSHIB_USDC_PERP", "PERP")):
        base, quote = symbol.split("_")[:2]
        filters = {"price": {"tickSize": "0.01"}, "quantity": {"stepSize": "0.01"}}
        theirs = exchange.parse_market(
            {"symbol": symbol, "baseSymbol": base, "quoteSymbol": quote, "marketType": kind, "filters": filters}
        )
        assert unified_symbol(symbol) == theirs["symbol"]


@pytest.mark.parametrize(
    ("symbol", "name"),
    [
        ("AAPL.US_USDC_PERP", "AAPL.US/USDC:USDC"),
        ("BTC_USDC_270326", "BTC_USDC_270326"),
        ("SOLO", "SOLO"),
        ("A_B_C_PERP", "A_B_C_PERP"),
    ],
)
def test_other_symbols_are_derived_from_their_parts(symbol: str, name: str) -> None:
    assert unified_symbol(symbol) == name


def test_numbers_are_exact_unless_floats_are_requested(market: MarketBook) -> None:
    book = order_book(market, limit=2)
    assert len(book["bids"]) == len(book["asks"]) == 2
    assert book["bids"][0] == list(market.book.best_bid())
    assert isinstance(book["bids"][0][0], Decimal)
    assert book["datetime"].endswith("Z")


def test_a_book_that_is_not_live_is_an_error() -> None:
    with pytest.raises(BookError, match=r"LINK_USDC_PERP is SYNCING \(no snapshot yet\)"):
        order_book(MarketBook(SYMBOL))
