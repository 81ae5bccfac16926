"""Which markets a reader of books selects."""

import pytest

from backpack_streams.books.listing import Listing
from backpack_streams.books.selection import Selection
from backpack_streams.errors import UsageError

MARKETS = {"BTC_USDC_PERP": "PERP", "BTC_USDC": "SPOT", "SOL_USDC_PERP": "PERP", "AAPL.US_USDC_PERP": "IPERP"}


def chosen(selection: Selection) -> set[str]:
    return {symbol for symbol, kind in MARKETS.items() if selection.wants(symbol, kind)}


@pytest.mark.parametrize(
    ("symbols", "kinds", "expected"),
    [
        (None, None, set(MARKETS)),
        ("BTC_USDC", None, {"BTC_USDC"}),
        (["BTC*"], None, {"BTC_USDC", "BTC_USDC_PERP"}),
        (["*_PERP"], ["perp"], {"BTC_USDC_PERP", "SOL_USDC_PERP"}),
        (["kind:spot", "SOL_USDC_PERP"], None, {"BTC_USDC", "SOL_USDC_PERP"}),
        (None, "IPERP", {"AAPL.US_USDC_PERP"}),
        (["AAPL.US*"], None, {"AAPL.US_USDC_PERP"}),
        (["AAPL?US*"], ["SPOT"], set()),
    ],
)
def test_names_patterns_and_kinds_select_markets(
    symbols: str | list[str] | None, kinds: str | None, expected: set[str]
) -> None:
    assert chosen(Selection(symbols, kinds)) == expected


def test_only_names_determine_partitions() -> None:
    assert Selection(["BTC_USDC", "SOL_USDC"]).keys == {b"BTC_USDC", b"SOL_USDC"}
    assert Selection(["BTC_USDC", "SOL*"]).keys is None
    assert Selection(["BTC_USDC"], "PERP").keys is None
    assert Selection().keys is None


def test_a_market_of_unknown_kind_matches_no_kind() -> None:
    assert not Selection("kind:PERP").wants("NEW_USDC_PERP", None)
    assert Selection("NEW*").wants("NEW_USDC_PERP", None)
    assert not Selection("NEW*", "PERP").wants("NEW_USDC_PERP", None)


@pytest.mark.parametrize(("symbols", "kinds"), [([], None), ([""], None), ("kind:", None), (None, []), ("A", [""])])
def test_an_empty_selection_is_refused(symbols: str | list[str] | None, kinds: list[str] | None) -> None:
    with pytest.raises(UsageError):
        Selection(symbols, kinds)


def row(state: str = "Open", kind: str = "PERP") -> dict[str, str]:
    return {"order_book_state": state, "market_type": kind}


def test_the_market_list_says_what_is_closed_and_since_when() -> None:
    listing = Listing()
    assert listing.take("A", row(), 1).why_closed == ""
    assert "Closed" in listing.take("A", row("Closed"), 2).why_closed
    delisted = listing.take("A", None, 3_000_000)
    assert delisted.since_us == 2, "it was closed before it was delisted"
    assert delisted.kind == "PERP"
    assert "1970-01-01 00:00:03.000Z" in delisted.why_closed
    assert listing.take("A", row(), 4) == ("A", "PERP", "", 4)
    assert listing.take("A", row("PostOnly"), 5).since_us == 4
    with pytest.raises(KeyError):
        listing.take("B", {}, 6)
    assert listing.get("B") is None
