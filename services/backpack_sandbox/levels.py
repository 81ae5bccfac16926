"""One side of a synthetic order book: quantities by price tick, and the best price."""

_SEARCH_TICKS = 64


class Side:
    """One side of a book, prices in ticks and quantities in steps.

    Args:
        sign: 1 for bids (the best is the highest), -1 for asks (the best is the lowest).

    Attributes:
        levels: quantity by tick, in no order.
        best: tick of the best level; 0 while the side is empty.
    """

    __slots__ = ("best", "levels", "sign")

    def __init__(self, sign: int) -> None:
        self.sign = sign
        self.levels: dict[int, int] = {}
        self.best = 0

    def put(self, tick: int, quantity: int) -> int:
        """Set a level's quantity in steps; 0 deletes it. Return the previous quantity."""
        levels = self.levels
        old = levels.get(tick, 0)
        if quantity:
            levels[tick] = quantity
            if not self.best or (tick - self.best) * self.sign > 0:
                self.best = tick
        elif old:
            del levels[tick]
            if tick == self.best:
                self.best = self._next_best(tick)
        return old

    def farthest(self) -> int:
        """Return the tick farthest from the touch; the side must not be empty."""
        return min(self.levels) if self.sign > 0 else max(self.levels)

    def best_first(self) -> list[tuple[int, int]]:
        """Return all levels as (tick, quantity), best first."""
        return sorted(self.levels.items(), reverse=self.sign > 0)

    def _next_best(self, tick: int) -> int:
        levels, sign = self.levels, self.sign
        if not levels:
            return 0
        for candidate in range(tick - sign, tick - sign * _SEARCH_TICKS, -sign):
            if candidate in levels:
                return candidate
        return max(levels) if sign > 0 else min(levels)
