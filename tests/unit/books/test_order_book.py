from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.order_book import Coverage, Fill, Level, OrderBook, Side
from backpack_streams.books.units import exact_decimal, to_units
from backpack_streams.errors import BookError

Written = Iterable[tuple[str, str]]


def units(levels: Written) -> list[tuple[int, int]]:
    return [(to_units(price), to_units(quantity)) for price, quantity in levels]


def book_of(bids: Written, asks: Written, *, bids_complete: bool = True, asks_complete: bool = True) -> OrderBook:
    book = OrderBook()
    book.load(units(bids), units(asks), bids_complete, asks_complete)
    return book


BIDS = [("99", "2"), ("100", "1"), ("98.5", "4")]
ASKS = [("101.0", "3"), ("103", "1.50"), ("102", "0.00123")]


def test_a_snapshot_in_any_order_is_read_best_first() -> None:
    book = book_of(BIDS, ASKS)
    assert book.best_bid() == Level(Decimal(100), Decimal(1))
    assert book.best_ask() == Level(Decimal(101), Decimal(3))
    assert (book.spread(), book.mid()) == (Decimal(1), Decimal("100.5"))
    assert book.to_lines() == (
        [("100", "1"), ("99", "2"), ("98.5", "4")],
        [("101", "3"), ("102", "0.00123"), ("103", "1.5")],
    )
    assert book.to_lines(1) == ([("100", "1")], [("101", "3")])
    assert book.depth(2)[0] == [Level(Decimal(100), Decimal(1)), Level(Decimal(99), Decimal(2))]
    assert (book.best_bid_units, book.best_ask_units) == (to_units(100), to_units(101))
    assert len(book) == 6


def test_an_empty_book_has_no_touch() -> None:
    book = OrderBook()
    assert (book.best_bid(), book.best_ask(), book.spread(), book.mid()) == (None, None, None, None)
    assert (len(book), book.is_crossed, book.is_exhausted) == (0, False, False)
    assert book.apply([], [])


def test_updates_set_and_delete_levels_and_ignore_unknown_deletes() -> None:
    book = book_of(BIDS, ASKS)
    assert book.apply(units([("100.0", "0.000"), ("97", "0"), ("99.00", "7")]), units([("100.5", "1"), ("103", "0")]))
    assert book.to_lines() == (
        [("99", "7"), ("98.5", "4")],
        [("100.5", "1"), ("101", "3"), ("102", "0.00123")],
    )


def test_a_negative_quantity_is_an_error_in_updates_and_snapshots() -> None:
    book = book_of(BIDS, ASKS)
    with pytest.raises(BookError, match="bid at 99 has the negative quantity -1"):
        book.apply(units([("99", "-1")]), [])
    with pytest.raises(BookError, match="ask at 103"):
        book.load([], units([("103", "-2")]))
    assert book == book_of(BIDS, ASKS)


@pytest.mark.parametrize(
    ("bids", "asks"),
    [([("101", "1")], ASKS), ([("101.5", "1")], ASKS), ([("99", "1"), ("99.0", "2")], ASKS)],
    ids=["locked", "crossed", "twice"],
)
def test_a_bad_snapshot_leaves_the_book_unchanged(bids: Written, asks: Written) -> None:
    book = book_of(BIDS, ASKS)
    with pytest.raises(BookError):
        book.load(units(bids), units(asks))
    assert book == book_of(BIDS, ASKS)


def test_a_truncated_side_without_levels_is_refused() -> None:
    with pytest.raises(BookError, match="truncated"):
        book_of([], ASKS, bids_complete=False)
    with pytest.raises(BookError, match="truncated"):
        book_of(BIDS, [("103", "0")], asks_complete=False)


@pytest.mark.parametrize("price", ["101", "101.5"])
def test_apply_reports_a_crossed_book(price: str) -> None:
    book = book_of(BIDS, ASKS)
    assert not book.apply(units([(price, "1")]), [])
    assert book.is_crossed
    assert book.apply(units([(price, "0")]), [])
    assert not book.is_crossed


def test_apply_reports_an_exhausted_truncated_side() -> None:
    bids, asks = units([("100", "0")]), units([("101", "0")])
    truncated_bids = book_of([("100", "1")], [("101", "1")], bids_complete=False)
    truncated_asks = book_of([("100", "1")], [("101", "1")], asks_complete=False)
    assert truncated_bids.apply(units([("99", "5")]), asks)
    assert not truncated_bids.apply(bids, [])
    assert truncated_bids.is_exhausted
    assert truncated_bids.best_bid() == Level(Decimal(99), Decimal(5))
    assert not truncated_bids.apply(units([("99", "0")]), [])
    assert truncated_bids.apply(units([("100", "2")]), [])
    assert not truncated_bids.is_exhausted
    assert truncated_asks.apply(bids, units([("102", "1")]))
    assert not truncated_asks.apply([], asks)
    assert not truncated_asks.apply([], units([("102", "0")]))
    assert truncated_asks.is_exhausted
    assert truncated_asks.apply([], units([("101", "1")]))


def test_coverage_limits_the_questions_that_a_book_answers() -> None:
    book = book_of(BIDS, ASKS, bids_complete=False)
    assert book.coverage == Coverage(bids=Decimal("98.5"), asks=None)
    book.apply(units([("90", "8"), ("98.5", "0")]), units([("110", "9")]))
    assert book.coverage == Coverage(bids=Decimal("98.5"), asks=None)
    assert book.level(Side.BID, "90") == Level(Decimal(90), Decimal(8))
    assert book.level(Side.BID, "98.5") is None
    assert book.level(Side.ASK, 200) is None
    with pytest.raises(BookError, match=r"beyond .* \(to 98.5\)"):
        book.level(Side.BID, "91")
    assert book.volume_to("98.5", Side.BID) == 3
    assert book.volume_to(1000, Side.ASK) == Decimal("13.50123")
    with pytest.raises(BookError, match="beyond"):
        book.volume_to("98.4", Side.BID)
    assert book.price_for(3, Side.BID).cost == Decimal(298)
    with pytest.raises(BookError, match="beyond"):
        book.price_for("3.1", Side.BID)  # the level at 90 is known, the ones before it are not
    book.apply(units([("90", "0")]), [])
    with pytest.raises(BookError, match="beyond"):
        book.price_for("3.1", Side.BID)


def test_volume_includes_the_price_itself() -> None:
    book = book_of(BIDS, ASKS)
    assert [book.volume_to(p, Side.BID) for p in ("100.5", "100", "99.5", "99", "98.5", "1")] == [0, 1, 1, 3, 7, 7]
    assert [book.volume_to(p, Side.ASK) for p in ("100.9", "101", "101.9")] == [0, 3, 3]


def test_the_price_for_a_quantity_is_exact() -> None:
    book = book_of(BIDS, ASKS)
    assert book.price_for("1", Side.BID) == Fill(Decimal(1), Decimal(100), Decimal(100), Decimal(100))
    fill = book.price_for(Decimal("3.001"), Side.ASK)
    assert (fill.quantity, fill.cost, fill.worst_price) == (Decimal("3.001"), Decimal("303.102"), Decimal(102))
    assert fill.average_price == Context(prec=38, rounding=ROUND_HALF_EVEN).divide(Decimal("303.102"), Decimal("3.001"))
    assert book.price_for("4.50123", Side.ASK).worst_price == 103
    with pytest.raises(BookError, match=r"hold 4\.50123, less than the 4\.50124"):
        book.price_for("4.50124", Side.ASK)
    for quantity in ("0", "-1"):
        with pytest.raises(BookError, match="above zero"):
            book.price_for(quantity, Side.ASK)


def test_a_negative_depth_is_refused() -> None:
    with pytest.raises(BookError):
        OrderBook().depth(-1)


def test_equality_is_by_value_and_copies_are_independent() -> None:
    book = book_of(BIDS, ASKS, asks_complete=False)
    twin = book_of([(f"{Decimal(p):.9f}", q) for p, q in reversed(BIDS)], ASKS)
    assert book == twin
    copy = book.copy()
    assert (copy, copy.coverage) == (book, book.coverage)
    copy.apply(units([("100", "9")]), [])
    assert copy != book
    assert book == twin
    assert book != "a book"
    with pytest.raises(TypeError, match="unhashable"):
        hash(book)


def test_more_coverage_is_more_on_one_side_and_no_less_on_the_other() -> None:
    whole, no_bids = book_of(BIDS, ASKS), book_of(BIDS, ASKS, bids_complete=False)
    shallow = book_of(BIDS[:2], ASKS, bids_complete=False)
    other = book_of(BIDS, ASKS, asks_complete=False)
    assert whole.covers_more_than(no_bids)
    assert no_bids.covers_more_than(shallow)
    for book, against in [(whole, whole), (no_bids, whole), (shallow, no_bids), (other, no_bids), (no_bids, other)]:
        assert not book.covers_more_than(against)


PRICES = st.integers(1, 12)
QUANTITIES = st.sampled_from([0, 0, 1, 2, 10**20 + 1])
CHANGES = st.lists(st.tuples(PRICES, QUANTITIES), max_size=8)


@given(st.lists(st.tuples(CHANGES, CHANGES), max_size=12), st.integers(1, 40))
def test_any_updates_give_the_same_levels_as_a_plain_dict(
    updates: list[tuple[list[tuple[int, int]], ...]], wanted: int
) -> None:
    book = OrderBook()
    model: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for update in updates:
        is_sound = book.apply(*update)
        for expected, changes in zip(model, update, strict=True):
            expected.update(changes)
            for price in [price for price, quantity in expected.items() if not quantity]:
                del expected[price]
        bids, asks = sorted(model[0].items(), reverse=True), sorted(model[1].items())
        assert book.depth_units() == (bids, asks)
        assert len(book) == len(bids) + len(asks)
        assert book.is_crossed is (bool(bids and asks) and bids[0][0] >= asks[0][0])
        assert is_sound is not book.is_crossed
    for side, levels in ((Side.BID, bids), (Side.ASK, asks)) if updates else ():
        quantity = sum(q for _, q in levels)
        deepest = levels[-1][0] if levels else 1
        assert book.volume_to(exact_decimal(deepest), side) == exact_decimal(quantity)
        if wanted > quantity:
            with pytest.raises(BookError):
                book.price_for(exact_decimal(wanted), side)
        else:
            flat = [price for price, q in levels for _ in range(min(q, wanted))][:wanted]
            fill = book.price_for(exact_decimal(wanted), side)
            assert Fraction(fill.cost) == Fraction(sum(flat), 10**36)
            assert fill.worst_price == exact_decimal(flat[-1])
