"""The latest of each market, for whoever is slower than the markets: nothing queues up. Sans I/O."""

from typing import Generic, TypeVar

__all__ = ["Latest"]

_Item = TypeVar("_Item")


class Latest(Generic[_Item]):
    """Holds one item a market, the newest; markets come out in the order in which they first changed."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self.replaced = 0
        """How many items were never given since a newer one of their market came."""

    def __len__(self) -> int:
        return len(self._items)

    def put(self, symbol: str, item: _Item) -> None:
        """Take the newest item of a market; one that waits makes room and keeps its turn."""
        self.replaced += symbol in self._items
        self._items[symbol] = item

    def take(self) -> _Item:
        """The item whose market has waited for longest.

        Raises:
            KeyError: there is none.
        """
        return self._items.pop(next(iter(self._items), ""))
