"""What a book answers beyond its levels: weighted prices, changes, checksums, records, arrays."""

import importlib
from collections.abc import Iterable
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.changes import Changes, LevelChange
from backpack_streams.books.order_book import Coverage, OrderBook, Side
from backpack_streams.books.units import to_units
from backpack_streams.bus.codec import Codec
from backpack_streams.errors import BookError, UsageError

EXACT = Context(prec=38)
Written = Iterable[tuple[str, str]]
BIDS = [("99", "2"), ("100", "1"), ("98.5", "4")]
ASKS = [("101.0", "3"), ("103", "1.50"), ("102", "0.00123")]


def units(levels: Written) -> list[tuple[int, int]]:
    return [(to_units(price), to_units(quantity)) for price, quantity in levels]


def book_of(bids: Written, asks: Written, *, bids_complete: bool = True, asks_complete: bool = True) -> OrderBook:
    book = OrderBook()
    book.load(units(bids), units(asks), bids_complete, asks_complete)
    return book


def test_the_microprice_leans_to_the_thinner_side() -> None:
    assert book_of(BIDS, ASKS).microprice() == Decimal("100.25")  # a bid of 1 at 100 against an ask of 3 at 101
    third = book_of([("1", "1")], [("2", "2")]).microprice()
    assert third == Decimal("1.3333333333333333333333333333333333333")
    assert book_of(BIDS, []).microprice() is None
    assert book_of([], ASKS).microprice() is None


@pytest.mark.parametrize("odd", ["bid", "ask", None, 0, Side])
def test_an_invalid_side_is_an_error_and_not_taken_for_the_asks(odd: Any) -> None:
    book = book_of(BIDS, ASKS)
    for ask in (lambda: book.level(odd, 99), lambda: book.volume_to(99, odd), lambda: book.price_for(1, odd)):
        with pytest.raises(BookError, match=r"no side of a book; say Side\.BID"):
            ask()


def test_the_imbalance_of_some_levels_is_exact() -> None:
    book = book_of(BIDS, ASKS)
    assert book.imbalance() == Decimal("-0.5")
    assert str(book.imbalance(2))[:14] == "-0.00020495798"  # (3 - 3.00123) / 6.00123
    assert book.imbalance(9) == book.imbalance(3) == EXACT.divide(Decimal("2.49877"), Decimal("11.50123"))
    assert book_of([], ASKS).imbalance() is None
    with pytest.raises(BookError, match="1 or more"):
        book.imbalance(0)
    truncated = book_of(BIDS, ASKS, asks_complete=False)
    assert truncated.imbalance(3) == book.imbalance(3)
    with pytest.raises(BookError, match="beyond"):
        truncated.imbalance(4)


@given(
    st.lists(
        st.tuples(st.integers(1, 50), st.integers(1, 10**20)), min_size=1, max_size=6, unique_by=lambda level: level[0]
    ),
    st.lists(
        st.tuples(st.integers(60, 99), st.integers(1, 10**20)), min_size=1, max_size=6, unique_by=lambda level: level[0]
    ),
    st.integers(1, 8),
)
def test_quotients_are_correct_to_38_digits(
    bids: list[tuple[int, int]], asks: list[tuple[int, int]], levels: int
) -> None:
    book = OrderBook()
    book.load(bids, asks)
    held = sum(q for _, q in sorted(bids, reverse=True)[:levels]), sum(q for _, q in sorted(asks)[:levels])
    exact = Fraction(held[0] - held[1], sum(held))
    assert abs(Fraction(book.imbalance(levels)) - exact) <= Fraction(1, 10**38)
    (bid, bid_quantity), (ask, ask_quantity) = max(bids), min(asks)
    micro = Fraction(bid * ask_quantity + ask * bid_quantity, (bid_quantity + ask_quantity) * 10**18)
    assert abs(Fraction(book.microprice()) - micro) <= micro * Fraction(1, 10**37)
    assert Fraction(bid, 10**18) <= Fraction(book.microprice()) <= Fraction(ask, 10**18)


def test_a_checksum_depends_on_the_values_of_the_best_levels() -> None:
    book = book_of(BIDS, ASKS)
    assert book.checksum(2) == crc32(b"100:1,99:2|101:3,102:0.00123")
    assert book.checksum() == book.checksum(None) == crc32(b"100:1,99:2,98.5:4|101:3,102:0.00123,103:1.5")
    assert book.checksum() == book_of([(f"{p}.000" if "." not in p else p, q) for p, q in BIDS], ASKS).checksum()
    assert OrderBook().checksum() == crc32(b"|")
    assert (
        book_of([("99", "2"), ("100", "1")], [("101", "3")]).checksum() == 2018059872
    )  # the value in its documentation
    before = book.checksum(1)
    book.apply(units([("98.5", "0")]), [])
    assert book.checksum(1) == before
    assert book.checksum() != book_of(BIDS, ASKS).checksum()


def test_text_and_units_give_the_same_update() -> None:
    by_units, by_text = book_of(BIDS, ASKS), book_of(BIDS, ASKS)
    levels = [("100.0", "0.00000"), ("99.50", "1e2"), ("97", "+3")], [["101.0", "0"], ["104.5", "7"]]
    assert by_text.apply_text(*levels) is by_units.apply(*(units(side) for side in levels)) is True
    assert by_text == by_units
    with pytest.raises(BookError, match="ask"):
        by_text.apply_text([], [("ten", "1")])
    for odd in ([(1, 2)], [("1",)], [None], [("1", None)], [(["1"], "1")]):
        with pytest.raises(BookError, match="bids cannot be read"):
            by_text.apply_text(odd, [])
    with pytest.raises(BookError, match="negative"):
        by_text.apply_text([("90", "-1")], [])


# ---- changes


def test_changes_are_the_differences_since_they_were_last_taken() -> None:
    book = book_of(BIDS, ASKS)
    with pytest.raises(BookError, match="watch_changes"):
        book.take_changes()
    book.watch_changes()
    first = book.take_changes()
    assert first.is_reset
    assert first.asks[0] == LevelChange(Decimal(101), Decimal(3), Decimal(0))
    assert len(first.bids) == len(first.asks) == 3
    assert book.take_changes() == Changes(False, [], [])
    book.apply(units([("99", "5"), ("100", "1"), ("42", "0")]), units([("101", "0")]))
    book.apply_text([("97", "1"), ("99", "6")], [("101", "9"), ("105", "1")])
    book.apply_text([], [("105", "0")])
    changes = book.take_changes()
    assert changes.bids == [
        LevelChange(Decimal(99), Decimal(6), Decimal(2)),
        LevelChange(Decimal(97), Decimal(1), Decimal(0)),
    ]
    assert changes.asks == [LevelChange(Decimal(101), Decimal(9), Decimal(3))]
    book.load(units(BIDS), units(ASKS))
    assert book.take_changes().is_reset
    with pytest.raises(BookError):
        book.copy().take_changes()


PRICES = st.integers(1, 12)
CHANGES = st.lists(st.tuples(PRICES, st.integers(0, 2)), max_size=6)


@given(st.lists(st.tuples(st.sampled_from(["apply", "seed", "take"]), CHANGES, CHANGES), max_size=20))
def test_a_follower_of_the_changes_has_the_book(events: list[tuple[str, Any, Any]]) -> None:
    book = OrderBook()
    book.watch_changes()
    follower: tuple[dict[int, int], dict[int, int]] = ({}, {})
    for kind, bids, asks in [*events, ("take", [], [])]:
        asks = [(price + 20, quantity) for price, quantity in asks]
        if kind == "apply":
            book.apply(bids, asks)
        elif kind == "seed":
            book.load(dict(bids).items(), dict(asks).items())
        else:
            changes = book.take_changes()
            for side, news in zip(follower, (changes.bid_units, changes.ask_units), strict=True):
                if changes.is_reset:
                    side.clear()
                for price, quantity, before in news:
                    assert side.get(price, 0) == before != quantity
                    side[price] = quantity
            kept = [{price: q for price, q in side.items() if q} for side in follower]
            assert (dict(book.depth_units()[0]), dict(book.depth_units()[1])) == tuple(kept)


def test_changes_that_are_not_taken_do_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backpack_streams.books.changes.NOTED_AT_MOST", 10)
    book = book_of(BIDS, ASKS)
    book.watch_changes()
    book.take_changes()
    for price in range(1, 12):
        book.apply([(price, 1)], [])
    assert book.take_changes().is_reset


# ---- records and arrays


def test_a_book_survives_the_round_trip_through_a_snapshot_record() -> None:
    book = book_of(BIDS, ASKS, asks_complete=False)
    codec = Codec()
    row: dict[str, Any] = {"symbol": "SOL_USDC", "source": "WEBSOCKET", "received_time": 3, "origin": "CHECKPOINT"}
    row |= {"last_update_id": 5, "delta_topic": "t", "delta_partition": 0, "delta_offset": 7} | book.to_record()
    row |= {"event_time": None, "engine_time": None, "depth_limit": None}
    value = codec.encoder("BookSnapshot", "backpack.market.book_snapshot")(codec.rows("BookSnapshot")(row))
    for record in (codec.decode(value)[1], codec.read(value)[1]):  # Avro's bytes, and `Decimal`s
        again = OrderBook.from_record(record)
        assert (again, again.coverage) == (book, Coverage(None, Decimal(103)))
    cut = book.to_record(2)
    assert (len(cut["bids"]), cut["bids_complete"], cut["asks_complete"]) == (2, False, False)
    assert OrderBook.from_record(cut).coverage == Coverage(Decimal(99), Decimal(102))


def test_a_top_is_known_down_to_its_last_level() -> None:
    top = {"bids": [{"price": "100", "quantity": "1"}], "asks": []}
    assert OrderBook.from_record(top).coverage == Coverage(Decimal(100), None)
    for broken in (
        {},
        {"bids": [], "asks": None},
        {"bids": [{}], "asks": []},
        {"bids": [{"price": "x", "quantity": "1"}], "asks": []},
    ):
        with pytest.raises(BookError):
            OrderBook.from_record(broken)


def test_arrays_are_floats_by_name_or_exact() -> None:
    numpy = pytest.importorskip("numpy", reason="NumPy is not installed")
    book = book_of([("86700.1", "0.123456789012345678"), ("99", "2")], [])
    bids, asks = book.float_arrays()
    assert (bids.dtype, bids.shape, asks.shape) == (numpy.float64, (2, 2), (0, 2))
    assert bids.tolist() == [[86700.1, 0.123456789012345678], [99.0, 2.0]]
    exact, none = book.exact_arrays(1)
    assert exact.tolist() == [[Decimal("86700.1"), Decimal("0.123456789012345678")]]
    assert none.shape == (0, 2)
    bids[0, 0] = 1
    assert book.best_bid().price == Decimal("86700.1")


def test_a_missing_library_is_an_error_that_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(UsageError, match=r"numpy cannot be imported .*pip install \"backpack-streams\[numpy\]\""):
        book_of(BIDS, ASKS).float_arrays()
