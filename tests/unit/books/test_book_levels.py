"""Compiled and plain levels against each other: the same books and the same answers for any input."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books import book_state
from backpack_streams.books.book_levels import compiled
from backpack_streams.books.book_side import BookSide, PlainSide
from backpack_streams.books.order_book import OrderBook
from backpack_streams.errors import BookError

if compiled is None:
    pytest.skip("no C compiler was at hand when the project was installed", allow_module_level=True)

UNIT = 10**18
PRICES = st.sampled_from(
    [0, 1, 2, 3, UNIT, UNIT + 1, 2**63 - 1, 2**63, 2**64, 10**37, 10**38 - 1, 10**38, 2**127, -5, -(10**38)]
)
NUMBERS = PRICES | st.integers(-3, 60) | st.integers(0, 60).map(lambda tick: 86_000 * UNIT + tick * 10**17)
QUANTITIES = st.sampled_from([0, 0, 0, 1, UNIT, 2**63, 10**38 - 1]) | st.sampled_from([-1, 10**38, 2**130])
USUAL = st.sampled_from([0, 0, 1, 7 * UNIT])
LEVELS = st.lists(st.tuples(NUMBERS, USUAL) | st.tuples(NUMBERS, QUANTITIES), max_size=8)
DIGITS = st.text("0123456789", max_size=24)
TEXTS = st.one_of(
    st.builds(lambda whole, fraction: f"{whole}.{fraction}", DIGITS, DIGITS),
    DIGITS,
    st.sampled_from(
        ["1e2", "-0", "+1", " 1", "1_0", "٣", "1.2.3", ".", "", "nan", "0" * 40, "1" * 39, "0.0", "00.50", "9" * 20]
    ),
)
TEXT_LEVELS = st.lists(st.tuples(TEXTS, TEXTS).flatmap(lambda pair: st.sampled_from([pair, list(pair)])), max_size=4)


def books() -> list[OrderBook]:
    made = []
    for side in (BookSide, PlainSide):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(book_state, "BookSide", side)
            made.append(OrderBook())
    assert type(made[0]._bids) is not type(made[1]._bids)
    return made


def state(book: OrderBook) -> tuple[object, ...]:
    touch = book.best_bid_units, book.best_ask_units
    return book.depth_units(), touch, len(book), book.is_crossed, book.is_exhausted, book._bids.edge, book._asks.edge


def outcome(book: OrderBook, event: tuple[str, object, object, bool, bool]) -> object:
    kind, bids, asks, bids_complete, asks_complete = event
    try:
        if kind == "seed":
            book.load(bids, asks, bids_complete, asks_complete)
            return None
        return book.apply(bids, asks) if kind == "units" else book.apply_text(bids, asks)
    except BookError as error:
        return str(error)


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("units"), LEVELS, LEVELS, st.just(True), st.just(True)),
        st.tuples(st.just("text"), TEXT_LEVELS, TEXT_LEVELS, st.just(True), st.just(True)),
        st.tuples(st.just("seed"), LEVELS, LEVELS, st.booleans(), st.booleans()),
    ),
    max_size=12,
)


@given(EVENTS)
def test_compiled_and_plain_levels_give_the_same_answers(events: list[tuple[str, object, object, bool, bool]]) -> None:
    quick, plain = books()
    for event in events:
        told = outcome(quick, event)
        assert outcome(plain, event) == told
        if isinstance(told, str) and event[0] != "seed":
            return  # the update may be partly applied: the book is wrong, and both report it
        assert state(quick) == state(plain)
        for price in (0, 1, UNIT, 2**64, 10**38, 2**200):
            assert quick._bids.quantity_at(price) == plain._bids.quantity_at(price)
        assert quick == plain
        assert state(quick.copy()) == state(quick)


@given(
    st.lists(st.tuples(st.integers(1, 400), st.sampled_from([0, 1, 2])), max_size=600),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_many_levels_are_in_order(levels: list[tuple[int, int]], start: int, most: int) -> None:
    quick, plain = books()
    expected = {price: quantity for price, quantity in dict(levels).items() if quantity}
    for book in (quick, plain):
        book.apply(levels, [(price + 1000, quantity) for price, quantity in levels])
        assert book.depth_units()[0] == sorted(expected.items(), reverse=True)
        assert book._bids.walk(start, most) == sorted(expected.items(), reverse=True)[start : start + most]
    assert quick._asks.walk(start, most) == plain._asks.walk(start, most)


@pytest.mark.parametrize("odd", [None, 5, [None], [(1,)], [(1, 2, 3)], [("1", 2)], [(1.5, 2)], ["12"], {1: 2}])
def test_malformed_levels_are_left_to_python(odd: object) -> None:
    quick, _ = books()
    before = state(quick)
    assert quick._bids.update(quick._asks, odd, [], False) is None
    assert quick._bids.update(quick._asks, [], odd, True) is None
    assert state(quick) == before


def test_misuse_of_the_compiled_levels_is_an_error_and_not_a_crash() -> None:
    side = compiled.Levels(True)
    for call in (
        lambda: side.update([], [], [], False),
        lambda: side.update(side),
        lambda: side.put(1),
        lambda: side.put(1, -1),
        lambda: side.put("1", 1),
        lambda: side.walk(-1, 5),
        lambda: side.walk(0, 2**80),
        side.walk,
        lambda: side.take_copy([]),
        compiled.Levels,
        side.mark_edge,
    ):
        with pytest.raises((TypeError, OverflowError, ValueError)):
            call()
    side.put(5, 6)
    side.take_copy(side)
    assert side.update(side, [(7, 8)], [(9, 10)], False) is False  # one object as both sides: odd, but no crash
    assert (len(side), side.best, side.quantity_at(True), side.quantity_at("5")) == (3, 9, None, None)


def test_levels_from_iterators_are_taken_completely() -> None:
    for book in books():
        assert book.apply(iter([(1, 2), (2, 3)]), ((price, 1) for price in (5, 6)))
        assert book.depth_units() == ([(2, 3), (1, 2)], [(5, 1), (6, 1)])
        assert book.apply_text(iter([("0.000000000000000002", "0")]), iter([["1.50", "2"]]))
        assert book.best_ask() == (Decimal("0.000000000000000005"), Decimal("0.000000000000000001"))
        assert book.depth()[1][-1] == (Decimal("1.5"), Decimal(2))
