"""Compares two books of one market at one update id, level for level, as far as both are known."""

from typing import NamedTuple

from backpack_streams.books.order_book import OrderBook, Side
from backpack_streams.books.units import plain, to_units

__all__ = ["Comparison", "Difference", "compare"]


class Difference(NamedTuple):
    """A price at which two books differ. Numbers are in units of 10**-18.

    Attributes:
        side: the side of the level.
        price: in the quote asset.
        ours: our quantity, in the base asset; zero means that there is no level.
        theirs: the exchange's quantity, likewise.
    """

    side: Side
    price: int
    ours: int
    theirs: int

    def __str__(self) -> str:
        return f"{self.side.value} {plain(self.price)}: ours {plain(self.ours)}, the exchange's {plain(self.theirs)}"


class Comparison(NamedTuple):
    """Result of a comparison. `bids_to`, `asks_to`: deepest price (units of 10**-18) that both books know; None for the whole side."""

    differences: tuple[Difference, ...]
    """Bids first, best prices first."""
    compared_levels: int
    bids_to: int | None
    asks_to: int | None


def compare(ours: OrderBook, theirs: OrderBook) -> Comparison:
    """Compare two books that include the same updates, as far as both are known.

    Args:
        ours: the book built from Kafka.
        theirs: the exchange's book.

    Returns:
        The differences, and how far the comparison went. The levels of truncated sides count as far as both books cover
        them.
    """
    our_coverage, their_coverage = ours.coverage, theirs.coverage
    bids_to = _nearer(Side.BID, *(_units(each.bids) for each in (our_coverage, their_coverage)))
    asks_to = _nearer(Side.ASK, *(_units(each.asks) for each in (our_coverage, their_coverage)))
    (our_bids, our_asks), (their_bids, their_asks) = ours.depth_units(), theirs.depth_units()
    bid_prices, bid_differences = _differences(Side.BID, our_bids, their_bids, bids_to)
    ask_prices, ask_differences = _differences(Side.ASK, our_asks, their_asks, asks_to)
    return Comparison((*bid_differences, *ask_differences), bid_prices + ask_prices, bids_to, asks_to)


def _units(price: object) -> int | None:
    return None if price is None else to_units(str(price))


def _nearer(side: Side, one: int | None, other: int | None) -> int | None:
    """Return the common coverage: the edge nearer to the best price."""
    if one is None or other is None:
        return other if one is None else one
    return max(one, other) if side is Side.BID else min(one, other)


def _differences(
    side: Side, ours: list[tuple[int, int]], theirs: list[tuple[int, int]], edge: int | None
) -> tuple[int, list[Difference]]:
    """Return how many prices were compared, and the differences."""
    our_levels, their_levels = dict(ours), dict(theirs)
    prices = sorted(our_levels.keys() | their_levels.keys(), reverse=side is Side.BID)
    known = [price for price in prices if edge is None or (price >= edge if side is Side.BID else price <= edge)]
    pairs = ((price, our_levels.get(price, 0), their_levels.get(price, 0)) for price in known)
    return len(known), [Difference(side, *pair) for pair in pairs if pair[1] != pair[2]]
