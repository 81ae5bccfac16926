"""Keeps the latest event of each market for a consumer that is slower than the markets, so that no queue grows. Sans I/O."""

from typing import Generic, TypeVar

__all__ = ["Latest"]

_Item = TypeVar("_Item")


class Latest(Generic[_Item]):
    """Holds the newest item of each market; markets come out in the order of their first change."""

    def __init__(self) -> None:
        self._items: dict[str, _Item] = {}
        self.replaced = 0
        """Number of items that were replaced by a newer one of their market and never given."""

    def __len__(self) -> int:
        return len(self._items)

    def put(self, symbol: str, item: _Item) -> None:
        """Store the newest item of a market; it replaces a waiting one and keeps its turn.

        Args:
            symbol: the market.
            item: its newest item.
        """
        self.replaced += symbol in self._items
        self._items[symbol] = item

    def take(self) -> _Item:
        """Return the item of the market that has waited longest.

        Raises:
            KeyError: there is none.
        """
        return self._items.pop(next(iter(self._items), ""))
