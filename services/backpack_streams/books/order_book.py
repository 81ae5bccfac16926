"""An order book without I/O: absolute updates in, exact prices, depths and costs out."""

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from itertools import islice
from typing import NamedTuple

from backpack_streams.books.book_side import BookSide
from backpack_streams.books.units import SCALE, exact_decimal, plain, to_units
from backpack_streams.errors import BookError

__all__ = ["Coverage", "Fill", "Level", "OrderBook", "Side"]

_AVERAGE = Context(prec=38, rounding=ROUND_HALF_EVEN)


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

    __slots__ = ("_asks", "_bids")

    def __init__(self) -> None:
        self._bids = BookSide(is_bid=True)
        self._asks = BookSide(is_bid=False)

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
        bids: Iterable[tuple[int, int]],
        asks: Iterable[tuple[int, int]],
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

    def apply(self, bids: Iterable[tuple[int, int]], asks: Iterable[tuple[int, int]]) -> bool:
        """Apply one update: absolute quantities, zero deletes, an unknown level may be deleted.

        Returns True if the touch can still be relied on: not crossed, no truncated side exhausted.

        Raises:
            BookError: a quantity below zero; what stood before it in the update is applied.

        """
        bid_side = self._bids
        ask_side = self._asks
        if bids:
            bid_side.apply(bids)
        if asks:
            ask_side.apply(asks)
        bid_keys = bid_side.keys
        ask_keys = ask_side.keys
        # The same as not (is_crossed or is_exhausted), spelt out because it runs on every update.
        return (
            (not bid_keys or not ask_keys or bid_keys[-1] + ask_keys[-1] < 0)
            and (bid_side.edge_key is None or (bool(bid_keys) and bid_keys[-1] >= bid_side.edge_key))
            and (ask_side.edge_key is None or (bool(ask_keys) and ask_keys[-1] >= ask_side.edge_key))
        )

    def copy(self) -> "OrderBook":
        """Return an independent book with the same levels and coverage."""
        book = OrderBook()
        book._bids, book._asks = self._bids.copy(), self._asks.copy()
        return book

    @property
    def best_bid_units(self) -> int | None:
        """The best bid's price in units of 10**-18, for callers that need no `Decimal`."""
        keys = self._bids.keys
        return keys[-1] if keys else None

    @property
    def best_ask_units(self) -> int | None:
        """The best ask's price in units of 10**-18, for callers that need no `Decimal`."""
        keys = self._asks.keys
        return -keys[-1] if keys else None

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

    def depth(self, limit: int | None = None) -> tuple[list[Level], list[Level]]:
        """Return bids and asks, best first, at most `limit` of each; all that is known without a limit."""
        bids, asks = self.depth_units(limit)
        return [_level(*units) for units in bids], [_level(*units) for units in asks]

    def depth_units(self, limit: int | None = None) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
        """Return what `depth` does as (price, quantity) in units of 10**-18."""
        if limit is not None and limit < 0:
            raise BookError(f"a depth of {limit} levels cannot be; ask for 0 or more")
        return list(islice(self._bids.best_first(), limit)), list(islice(self._asks.best_first(), limit))

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
                return Fill(base, total, _AVERAGE.divide(total, base), exact_decimal(price))
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
