"""Updates that come before the one they follow on, as from two producers side by side: they wait a moment for it. Sans I/O."""

from collections.abc import Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

__all__ = ["EARLY_AT_MOST", "EARLY_PATIENCE_SECONDS", "EarlyUpdates"]

EARLY_PATIENCE_SECONDS: Final = 0.3
"""So long another producer may still bring what is missing before an update; as long as a producer waits for its other socket."""
EARLY_AT_MOST: Final = 1_000
"""Updates of one market that wait, at most."""


Levels = list[tuple[int, int]]
"""Prices and quantities."""
Update = tuple[int, int, int | None, Levels, Levels]
"""First and last update id, engine time, bids, asks."""
OutcomeT = TypeVar("OutcomeT")
OutcomeT_co = TypeVar("OutcomeT_co", covariant=True)


class Market(Protocol[OutcomeT_co]):
    """What takes updates: a `MarketBook`, or what stands for one."""

    @property
    def symbol(self) -> str:
        """Its name."""

    def is_early(self, first_id: int) -> bool:
        """Whether an update that begins with this id leaves a hole."""

    def on_update(
        self, first_id: int, last_id: int, engine_time: int | None, bids: Levels, asks: Levels
    ) -> OutcomeT_co:
        """Take one update."""


MarketT = TypeVar("MarketT", bound=Market[Any])


class _Waiting(Generic[MarketT]):
    __slots__ = ("due", "market", "updates")

    def __init__(self, market: MarketT, due: float) -> None:
        self.market = market
        self.due = due
        self.updates: list[Update] = []


class EarlyUpdates(Generic[MarketT, OutcomeT]):
    """What waits of each market. Meanwhile its book stays at the update before: right as of that one, and `LIVE`.

    Once what is missing has come, or the patience is over, everything goes to the book, which judges it.
    Times are seconds of any one clock.
    """

    __slots__ = ("_doubled", "_waiting")

    def __init__(self, *, of_all: bool = True) -> None:
        """Prepare; without `of_all` updates wait of those markets alone that more than one producer is known to bring."""
        self._waiting: dict[str, _Waiting[MarketT]] = {}
        self._doubled: set[str] | None = None if of_all else set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._waiting

    def expect_second(self, symbol: str) -> None:
        """An update of this market came twice: more than one producer brings it."""
        if self._doubled is not None:
            self._doubled.add(symbol)

    def offer(self, market: MarketT, update: Update, now: float) -> Iterator[OutcomeT]:
        """Take an update that is early, or any of a market of which some wait; yields what became of those that went to the book."""
        waiting = self._waiting.get(market.symbol)
        if market.is_early(update[0]) and (self._doubled is None or market.symbol in self._doubled):
            if waiting is None:
                waiting = self._waiting[market.symbol] = _Waiting(market, now + EARLY_PATIENCE_SECONDS)
            waiting.updates.append(update)
            if len(waiting.updates) > EARLY_AT_MOST:
                yield from self.give_up(market)
            return
        yield market.on_update(*update)
        if waiting is not None:
            yield from self._follow(waiting)

    def reached_by(self, market: MarketT, seed_id: int) -> bool:
        """Whether a snapshot up to this id goes as far as what is missing."""
        waiting = self._waiting.get(market.symbol)
        return waiting is not None and min(update[0] for update in waiting.updates) <= seed_id + 1

    def give_up(self, market: MarketT) -> Iterator[OutcomeT]:
        """Hand everything that waits to the book, in order."""
        waiting = self._waiting.pop(market.symbol, None)
        if waiting is not None:
            for update in sorted(waiting.updates, key=lambda update: update[0]):
                yield market.on_update(*update)

    def forget(self, market: MarketT) -> None:
        """Drop what waits of a market."""
        self._waiting.pop(market.symbol, None)

    def due(self, now: float) -> Iterator[tuple[MarketT, OutcomeT]]:
        """Give up on what has waited for long enough."""
        for waiting in list(self._waiting.values()):
            if now >= waiting.due:
                for outcome in self.give_up(waiting.market):
                    yield waiting.market, outcome

    def _follow(self, waiting: _Waiting[MarketT]) -> Iterator[OutcomeT]:
        market = waiting.market
        waiting.updates.sort(key=lambda update: update[0])
        taken = 0
        for update in waiting.updates:
            if market.is_early(update[0]):
                break
            taken += 1
            yield market.on_update(*update)
        del waiting.updates[:taken]
        if not waiting.updates:
            self._waiting.pop(market.symbol, None)
