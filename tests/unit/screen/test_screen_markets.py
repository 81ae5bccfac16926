from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.status import Status
from backpack_streams.screen.lines import Tone, plain_text, width
from backpack_streams.screen.market_rows import ORDERS, MarketRow, Order, arranged, market_rows, matching
from backpack_streams.screen.market_table import columns_that_fit, market_table
from shown_plant import SYMBOLS, ShownPlant


def row(symbol: str, status: str = "LIVE", **figures: Decimal | None) -> MarketRow:
    names = ("price", "change", "volume", "quote_volume", "mark_price", "funding_rate", "open_interest")
    values = dict.fromkeys(names) | figures
    return MarketRow(symbol, "PERP", **values, bid=None, ask=None, status=status, reason="", as_of=None, age_ms=None)


figures = st.none() | st.decimals(-1000, 1000, places=3)
rows_of_any_kind = st.lists(
    st.builds(
        row,
        st.text("ABCabc_", min_size=1, max_size=8),
        st.sampled_from(["LIVE", "STALE", "SYNCING", "CLOSED", ""]),
        price=figures,
        change=figures,
        quote_volume=figures,
        mark_price=figures,
        funding_rate=figures,
        open_interest=figures,
    ),
    max_size=12,
)


# ---- rows


def test_a_row_holds_the_exact_values_of_the_records() -> None:
    plant = ShownPlant()
    [btc] = [row for row in market_rows(plant.data) if row.symbol == "BTC_USDC_PERP"]
    assert (btc.price, btc.change, btc.quote_volume) == (Decimal(101), Decimal("0.01"), Decimal("1E+6"))
    assert (btc.funding_rate, btc.open_interest, btc.interest_value) == (Decimal("0.000001"), 2, 200)
    assert (btc.bid, btc.ask) == (("99", "1"), ("101", "2"))
    assert (btc.status, btc.reason, btc.is_live) == ("LIVE", "", True)
    assert btc.age_ms is not None
    assert btc.age_ms < 60_000


def test_a_market_without_data_has_a_row_too() -> None:
    plant = ShownPlant(())
    plant.list_markets({"NEW_USDC": "SPOT", "SOL_USDC_RFQ": "RFQ"})
    new, rfq = market_rows(plant.data)
    assert (new.price, new.interest_value, new.bid) == (None, None, None)
    assert (new.status, new.reason) == ("SYNCING", "Kafka has no snapshot of this book yet")
    assert (rfq.status, rfq.reason) == ("", ""), "prices are asked for, so there is no book"


def test_a_market_closed_before_its_book_was_kept_is_closed() -> None:
    plant = ShownPlant(())
    plant.list_markets({"OLD_USDC": "SPOT"}, "Closed")
    [old] = market_rows(plant.data)
    assert (old.status, old.reason) == ("CLOSED", "the market list says Closed")
    assert plant.view().expected_books == 0


def symbols(rows: list[MarketRow]) -> list[str]:
    return [row.symbol for row in rows]


def test_figures_are_sorted_from_the_largest_and_names_from_a() -> None:
    rows = market_rows(ShownPlant().data)
    by_name = ["AAPL.US_USDC_PERP", "BTC_USDC_PERP", "ETH_USDC_PERP", "kSHIB_USDC_PERP", "SOL_USDC"]
    assert symbols(arranged(rows, "volume")) == list(reversed(SYMBOLS))
    assert symbols(arranged(rows, "symbol")) == by_name
    assert symbols(arranged(rows, "symbol", is_reversed=True)) == by_name[::-1]
    assert symbols(arranged(rows, "interest"))[-1] == "SOL_USDC", "what has no figure comes last"
    assert symbols(arranged(rows, "interest", is_reversed=True))[-1] == "SOL_USDC"


def test_books_that_need_attention_come_first() -> None:
    rows = [row("A"), row("B", "CLOSED"), row("C", "STALE"), row("D", ""), row("E", "SYNCING"), row("F", "STALE")]
    assert symbols(arranged(rows, "book")) == ["C", "F", "E", "A", "B", "D"]


@given(rows_of_any_kind, st.sampled_from(ORDERS), st.booleans())
def test_no_order_loses_a_row(rows: list[MarketRow], order: Order, is_reversed: bool) -> None:
    ordered = arranged(rows, order, is_reversed=is_reversed)
    assert sorted(map(id, ordered)) == sorted(map(id, rows))
    assert symbols(arranged(ordered, order, is_reversed=is_reversed)) == symbols(ordered)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("", 5),
        ("perp", 4),
        ("USDC perp", 4),
        ("btc-perp", 1),
        ("shib", 1),
        ("SOL/usdc", 1),
        ("doge", 0),
        ("aapl.us", 1),
    ],
)
def test_a_search_finds_words_in_any_case(words: str, found: int) -> None:
    assert len(matching(market_rows(ShownPlant().data), words)) == found


# ---- the table


def table(rows: list[MarketRow], columns: int) -> list[str]:
    return [plain_text(each) for each in market_table(rows, columns)]


def test_a_wide_table_has_every_column() -> None:
    rows = [each for each in market_rows(ShownPlant().data) if each.symbol == "BTC_USDC_PERP"]
    heading, btc = table(rows, 120)
    assert heading == "market         bid  ask  price    24 h  volume   funding  interest  book"
    assert btc.startswith("BTC_USDC_PERP   99  101    101  +1.00%   1.00M  +0.0001%       200  LIVE  ")


def test_a_narrow_table_keeps_the_market_and_its_book() -> None:
    plant = ShownPlant()
    plant.break_book("SOL_USDC")
    lines = table(market_rows(plant.data), 34)
    assert lines[0] == "market             book"
    assert "SOL_USDC           STALE  update …" in lines


def test_a_book_that_is_not_live_is_dimmed() -> None:
    plant = ShownPlant()
    plant.break_book("SOL_USDC")
    _, stale, live = market_table(arranged(plant.view().rows, "book")[:2], 120)
    assert plain_text(stale).endswith("STALE  update 15 does not follow 10")
    assert stale[0].tone is Tone.DIM
    assert {part.tone for part in stale if part.text == Status.STALE.value} == {Tone.BAD}
    assert live[0].tone is Tone.PLAIN


@given(st.lists(st.integers(1, 30), max_size=7), st.integers(-20, 150))
def test_no_column_displaces_a_more_important_one(widths: list[int], room: int) -> None:
    named = [(str(place), wide) for place, wide in enumerate(widths)]
    shown = columns_that_fit(named, room)
    assert shown == {str(place) for place in range(len(shown))}
    assert sum(wide + 2 for name, wide in named if name in shown) <= max(0, room)


@given(rows_of_any_kind, st.integers(0, 200))
def test_no_line_is_wider_than_the_terminal(rows: list[MarketRow], columns: int) -> None:
    lines = market_table(rows, columns)
    assert len(lines) == len(rows) + 1
    assert max(map(width, lines)) <= columns
