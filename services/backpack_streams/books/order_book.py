"""Order book without I/O: takes absolute updates, answers with exact prices, depth and costs."""

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
"""Default number of levels per side in a checksum, the depth of a BookTop record."""


class OrderBook(BookState):
    """Price levels keyed by value; integers in units of 10**-18 go in, `Decimal` comes out.

    The class holds no sequence and no status: `MarketBook` decides which updates to apply and whether to trust the result. If a truncated
    side `is_exhausted`, its best known level may not be the real best level.
    Two books are equal if all their levels are equal, whatever their coverage. `copy.copy`, `copy.deepcopy` and `pickle` give independent
    books with the same levels and coverage, but without followers.

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
        """Price of the best bid in units of 10**-18, for callers that need no `Decimal`; None if there is no bid."""
        return self._bids.best

    @property
    def best_ask_units(self) -> int | None:
        """Price of the best ask in units of 10**-18, for callers that need no `Decimal`; None if there is no ask."""
        return self._asks.best

    def best_bid(self) -> Level | None:
        """Return the highest known bid; None if there is none."""
        return self._first(self._bids)

    def best_ask(self) -> Level | None:
        """Return the lowest known ask; None if there is none."""
        return self._first(self._asks)

    def spread(self) -> Decimal | None:
        """Return best ask minus best bid, exact; None if a side is empty."""
        bid, ask = self._bids.best, self._asks.best
        return None if bid is None or ask is None else exact_decimal(ask - bid)

    def mid(self) -> Decimal | None:
        """Return the midpoint of best bid and best ask, exact; None if a side is empty."""
        bid, ask = self._bids.best, self._asks.best
        return None if bid is None or ask is None else exact_decimal((ask + bid) * 5, SCALE + 1)

    def microprice(self) -> Decimal | None:
        """Return the midpoint weighted by the best quantities, each price by the quantity of the other side; None if a side is empty.

        Rounded to 38 significant digits, because a quotient may not terminate.
        """
        bid, ask = self.best_bid(), self.best_ask()
        if bid is None or ask is None:
            return None
        bid_price, bid_quantity = to_units(bid.price), to_units(bid.quantity)
        ask_price, ask_quantity = to_units(ask.price), to_units(ask.quantity)
        weighted = bid_price * ask_quantity + ask_price * bid_quantity
        return quotient(exact_decimal(weighted, 2 * SCALE), exact_decimal(bid_quantity + ask_quantity))

    def imbalance(self, levels: int = 1) -> Decimal | None:
        """Return (bids - asks) / (bids + asks) of the quantities in the best levels of each side: -1 to 1, positive if bids prevail.

        None if a side is empty. Rounded to 38 significant digits, because a quotient may not terminate.

        Args:
            levels: number of levels per side, 1 or more; all of a side that has fewer.

        Raises:
            BookError: `levels` is below 1, or one of these levels lies beyond the coverage.

        """
        if levels < 1:
            raise BookError(f"an imbalance of {levels} levels cannot be; ask for 1 or more")
        bids, asks = quantity_of_best(self._bids, levels), quantity_of_best(self._asks, levels)
        if not bids or not asks:
            return None
        return quotient(exact_decimal(bids - asks), exact_decimal(bids + asks))

    def checksum(self, levels: int | None = CHECKSUM_LEVELS) -> int:
        """Return the CRC-32 (`zlib.crc32`) of the best levels, the same in every process and version.

        The input is the ASCII text `bids|asks`: each side best level first, a level as `price:quantity`, commas between levels, numbers
        as in `to_lines`. Example: `100:1,99:2|101:3` gives 2018059872. Levels beyond the coverage are excluded: one correct reader may
        know some that another does not. If coverages differ, compare only as many levels as both know (`known_levels`).

            >>> book = OrderBook()
            >>> book.apply_text([("100", "1"), ("99", "2")], [("101", "3")])
            True
            >>> book.checksum()
            2018059872

        Args:
            levels: maximum number of levels per side; None for all within the coverage.

        Raises:
            BookError: `levels` is negative.

        """
        sides = (_lines(self._bids.known(levels)), _lines(self._asks.known(levels)))
        text = "|".join(",".join(f"{price}:{quantity}" for price, quantity in side) for side in sides)
        return crc32(text.encode("ascii"))

    def to_record(self, limit: int | None = None) -> dict[str, Any]:
        """Return the BookSnapshot fields that a book knows: `bids` and `asks`, best first, and whether each side is complete.

        Numbers are `Decimal`s, as `RecordStream` gives and `Codec.rows` takes them. The caller adds the other fields (symbol, ids,
        offset). A reader of the record takes the last level of an incomplete side as the edge of its coverage, so levels beyond the
        coverage are left out, and a side cut by `limit` is marked incomplete. A book made by `from_record` never knows more than this
        one; it knows less if the level at the edge of the coverage is gone. `copy` and `pickle` lose nothing.

        Args:
            limit: maximum number of levels per side; None for all within the coverage.

        Raises:
            BookError: `limit` is negative.

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
        """Return the book of a BookSnapshot or BookTop record, as `RecordStream` or any Avro library decodes it.

        A BookTop does not say whether the exchange has more levels, so each side is known down to its last level only.

        Args:
            record: the record's fields; prices and quantities as `Decimal`, text, or Avro's bytes at scale 18.

        Raises:
            BookError: a field is missing, a number is invalid, or the levels form no valid book (see `snapshot`).

        """
        bids, asks = levels_of_record(record, "bids"), levels_of_record(record, "asks")
        book = cls()
        book.load(bids, asks, record.get("bids_complete", not bids), record.get("asks_complete", not asks))
        return book

    def float_arrays(self, limit: int | None = None) -> tuple[Any, Any]:
        """Return bids and asks, best first, as NumPy float64 arrays of shape (levels, 2): price, quantity. Copies, for analytics.

        Each number is rounded to the nearest float64. Needs NumPy (extra `numpy`).

        Args:
            limit: maximum number of levels per side; None for every known level, as in `depth`.

        Raises:
            BookError: `limit` is negative.
            UsageError: NumPy is not installed.

        """
        bids, asks = self.depth_units(limit)
        return float_array(bids), float_array(asks)

    def exact_arrays(self, limit: int | None = None) -> tuple[Any, Any]:
        """Return bids and asks like `float_arrays`, but exact: arrays of dtype object that hold `Decimal`s.

        Args:
            limit: maximum number of levels per side; None for every known level, as in `depth`.

        Raises:
            BookError: `limit` is negative.
            UsageError: NumPy is not installed.
        """
        bids, asks = self.depth(limit)
        return exact_array(bids), exact_array(asks)

    def depth(self, limit: int | None = None) -> tuple[list[Level], list[Level]]:
        """Return bids and asks, best first, with no level missing in between if there is a limit.

        If a side has fewer levels than `limit`, these are all its levels, or all known ones if `coverage` names a price for that side;
        `known_levels` counts them.

        Args:
            limit: maximum number of levels per side; None for every known level, including isolated ones beyond the coverage, between
                which others may be missing.

        Raises:
            BookError: `limit` is negative.

        """
        bids, asks = self.depth_units(limit)
        return [level_of_units(*units) for units in bids], [level_of_units(*units) for units in asks]

    def depth_units(self, limit: int | None = None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return the levels of `depth` as (price, quantity) in units of 10**-18."""
        if limit is None:
            return self._bids.best_levels(None), self._asks.best_levels(None)
        return self._bids.known(limit), self._asks.known(limit)

    def to_lines(self, limit: int | None = None) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return the levels of `depth` as plain decimal strings: no trailing zeros, no exponent."""
        bids, asks = self.depth_units(limit)
        return _lines(bids), _lines(asks)

    @property
    def known_levels(self) -> KnownLevels:
        """Number of levels per side that are known without a gap from the best level down: the most that `depth` with a limit gives."""
        return KnownLevels(len(self._bids.known(None)), len(self._asks.known(None)))

    def level(self, side: Side, price: Decimal | int | str) -> Level | None:
        """Return the level at exactly this price; None if there is none.

        Args:
            side: the side to look at.
            price: in the quote asset, exact: a `float` is refused.

        Raises:
            BookError: the price lies beyond the coverage and no level is known there, or it is no exact decimal.
        """
        half, units = self._half(side), to_units(price)
        quantity = half.quantity_at(units)
        if quantity is not None:
            return level_of_units(units, quantity)
        if not half.covers(units):
            raise beyond_coverage(half, f"the {side.value} at {plain(units)}")
        return None

    def volume_to(self, price: Decimal | int | str, side: Side) -> Decimal:
        """Return the total quantity (base asset) from the best level to a price, inclusive.

        Args:
            price: the last price that counts, in the quote asset. It need not be a level.
            side: the side to add up.

        Raises:
            BookError: the price lies beyond the coverage, or is no exact decimal.
        """
        return exact_decimal(quantity_to(self._half(side), to_units(price)))

    def price_for(self, quantity: Decimal | int | str, side: Side) -> Fill:
        """Return the cost of taking a quantity from one side, without fees.

        Args:
            quantity: in the base asset, exact: a `float` is refused.
            side: `Side.ASK` to buy, `Side.BID` to sell.

        Raises:
            BookError: the quantity is not positive, the side holds less, or filling it would need levels beyond the
                coverage.
        """
        return fill_of(self._half(side), to_units(quantity))

    @property
    def is_crossed(self) -> bool:
        """Whether best bid >= best ask. The exchange never publishes a crossed book, so an update was missed."""
        bid, ask = self._bids.best, self._asks.best
        return bid is not None and ask is not None and bid >= ask

    @property
    def is_exhausted(self) -> bool:
        """Whether a truncated side has no level left within its coverage: an unknown level may be the best."""
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
        """Return whether this book is known at least as far as the other on both sides, and further on one."""
        pairs = [(self._bids.edge_key, other._bids.edge_key), (self._asks.edge_key, other._asks.edge_key)]
        # A lower key lies deeper; None means that the whole side is known.
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
