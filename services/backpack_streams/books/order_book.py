"""An order book without I/O: absolute updates in, exact prices, depths and costs out."""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from itertools import islice
from typing import Any, NamedTuple, Self
from zlib import crc32

from backpack_streams.books.arrays import exact_array, float_array
from backpack_streams.books.book_levels import TextLevels, UnitLevels, checked_levels, units_of_text
from backpack_streams.books.book_side import BookSide
from backpack_streams.books.changes import ChangeNotes, Changes
from backpack_streams.books.record_levels import levels_of_record, record_levels
from backpack_streams.books.units import SCALE, exact_decimal, plain, to_units
from backpack_streams.errors import BookError

__all__ = ["CHECKSUM_LEVELS", "Coverage", "Fill", "Level", "OrderBook", "Side"]

CHECKSUM_LEVELS = 20
"""Levels a side in a checksum unless told otherwise: as many as a BookTop record holds."""
_QUOTIENT = Context(prec=38, rounding=ROUND_HALF_EVEN)


class Side(Enum):
    """A side of the book: the resting orders that are meant, not the direction of whoever takes them."""

    BID = "bid"
    ASK = "ask"


class Level(NamedTuple):
    """One price and the whole quantity that rests there."""

    price: Decimal
    quantity: Decimal


class Coverage(NamedTuple):
    """How far each side is known: None for the whole side, else the deepest price of the truncated seed.

    Beyond that price only the levels that changed since the seed are known.
    """

    bids: Decimal | None
    asks: Decimal | None


class Fill(NamedTuple):
    """What taking a quantity from one side costs.

    `quantity` and `cost` (quote asset) are exact; `average_price` is their quotient to 38 significant digits,
    since it need not terminate; `worst_price` is the price of the deepest level touched.
    """

    quantity: Decimal
    cost: Decimal
    average_price: Decimal
    worst_price: Decimal


class OrderBook:
    """Levels keyed by value; integers in units of 10**-18 go in, `Decimal` comes out.

    The class holds no sequence and no status: `MarketBook` decides what is applied and whether the result can be
    trusted. Where a truncated side `is_exhausted`, the best level known need not be the best there is.
    Two books are equal if all their levels are, whatever their coverage.
    """

    __slots__ = ("_asks", "_bids", "_notes")

    def __init__(self) -> None:
        self._bids = BookSide(is_bid=True)
        self._asks = BookSide(is_bid=False)
        self._notes: ChangeNotes | None = None

    def __len__(self) -> int:
        """Count the levels of both sides."""
        return len(self._bids) + len(self._asks)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OrderBook):
            return NotImplemented
        return self._bids == other._bids and self._asks == other._asks

    __hash__ = None  # type: ignore[assignment]  # mutable, as a list is; `object` declares a method

    def __repr__(self) -> str:
        return f"<OrderBook {len(self._bids)} bids, {len(self._asks)} asks, {self.best_bid()} / {self.best_ask()}>"

    def seed(
        self,
        bids: UnitLevels,
        asks: UnitLevels,
        bids_complete: bool = True,
        asks_complete: bool = True,
    ) -> None:
        """Replace everything by a snapshot, its levels in any order.

        A side that is not complete was cut off by the snapshot's limit: its deepest level becomes its coverage.

        Raises:
            BookError: the snapshot is crossed, gives a price twice or a quantity below zero, or has a truncated
                side without any level. The book is then as it was.

        """
        new_bids = self._bids.seeded(bids, bids_complete)
        new_asks = self._asks.seeded(asks, asks_complete)
        bid, ask = new_bids.best, new_asks.best
        if bid is not None and ask is not None and bid >= ask:
            raise BookError(f"crossed: best bid {plain(bid)}, best ask {plain(ask)}")
        self._bids, self._asks = new_bids, new_asks
        if self._notes is not None:
            self._notes.reset()

    def apply(self, bids: UnitLevels, asks: UnitLevels) -> bool:
        """Apply one update: absolute quantities, zero deletes, an unknown level may be deleted.

        Returns True if the touch can still be relied on: not crossed, no truncated side exhausted.

        Raises:
            BookError: a quantity below zero or a number of more than 38 digits; a part of the update may be applied.

        """
        if self._notes is None:
            is_sound = self._bids.update(self._asks, bids, asks, False)
            if is_sound is not None:
                return is_sound
        return self._apply_with_care(bids, asks)

    def apply_text(self, bids: TextLevels, asks: TextLevels) -> bool:
        """Do what `apply` does with levels as the exchange writes them: `[("86700.0", "0.00123"), ...]`.

        Raises:
            BookError: as `apply`, and for a text that is no decimal number of at most 18 decimal places.

        """
        if self._notes is None:
            is_sound = self._bids.update(self._asks, bids, asks, True)
            if is_sound is not None:
                return is_sound
        return self._apply_with_care(units_of_text(bids, "bid"), units_of_text(asks, "ask"))

    def _apply_with_care(self, bids: UnitLevels, asks: UnitLevels) -> bool:
        """Whatever is not as always, and every update while changes are noted."""
        new_bids, new_asks = checked_levels(bids, "bid"), checked_levels(asks, "ask")
        if self._notes is not None:
            self._notes.note(self._bids, new_bids, self._asks, new_asks)
        is_sound = self._bids.update(self._asks, new_bids, new_asks, False)
        if is_sound is None:
            raise BookError("an update of checked levels was not applied")  # both ways of keeping levels take those
        return is_sound

    def watch_changes(self) -> None:
        """Note from now on which levels change, for the one who calls `take_changes`; called again, it begins anew.

        Until this is called, noting costs nothing.
        """
        self._notes = ChangeNotes()

    def take_changes(self) -> Changes:
        """Return what has changed since it was last asked, however many updates and seeds that were.

        The first answer after `watch_changes`, and the one after a seed, `is_reset`: it holds every level there is.

        Raises:
            BookError: nobody called `watch_changes`.

        """
        if self._notes is None:
            raise BookError("this book notes no changes; call watch_changes() first")
        return self._notes.take(self._bids, self._asks)

    def copy(self) -> "OrderBook":
        """Return an independent book with the same levels and coverage. It notes no changes."""
        book = OrderBook()
        book._bids, book._asks = self._bids.copy(), self._asks.copy()
        return book

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
        return _quotient(exact_decimal(weighted, 2 * SCALE), exact_decimal(bid_quantity + ask_quantity))

    def imbalance(self, levels: int = 1) -> Decimal | None:
        """Return (bids - asks) / (bids + asks) of the quantities in the best `levels` of each side: -1 to 1, above 0 where bids prevail.

        None while a side is empty. To 38 significant digits, as a quotient need not terminate.

        Raises:
            BookError: fewer than one level asked for, or one of them lies beyond the coverage.

        """
        if levels < 1:
            raise BookError(f"an imbalance of {levels} levels cannot be; ask for 1 or more")
        bids, asks = (self._quantity_of_best(side, levels) for side in Side)
        if not bids or not asks:
            return None
        return _quotient(exact_decimal(bids - asks), exact_decimal(bids + asks))

    def checksum(self, levels: int | None = CHECKSUM_LEVELS) -> int:
        """Return the CRC-32 of the best levels, the same in every process and version; None takes all that are known.

        Of the ASCII text `bids|asks`: each side best level first, a level as `price:quantity`, commas between levels, numbers as
        `to_lines` writes them. Example: `100:1,99:2|101:3` is 2018059872.
        """
        sides = self.to_lines(levels)
        text = "|".join(",".join(f"{price}:{quantity}" for price, quantity in side) for side in sides)
        return crc32(text.encode("ascii"))

    def to_record(self, limit: int | None = None) -> dict[str, Any]:
        """Return the fields of a BookSnapshot that a book knows: `bids` and `asks`, best first, and whether each is complete.

        Numbers are `Decimal`s, as `RecordStream` gives and `Codec.rows` takes them. A side cut by `limit` is not complete. What
        else the record says (symbol, ids, offset) is the caller's to add.
        """
        bids, asks = self.depth(limit)
        return {
            "bids": record_levels(bids),
            "asks": record_levels(asks),
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
        """Return bids and asks, best first, at most `limit` of each; all that is known without a limit."""
        bids, asks = self.depth_units(limit)
        return [_level(*units) for units in bids], [_level(*units) for units in asks]

    def depth_units(self, limit: int | None = None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return what `depth` does as (price, quantity) in units of 10**-18."""
        if limit is not None and limit < 0:
            raise BookError(f"a depth of {limit} levels cannot be; ask for 0 or more")
        return self._bids.best_levels(limit), self._asks.best_levels(limit)

    def to_lines(self, limit: int | None = None) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Return what `depth` does as plain decimal strings: no trailing zeros, never an exponent."""
        bids, asks = self.depth_units(limit)
        return [(plain(p), plain(q)) for p, q in bids], [(plain(p), plain(q)) for p, q in asks]

    def level(self, side: Side, price: Decimal | int | str) -> Level | None:
        """Return the level at exactly this price, None if there is none.

        Raises:
            BookError: no level is known there and the price lies beyond the coverage, or it is no exact decimal.

        """
        half, units = self._half(side), to_units(price)
        quantity = half.quantity_at(units)
        if quantity is not None:
            return _level(units, quantity)
        if not half.covers(units):
            raise self._beyond(side, f"the {side.value} at {plain(units)}")
        return None

    def volume_to(self, price: Decimal | int | str, side: Side) -> Decimal:
        """Return the quantity that rests from the touch up to and including a price.

        Raises:
            BookError: the price lies beyond the coverage, or is no exact decimal.

        """
        half, limit = self._half(side), to_units(price)
        if not half.covers(limit):
            raise self._beyond(side, f"the volume to {plain(limit)}")
        total = 0
        for level_price, quantity in half.best_first():
            if (level_price < limit) if side is Side.BID else (level_price > limit):
                break
            total += quantity
        return exact_decimal(total)

    def price_for(self, quantity: Decimal | int | str, side: Side) -> Fill:
        """Return what it costs to take a quantity (base asset) from one side: `Side.ASK` to buy, `Side.BID` to sell.

        Raises:
            BookError: the quantity is not above zero, the side holds less, or it is reached only beyond the coverage.

        """
        half, wanted = self._half(side), to_units(quantity)
        if wanted <= 0:
            raise BookError(f"a quantity of {plain(wanted)} has no price; ask for one above zero")
        missing, cost = wanted, 0
        for price, resting in half.best_first():
            if not half.covers(price):
                raise self._beyond(side, f"the price for {plain(wanted)}")
            taken = min(resting, missing)
            cost += price * taken
            missing -= taken
            if not missing:
                total, base = exact_decimal(cost, 2 * SCALE), exact_decimal(wanted)
                return Fill(base, total, _quotient(total, base), exact_decimal(price))
        if half.edge is not None:
            raise self._beyond(side, f"the price for {plain(wanted)}")
        held = plain(wanted - missing)
        raise BookError(f"the {side.value}s hold {held}, less than the {plain(wanted)} asked for; ask for less")

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

    def _quantity_of_best(self, side: Side, levels: int) -> int:
        half, total, seen = self._half(side), 0, 0
        for price, quantity in islice(half.best_first(), levels):
            if not half.covers(price):
                break
            total += quantity
            seen += 1
        if seen < levels and half.edge is not None:
            raise self._beyond(side, f"the quantity of {levels} levels")
        return total

    def _half(self, side: Side) -> BookSide:
        return self._bids if side is Side.BID else self._asks

    def _beyond(self, side: Side, question: str) -> BookError:
        edge = self._half(side).edge
        known = "" if edge is None else plain(edge)
        return BookError(
            f"{question} lies beyond what the truncated seed knows of the {side.value}s (to {known}); "
            "ask nearer the touch or seed with more levels"
        )

    @staticmethod
    def _first(half: BookSide) -> Level | None:
        price = half.best
        if price is None:
            return None
        quantity = half.quantity_at(price)
        return None if quantity is None else _level(price, quantity)


def _level(price: int, quantity: int) -> Level:
    return Level(exact_decimal(price), exact_decimal(quantity))


def _quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    """To 38 significant digits; the dividend may have more of them and is not rounded before."""
    return _QUOTIENT.divide(dividend, divisor)
