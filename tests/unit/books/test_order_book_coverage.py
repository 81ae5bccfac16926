"""A truncated book says no more than it knows, and its copies know no more than it does."""

import copy
import importlib.util
import pickle
import sys
from decimal import Clamped, Context, Decimal, FloatOperation, Inexact, Rounded, Subnormal, Underflow, localcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books import book_state
from backpack_streams.books.book_levels import PlainLevels, compiled, keeps_numbers
from backpack_streams.books.book_side import BookSide, PlainSide
from backpack_streams.books.order_book import Coverage, KnownLevels, OrderBook, Side
from backpack_streams.books.units import to_units
from backpack_streams.errors import BookError

ROOT = Path(__file__).parents[3]

UNIT = 10**18
Levels = list[tuple[int, int]]


def whole(*levels: int) -> Levels:
    return [(price * UNIT, UNIT) for price in levels]


def truncated() -> OrderBook:
    """Bids known down to 90, and one at 50 that was set later: between them there may be levels."""
    book = OrderBook()
    book.load(whole(100, 99, 90), whole(101), bids_complete=False)
    book.apply([(50 * UNIT, 5 * UNIT)], [])
    return book


def beyond(book: OrderBook, side: Side, price: int) -> bool:
    """Whether a book refuses to say what is at a price."""
    try:
        book.level(side, price)
    except BookError:
        return True
    return False


def test_a_record_of_a_truncated_book_says_no_more_than_the_book_knows() -> None:
    book = truncated()
    again = OrderBook.from_record(book.to_record())
    assert again.coverage == book.coverage == Coverage(Decimal(90), None)
    for asked in (book, again):
        assert beyond(asked, Side.BID, 70)
        with pytest.raises(BookError, match="beyond"):
            asked.volume_to(60, Side.BID)
    assert [level["price"] for level in book.to_record()["bids"]] == [100, 99, 90]
    assert OrderBook.from_record(book.to_record(2)).coverage == Coverage(Decimal(99), None)


def test_a_record_whose_edge_is_gone_knows_less_and_never_more() -> None:
    book = truncated()
    book.apply([(90 * UNIT, 0)], [])
    assert OrderBook.from_record(book.to_record()).coverage == Coverage(Decimal(99), None)
    book.apply([(99 * UNIT, 0), (100 * UNIT, 0)], [])
    assert book.to_record()["bids"] == []
    with pytest.raises(BookError, match="truncated"):  # nothing is known, and a record cannot say so
        OrderBook.from_record(book.to_record())


def test_depth_ends_where_levels_may_be_missing() -> None:
    book = truncated()
    assert [level.price for level in book.depth(10)[0]] == [100, 99, 90]
    assert [level.price for level in book.depth(2)[0]] == [100, 99]
    assert [price for price, _ in book.to_lines(10)[0]] == ["100", "99", "90"]
    assert book.known_levels == KnownLevels(bids=3, asks=1)
    assert [level.price for level in book.depth()[0]] == [100, 99, 90, 50]  # everything known
    book.apply([(price * UNIT, 0) for price in (100, 99, 90)], [])
    assert book.is_exhausted
    assert (book.depth(1)[0], book.known_levels.bids) == ([], 0)


def test_two_correct_readers_have_one_checksum_whatever_they_know_beyond_the_coverage() -> None:
    late, early = OrderBook(), truncated()  # the late reader never saw the update at 50
    late.load(whole(100, 99, 90), whole(101), bids_complete=False)
    for levels in (None, 2, 3, 20, 1000):
        assert early.checksum(levels) == late.checksum(levels)
    late.apply([(90 * UNIT, UNIT + 1)], [])
    assert early.checksum() != late.checksum()


PRICES = st.integers(1, 12)
LEVELS = st.dictionaries(PRICES, st.integers(1, 3), max_size=6)
EVENTS = st.lists(st.tuples(st.lists(st.tuples(PRICES, st.integers(0, 2)), max_size=5), st.booleans()), max_size=6)


def book_after(bids: dict[int, int], asks: dict[int, int], complete: tuple[bool, bool], events: Any) -> OrderBook:
    book = OrderBook()
    book.load(bids.items(), [(price + 20, q) for price, q in asks.items()], *complete)
    for levels, is_bid in events:
        moved = [(price if is_bid else price + 20, quantity) for price, quantity in levels]
        book.apply(*((moved, []) if is_bid else ([], moved)))
    return book


@given(LEVELS, LEVELS, st.tuples(st.booleans(), st.booleans()), EVENTS)
def test_no_copy_knows_more_than_its_book(
    bids: dict[int, int], asks: dict[int, int], complete: tuple[bool, bool], events: Any
) -> None:
    complete = complete[0] or not bids, complete[1] or not asks
    book = book_after(bids, asks, complete, events)
    for each in (copy.copy(book), copy.deepcopy(book), book.copy(), pickle.loads(pickle.dumps(book))):
        assert (each, each.coverage, each.checksum(None)) == (book, book.coverage, book.checksum(None))
        before = book.depth_units()
        each.apply([(1, 7)], [(21, 7)])
        assert book.depth_units() == before
    try:
        of_record = OrderBook.from_record(book.to_record())
    except BookError:
        assert 0 in (book.known_levels.bids, book.known_levels.asks)
        return
    assert not of_record.covers_more_than(book)
    for side in Side:
        for units in range(1, 40):
            price = Decimal(units).scaleb(-18)
            if not beyond(of_record, side, price):  # type: ignore[arg-type]  # a `Decimal` as well
                assert of_record.level(side, price) == book.level(side, price)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_the_same_for_compiled_and_plain_levels(protocol: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pickles = set()
    for side in dict.fromkeys((BookSide, PlainSide)):
        monkeypatch.setattr(book_state, "BookSide", side)
        book = truncated()
        book.apply([(90 * UNIT, 0)], [(10**38 - 1, 10**38 - 1)])
        book.watch_changes()
        again = pickle.loads(pickle.dumps(book, protocol))
        assert (again, again.coverage, type(again._bids)) == (book, book.coverage, side)
        with pytest.raises(BookError, match="watch_changes"):
            again.take_changes()
        pickles.add(pickle.dumps(book, protocol))
    assert len(pickles) == 1


class _Named(OrderBook):
    """A subclass as a user may write one."""


def test_copies_are_of_the_same_class() -> None:
    book = _Named()
    book.load(whole(1), [])
    for each in (copy.copy(book), copy.deepcopy([book])[0], pickle.loads(pickle.dumps(book))):
        assert type(each) is _Named
        assert each == book


def test_several_followers_get_the_changes_of_one_book() -> None:
    book = truncated()
    first, second = book.follow_changes(), book.follow_changes()
    assert first.take().is_reset
    book.apply([(99 * UNIT, 7 * UNIT)], [])
    assert [change.quantity for change in first.take().bids] == [7]
    assert second.take().is_reset  # its first call: all levels
    book.watch_changes()
    book.apply_text([("98", "1")], [])
    assert [each.price for each in second.take().bids] == [each.price for each in first.take().bids] == [98]
    assert book.take_changes().is_reset
    book.load(whole(5), [])
    assert [each.take().is_reset for each in (first, second)] == [True, True]
    assert book.take_changes().is_reset


def test_a_deleted_follower_costs_nothing_more() -> None:
    book = truncated()
    follower = book.follow_changes()
    book.watch_changes()
    book.watch_changes()  # starts again: the earlier notes belong to no follower
    del follower
    book.apply([], [(102 * UNIT, UNIT)])
    assert len(book._followers) == 1
    held = truncated().follow_changes()
    assert len(held.take().bids) == 4  # it keeps its book


HOSTILE = Context(prec=1, Emax=1, Emin=-1, traps=[Inexact, Rounded, FloatOperation, Clamped, Subnormal, Underflow])
NUMBERS = st.decimals("0.000000000000000001", "99999999", places=18)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=5, unique_by=lambda level: level[0]), NUMBERS)
def test_the_callers_decimal_context_changes_no_answer(levels: list[tuple[Decimal, Decimal]], wanted: Decimal) -> None:
    ordered = sorted(levels)
    half = len(ordered) // 2
    texts = [[(f"{p:f}", f"{q:f}") for p, q in side] for side in (ordered[:half], ordered[half:])]

    def answers() -> tuple[object, ...]:
        book = OrderBook()
        book.apply_text(*texts)
        touch = book.best_bid(), book.best_ask(), book.mid(), book.spread(), book.microprice(), book.imbalance()
        volume = book.volume_to(texts[0][0][0], Side.BID), book.level(Side.ASK, ordered[-1][0]), book.coverage
        try:
            fill: object = book.price_for(wanted, Side.ASK)
        except BookError as error:
            fill = str(error)
        again = OrderBook.from_record(book.to_record())
        return touch, volume, fill, book.depth(3), book.to_lines(), book.checksum(), again.to_record(), repr(book)

    expected = answers()
    with localcontext(HOSTILE):
        assert answers() == expected
        with pytest.raises(BookError):
            to_units("no number")


@pytest.mark.parametrize("side", list(dict.fromkeys((BookSide, PlainSide))), ids=lambda side: side.__name__)
@pytest.mark.parametrize(
    "odd",
    [[(1.5, 2)], [(1, 2.0)], [(1.0, 0)], [(Decimal(1), 2)], [(1, None)], [(1,)], [5], [(10**5000, 1)], [(1, 10**5000)]],
    ids=["float price", "float", "float gone", "decimal", "nothing", "no pair", "no levels", "huge price", "huge"],
)
def test_anything_but_an_integer_of_38_digits_is_an_error(
    side: type[BookSide], odd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book_state, "BookSide", side)
    book = OrderBook()
    book.load(whole(1), [])
    for act in (lambda: book.apply(odd, []), lambda: book.apply([], odd), lambda: book.load(odd, [])):
        with pytest.raises(BookError):
            act()
    assert book.depth_units() == (whole(1), [])


def test_integer_like_values_become_integers() -> None:
    book = OrderBook()
    book.apply([(True, True)], [])
    [(price, quantity)] = book.depth_units()[0]
    assert (type(price), type(quantity)) == (int, int)


def test_bytes_of_a_record_hold_at_most_38_digits() -> None:
    most = (10**38 - 1).to_bytes(17, "big", signed=True)
    record: dict[str, Any] = {"bids": [{"price": most, "quantity": b"\x01"}], "asks": []}
    assert OrderBook.from_record(record).depth_units()[0] == [(10**38 - 1, 1)]
    for odd in ((10**38).to_bytes(17, "big", signed=True), b"\x7f" * 2000):
        record["bids"] = [{"price": odd, "quantity": b"\x01"}]
        with pytest.raises(BookError, match="38 digits"):
            OrderBook.from_record(record)


def loaded(name: str, path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


needs_compiler = pytest.mark.skipif(compiled is None, reason="no C compiler was at hand when the project was installed")


@needs_compiler
def test_compiled_levels_keep_numbers_of_128_bits() -> None:
    assert keeps_numbers(compiled.Levels)
    assert keeps_numbers(PlainLevels)


@needs_compiler
@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python itself knows the order there")
def test_compiled_levels_with_the_wrong_byte_order_are_not_used(tmp_path: Path) -> None:
    """Code for little-endian processors only would keep wrong numbers on others; here it is the other way round."""
    source = ROOT / "services" / "backpack_streams" / "books" / "_quick_levels.c"
    copy_of_it = tmp_path / "_quick_levels.c"
    text = source.read_text()
    assert text.count("PY_LITTLE_ENDIAN") == 2
    copy_of_it.write_text(text.replace("PY_LITTLE_ENDIAN", f"{1 - (sys.byteorder == 'little')}"))
    made = loaded("hatch_build", ROOT / "hatch_build.py").compile_in_place(copy_of_it)
    assert not keeps_numbers(loaded("_quick_levels", made).Levels)
