"""One side of an order book: its quantities by price, best price at hand, and how far the side is known."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator

from backpack_streams.books.units import plain
from backpack_streams.errors import BookError

__all__ = ["BookSide"]


class BookSide:
    """Levels of one side, prices and quantities as integers in units of 10**-18.

    A sorted list holds one key a level, the price of a bid and the negated price of an ask: so on both sides the
    greater key is the better price and the touch is the last element, where changes are frequent and cheap.
    """

    __slots__ = ("_is_bid", "_quantities", "edge_key", "keys")

    def __init__(self, is_bid: bool) -> None:
        self._is_bid = is_bid
        self._quantities: dict[int, int] = {}
        self.keys: list[int] = []
        """One key a level, ascending."""
        self.edge_key: int | None = None
        """Key of the deepest level of a truncated seed; None: the whole side is known."""

    def __len__(self) -> int:
        return len(self.keys)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BookSide):
            return NotImplemented
        return self._is_bid == other._is_bid and self._quantities == other._quantities

    __hash__ = None  # type: ignore[assignment]  # mutable, as a list is; `object` declares a method

    def seeded(self, levels: Iterable[tuple[int, int]], complete: bool) -> "BookSide":
        """Return a new side of these levels; a quantity of zero means no level.

        Raises:
            BookError: a negative quantity, a price given twice, or a truncated side without any level.

        """
        side = BookSide(self._is_bid)
        for price, quantity in levels:
            if quantity < 0:
                raise BookError(f"{self._name} at {plain(price)} has the negative quantity {plain(quantity)}")
            if quantity:
                if price in side._quantities:
                    raise BookError(f"{self._name} at {plain(price)} is given twice")
                side._quantities[price] = quantity
        side.keys = sorted(side._quantities if self._is_bid else (-price for price in side._quantities))
        if not complete:
            if not side.keys:
                raise BookError(f"the {self._name}s are truncated yet hold no level")
            side.edge_key = side.keys[0]
        return side

    def apply(self, levels: Iterable[tuple[int, int]]) -> None:
        """Set absolute quantities; zero deletes, and deleting an unknown level is no error.

        Raises:
            BookError: a negative quantity; the levels before it are applied.

        """
        quantities = self._quantities
        keys = self.keys
        is_bid = self._is_bid
        for price, quantity in levels:
            if quantity > 0:
                if price not in quantities:
                    insort(keys, price if is_bid else -price)
                quantities[price] = quantity
            elif quantity:
                raise BookError(f"{self._name} at {plain(price)} has the negative quantity {plain(quantity)}")
            elif quantities.pop(price, None) is not None:
                del keys[bisect_left(keys, price if is_bid else -price)]

    def copy(self) -> "BookSide":
        """Return an independent side with the same levels and edge."""
        side = BookSide(self._is_bid)
        side.keys = self.keys.copy()
        side._quantities = self._quantities.copy()
        side.edge_key = self.edge_key
        return side

    @property
    def best(self) -> int | None:
        """The best price known, None without any level."""
        if not self.keys:
            return None
        return self._price(self.keys[-1])

    @property
    def edge(self) -> int | None:
        """The deepest price up to which every level is known; None: the whole side is."""
        return None if self.edge_key is None else self._price(self.edge_key)

    @property
    def is_exhausted(self) -> bool:
        """Whether all of the covered prices are empty, so that a better level than `best` may exist unseen."""
        edge_key = self.edge_key
        return edge_key is not None and (not self.keys or self.keys[-1] < edge_key)

    def covers(self, price: int) -> bool:
        """Whether absence of a level at this price means that there is none."""
        return self.edge_key is None or (price if self._is_bid else -price) >= self.edge_key

    def quantity_at(self, price: int) -> int | None:
        """Return the quantity at a price, None where no level is known."""
        return self._quantities.get(price)

    def best_first(self) -> Iterator[tuple[int, int]]:
        """Walk (price, quantity) from the touch outwards; the side must not change meanwhile."""
        quantities = self._quantities
        for key in reversed(self.keys):
            price = self._price(key)
            yield price, quantities[price]

    @property
    def _name(self) -> str:
        return "bid" if self._is_bid else "ask"

    def _price(self, key: int) -> int:
        return key if self._is_bid else -key
