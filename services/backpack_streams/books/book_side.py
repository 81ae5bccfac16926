"""One side of an order book: its levels with fast access to the best one, and its coverage."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from backpack_streams.books.book_levels import PlainLevels, UnitLevels, checked_levels, compiled
from backpack_streams.books.units import plain
from backpack_streams.errors import BookError

__all__ = ["BookSide", "PlainSide"]

_CHUNK = 32


class _Questions(PlainLevels if TYPE_CHECKING else object):  # type: ignore[misc]  # a mixin for both versions of levels
    """Queries on a side, for either version of levels; prices and quantities are integers in units of 10**-18."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Questions):
            return NotImplemented
        return self.is_bid == other.is_bid and self.best_levels(None) == other.best_levels(None)

    __hash__ = None  # type: ignore[assignment]  # mutable, like a list; `object` declares a method

    def loaded(self, levels: UnitLevels, complete: bool) -> Self:
        """Return a new side with these levels.

        Args:
            levels: (price, quantity) in units of 10**-18, in any order; a quantity of zero means no level.
            complete: whether these are all levels of the side. Otherwise the deepest one becomes the edge of the
                coverage.

        Raises:
            BookError: a quantity is negative, a number has more than 38 digits, a price repeats, or a truncated side
                has no level.
        """
        quantities: dict[int, int] = {}
        for price, quantity in checked_levels(levels, self.name):
            if quantity:
                if price in quantities:
                    raise BookError(f"{self.name} at {plain(price)} is given twice")
                quantities[price] = quantity
        side = type(self)(self.is_bid)
        for price in sorted(quantities, reverse=not self.is_bid):  # best last, so that each is appended at the end
            side.put(price, quantities[price])
        if not complete:
            if not quantities:
                raise BookError(f"the {self.name}s are truncated yet hold no level")
            side.mark_edge()
        return side

    def restored(self, levels: list[tuple[int, int]], edge: int | None) -> Self:
        """Return a new side with known levels and coverage.

        Args:
            levels: (price, quantity) in units of 10**-18, best first.
            edge: the price down to which the side is known, with or without a level there; None for the whole side.
        """
        side = type(self)(self.is_bid)
        if edge is not None:  # only a level can become the edge, and there may be none at this price any more
            side.put(edge, 1)
            side.mark_edge()
            side.put(edge, 0)
        for price, quantity in reversed(levels):
            side.put(price, quantity)
        return side

    def copy(self) -> Self:
        """Return an independent side with the same levels and edge."""
        side = type(self)(self.is_bid)
        side.take_copy(self)
        return side

    @property
    def edge_key(self) -> int | None:
        """The edge as a number that decreases with depth on both sides; None if the whole side is known."""
        edge: int | None = self.edge
        return edge if edge is None or self.is_bid else -edge

    @property
    def is_exhausted(self) -> bool:
        """Whether no level is left within the coverage, so that an unknown level may be better than `best`."""
        best = self.best
        return self.edge is not None and (best is None or not self.covers(best))

    def covers(self, price: int) -> bool:
        """Return whether the coverage includes this price, so that an unknown level there does not exist."""
        edge = self.edge
        return edge is None or (price >= edge if self.is_bid else price <= edge)

    def known(self, limit: int | None) -> list[tuple[int, int]]:
        """Return (price, quantity) from the best level outwards, as far as none can be missing in between.

        Args:
            limit: maximum number of levels; None for all within the coverage.

        Raises:
            BookError: `limit` is negative.
        """
        if limit is not None and limit < 0:
            raise BookError(f"a depth of {limit} levels cannot be; ask for 0 or more")
        levels = self.best_levels(limit)
        if self.edge is not None:
            while levels and not self.covers(levels[-1][0]):
                levels.pop()
        return levels

    def best_levels(self, limit: int | None) -> list[tuple[int, int]]:
        """Return (price, quantity) from the best level outwards, including levels beyond the coverage.

        Args:
            limit: maximum number of levels; None for all.
        """
        found: list[tuple[int, int]] = self.walk(0, len(self) if limit is None else min(limit, len(self)))
        return found

    def best_first(self) -> Iterator[tuple[int, int]]:
        """Yield (price, quantity) from the best level outwards; the side must not change meanwhile."""
        start = 0
        while chunk := self.walk(start, _CHUNK):
            yield from chunk
            start += len(chunk)

    @property
    def name(self) -> str:
        """The side as a word."""
        return "bid" if self.is_bid else "ask"


class PlainSide(_Questions, PlainLevels):
    """A side with the Python version of levels."""

    __slots__ = ()


if TYPE_CHECKING or compiled is None:
    BookSide = PlainSide
else:
    BookSide = type(
        "BookSide",
        (_Questions, compiled.Levels),
        {"__slots__": (), "__doc__": "A side whose levels are kept compiled."},
    )
