"""An order book without I/O: absolute updates in, exact prices, depths and costs out."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Self
from zlib import crc32

from backpack_streams.books.arrays import exact_array, float_array
from backpack_streams.books.book_answers import Coverage, Fill, KnownLevels, Level, Side, level_of_units
from backpack_streams.books.book_costs import beyond_coverage, fill_of, quantity_of_best, quantity_to, quotient
from backpack_streams.books.book_side import BookSide
from backpack_streams.books.book_state import BookState
from backpack_streams.books.record_levels import levels_of_record, record_levels
from backpack_streams.books.units import SCALE, exact_decimal, plain, to_units
from backpack_streams.errors import BookError

__all__ = ["CHECKSUM_LEVELS", "Coverage", "Fill", "KnownLevels", "Level", "OrderBook", "Side"]

CHECKSUM_LEVELS = 20
"""Levels a side in a checksum unless told otherwise: as many as a BookTop record holds."""


class OrderBook(BookState):
    """Levels keyed by value; integers in units of 10**-18 go in, `Decimal` comes out.

    The class holds no sequence and no status: `MarketBook` decides what is applied and whether the result can be
    trusted. If a truncated side `is_exhausted`, the best level known need not be the best there is.
    Two books are equal if all their levels are, whatever their coverage. `copy.copy`, `copy.deepcopy` and `pickle` give independent
    books with the same levels and coverage, which nobody follows yet.

        >>> book = OrderBook()
        >>> book.apply_text(bids=[("100", "1"), ("99", "2")], asks=[("101", "3")])
        True
        >>> book.mid(), book.to_lines(1)
        (Decimal('100.5'), ([('100', '1')], [('101', '3')]))
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<OrderBook {len(self._bids)} bids, {len(self._asks)} asks, {self.best_bid()} / {self.best_ask()}>"

    @property
    def best_bid_units(self) -> int | None:
        """The best bid's price in units of 10**-18, for callers that need no `Decimal`."""
        return self._bids.best

    @property
    def best_ask_units(self) -> int | None:
        """The best ask's price in units of 10**-18, for callers that need no `Decimal`."""
        return self._asks.best

    def best_bid(self) -> Level | None:
        """Return the highest bid known, None if there is none."""
        return self._first(self._bids)

    def best_ask(self) -> Level | None:
        """Return the lowest ask known, None if there is none."""
        return self._first(self._asks)

    def spread(self) -> Decimal | None:
        """Return best ask minus best bid, exact; None while a side is empty."""
        bid, ask = self._bids.best, self._asks.best
        return None if bid is None or ask is None else exact_decimal(ask - bid)

    def mid(self) -> Decimal | None:
        """Return the middle between best bid and best ask, exact; None while a side is empty."""
        bid, ask = self._bids.best, self._asks.best
        return None if bid is None or ask is None else exact_decimal((ask + bid) * 5, SCALE + 1)

    def microprice(self) -> Decimal | None:
        """Return the middle weighted by the quantities at the touch, each price by the other side's; None while a side is empty.

        A quotient need not terminate: it is given to 38 significant digits.
        """
        bid, ask = self.best_bid(), self.best_ask()
        if bid is None or ask is None:
            return None
        bid_price, bid_quantity = to_units(bid.price), to_units(bid.quantity)
        ask_price, ask_quantity = to_units(ask.price), to_units(ask.quantity)
        weighted = bid_price * ask_quantity + ask_price * bid_quantity
        return quotient(exact_decimal(weighted, 2 * SCALE), exact_decimal(bid_quantity + ask_quantity))

    def imbalance(self, levels: int = 1) -> Decimal | None:
        """Return (bids - asks) / (bids + asks) of the quantities in the best `levels` of each side: -1 to 1, above 0 if bids prevail.

        None while a side is empty. To 38 significant digits, as a quotient need not terminate.

        Raises:
            BookError: fewer than one level asked for, or one of them lies beyond the coverage.

        """
        if levels < 1:
            raise BookError(f"an imbalance of {levels} levels cannot be; ask for 1 or more")
        bids, asks = quantity_of_best(self._bids, levels), quantity_of_best(self._asks, levels)
        if not bids or not asks:
            return None
        return quotient(exact_decimal(bids - asks), exact_decimal(bids + asks))

    def checksum(self, levels: int | None = CHECKSUM_LEVELS) -> int:
        """Return the CRC-32 of the best levels, the same in every process and version; None takes all within the coverage.

        Of the ASCII text `bids|asks`: each side best level first, a level as `price:quantity`, commas between levels, numbers as
        `to_lines` writes them. Example: `100:1,99:2|101:3` is 2018059872. Levels beyond the coverage are never in it: of two right
        readers one may know some that the other does not. If coverages differ, compare as many levels as both know (`known_levels`).

            >>> book = OrderBook()
            >>> book.apply_text([("100", "1"), ("99", "2")], [("101", "3")])
            True
            >>> book.checksum()
            2018059872
        """
        sides = (_lines(self._bids.known(levels)), _lines(self._asks.known(levels)))
        text = "|".join(",".join(f"{price}:{quantity}" for price, quantity in side) for side in sides)
        return crc32(text.encode("ascii"))

    def to_record(self, limit: int | None = None) -> dict[str, Any]:
        """Return the fields of a BookSnapshot that a book knows: `bids` and `asks`, best first, and whether each is complete.

        Numbers are `Decimal`s, as `RecordStream` gives and `Codec.rows` takes them. What else the record says (symbol, ids, offset)
        is the caller's to add. A record's reader takes the last level of a side that is not complete for how far the side is known:
        so levels beyond the coverage are left out, and a side cut by `limit` is not complete. The book that `from_record` makes of it
        never knows more than this one; it knows less where the level at the edge of the coverage is gone. `copy` and `pickle` lose
        nothing.
        """
        bids, asks = self._bids.known(limit), self._asks.known(limit)
        return {
            "bids": record_levels([level_of_units(*units) for units in bids]),
            "asks": record_levels([level_of_units(*units) for units in asks]),
            "bids_complete": self._bids.edge is None and len(bids) == len(self._bids),
            "asks_complete": self._asks.edge is None and len(asks) == len(self._asks),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """Return the book of a BookSnapshot or a BookTop, as `RecordStream` or any Avro library gives it.

        A BookTop does not say whether there is more than its levels, so its sides are known down to their last level.

        Raises:
            BookError: a field is missing or a number unreadable, or the levels are no book (see `seed`).

        """
        bids, asks = levels_of_record(record, "bids"), levels_of_record(record, "asks")
        book = cls()
        book.seed(bids, asks, record.get("bids_complete", not bids), record.get("asks_complete", not asks))
        return book

    def float_arrays(self, limit: int | None = None) -> tuple[Any, Any]:
        """Return bids and asks, best first, as NumPy arrays of float64, shape (levels, 2): price, quantity. Copies, for analytics.

        Each number is the float64 nearest to it, not the number itself. Needs NumPy (extra `numpy`).

        Raises:
            UsageError: NumPy is not installed.

        """
        bids, asks = self.depth_units(limit)
        return float_array(bids), float_array(asks)

    def exact_arrays(self, limit: int | None = None) -> tuple[Any, Any]:
        """Do what `float_arrays` does with every digit: arrays of dtype object that hold `Decimal`s."""
        bids, asks = self.depth(limit)
        return exact_array(bids), exact_array(asks)

    def depth(self, limit: int | None = None) -> tuple[list[Level], list[Level]]:
        """Return bids and asks, best first, at most `limit` of each, without a level missing between them.

        Fewer than `limit` are all that the side has, or, where `coverage` names a price for it, all that is known: `known_levels` counts
        them. Without a limit it is whatever is known, also single levels beyond the coverage, among which others may be missing.
        """
        bids, asks = self.depth_units(limit)
        return [level_of_units(*units) for units in bids], [level_of_units(*units) for units in asks]

    def depth_units(self, limit: int | None = None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return what `depth` does as (price, quantity) in units of 10**-18."""
        if limit is None:
            return self._bids.best_levels(None), self._asks.best_levels(None)
        return self._bids.known(limit), self._asks.known(limit)

    def to_lines(self, limit: int | None = None) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return what `depth` does as plain decimal strings: no trailing zeros, never an exponent."""
        bids, asks = self.depth_units(limit)
        return _lines(bids), _lines(asks)

    @property
    def known_levels(self) -> KnownLevels:
        """How many levels of each side are known from the touch on without one missing: the most that `depth` with a limit gives."""
        return KnownLevels(len(self._bids.known(None)), len(self._asks.known(None)))

    def level(self, side: Side, price: Decimal | int | str) -> Level | None:
        """Return the level at exactly this price, None if there is none.

        Raises:
            BookError: no level is known there and the price lies beyond the coverage, or it is no exact decimal.

        """
        half, units = self._half(side), to_units(price)
        quantity = half.quantity_at(units)
        if quantity is not None:
            return level_of_units(units, quantity)
        if not half.covers(units):
            raise beyond_coverage(half, f"the {side.value} at {plain(units)}")
        return None

    def volume_to(self, price: Decimal | int | str, side: Side) -> Decimal:
        """Return the quantity that rests from the touch up to and including a price.

        Raises:
            BookError: the price lies beyond the coverage, or is no exact decimal.

        """
        return exact_decimal(quantity_to(self._half(side), to_units(price)))

    def price_for(self, quantity: Decimal | int | str, side: Side) -> Fill:
        """Return what it costs to take a quantity (base asset) from one side: `Side.ASK` to buy, `Side.BID` to sell.

        Raises:
            BookError: the quantity is not above zero, the side holds less, or it is reached only beyond the coverage.

        """
        return fill_of(self._half(side), to_units(quantity))

    @property
    def is_crossed(self) -> bool:
        """Whether best bid >= best ask: the venue never publishes this, so an update was missed."""
        bid, ask = self._bids.best, self._asks.best
        return bid is not None and ask is not None and bid >= ask

    @property
    def is_exhausted(self) -> bool:
        """Whether a truncated side has no level left within its coverage: a better one may exist unseen."""
        return self._bids.is_exhausted or self._asks.is_exhausted

    @property
    def coverage(self) -> Coverage:
        """How far each side is known."""
        bids, asks = self._bids.edge, self._asks.edge
        return Coverage(
            None if bids is None else exact_decimal(bids),
            None if asks is None else exact_decimal(asks),
        )

    def covers_more_than(self, other: "OrderBook") -> bool:
        """Whether this book knows at least as far as the other on both sides, and further on one."""
        pairs = [(self._bids.edge_key, other._bids.edge_key), (self._asks.edge_key, other._asks.edge_key)]
        # A lower key lies deeper; no key at all is the whole side.
        reaches = all(mine is None or (its is not None and mine <= its) for mine, its in pairs)
        return reaches and any(mine != its for mine, its in pairs)

    def _half(self, side: Side) -> BookSide:
        if side is Side.BID:
            return self._bids
        if side is Side.ASK:
            return self._asks
        raise BookError(f"{side!r} is no side of a book; say Side.BID or Side.ASK")

    @staticmethod
    def _first(half: BookSide) -> Level | None:
        price = half.best
        if price is None:
            return None
        quantity = half.quantity_at(price)
        return None if quantity is None else level_of_units(price, quantity)


def _lines(levels: list[tuple[int, int]]) -> list[tuple[str, str]]:
    return [(plain(price), plain(quantity)) for price, quantity in levels]
