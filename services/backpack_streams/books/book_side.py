"""One side of an order book: its levels, best price at hand, and how far the side is known."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

from backpack_streams.books.book_levels import PlainLevels, UnitLevels, checked_levels, compiled
from backpack_streams.books.units import plain
from backpack_streams.errors import BookError

__all__ = ["BookSide", "PlainSide"]

_CHUNK = 32


class _Questions(PlainLevels if TYPE_CHECKING else object):  # type: ignore[misc]  # either way of keeping levels comes after it
    """What a side can be asked, whatever holds its levels: prices and quantities are integers in units of 10**-18."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Questions):
            return NotImplemented
        return self.is_bid == other.is_bid and self.best_levels(None) == other.best_levels(None)

    __hash__ = None  # type: ignore[assignment]  # mutable, as a list is; `object` declares a method

    def seeded(self, levels: UnitLevels, complete: bool) -> Self:
        """Return a new side of these levels; a quantity of zero means no level.

        Raises:
            BookError: a negative quantity, a number of more than 38 digits, a price given twice, or a truncated side without any level.

        """
        quantities: dict[int, int] = {}
        for price, quantity in checked_levels(levels, self.name):
            if quantity:
                if price in quantities:
                    raise BookError(f"{self.name} at {plain(price)} is given twice")
                quantities[price] = quantity
        side = type(self)(self.is_bid)
        for price in sorted(quantities, reverse=not self.is_bid):  # the touch last: each finds its place at once
            side.put(price, quantities[price])
        if not complete:
            if not quantities:
                raise BookError(f"the {self.name}s are truncated yet hold no level")
            side.mark_edge()
        return side

    def restored(self, levels: list[tuple[int, int]], edge: int | None) -> Self:
        """Return a new side of these levels, best first, that is known down to `edge`; None: all of it is."""
        side = type(self)(self.is_bid)
        if edge is not None:  # the edge is marked at a level; there need not be one any more
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
        """The edge as a number that is lower the deeper it lies, on both sides; None: the whole side is known."""
        edge: int | None = self.edge
        return edge if edge is None or self.is_bid else -edge

    @property
    def is_exhausted(self) -> bool:
        """Whether all of the covered prices are empty, so that a better level than `best` may exist unseen."""
        best = self.best
        return self.edge is not None and (best is None or not self.covers(best))

    def covers(self, price: int) -> bool:
        """Whether absence of a level at this price means that there is none."""
        edge = self.edge
        return edge is None or (price >= edge if self.is_bid else price <= edge)

    def known(self, limit: int | None) -> list[tuple[int, int]]:
        """Return (price, quantity) from the touch outwards as far as no level can be missing between them; None for all of those.

        Raises:
            BookError: fewer than no levels are asked for.

        """
        if limit is not None and limit < 0:
            raise BookError(f"a depth of {limit} levels cannot be; ask for 0 or more")
        levels = self.best_levels(limit)
        if self.edge is not None:
            while levels and not self.covers(levels[-1][0]):
                levels.pop()
        return levels

    def best_levels(self, limit: int | None) -> list[tuple[int, int]]:
        """Return (price, quantity) from the touch outwards; None for all."""
        found: list[tuple[int, int]] = self.walk(0, len(self) if limit is None else min(limit, len(self)))
        return found

    def best_first(self) -> Iterator[tuple[int, int]]:
        """Walk (price, quantity) from the touch outwards; the side must not change meanwhile."""
        start = 0
        while chunk := self.walk(start, _CHUNK):
            yield from chunk
            start += len(chunk)

    @property
    def name(self) -> str:
        """Which side this is, in one word."""
        return "bid" if self.is_bid else "ask"


class PlainSide(_Questions, PlainLevels):
    """A side whose levels are kept in Python."""

    __slots__ = ()


if TYPE_CHECKING or compiled is None:
    BookSide = PlainSide
else:
    BookSide = type(
        "BookSide",
        (_Questions, compiled.Levels),
        {"__slots__": (), "__doc__": "A side whose levels are kept compiled."},
    )
