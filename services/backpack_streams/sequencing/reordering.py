"""Holds messages that arrive early, from two sockets or two parallel producers, until the ones before them come. Sans I/O."""

from collections.abc import Callable, Iterator
from math import inf
from operator import itemgetter
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar

__all__ = ["EARLY_AT_MOST", "PATIENCE_SECONDS", "EarlyUpdates", "Held", "Reordering"]

PATIENCE_SECONDS: Final = 0.3
"""How long another socket or producer may still bring what is missing before a message."""
EARLY_AT_MOST: Final = 1_000
"""The most waiting updates of one market."""


T = TypeVar("T")


class Held(NamedTuple, Generic[T]):
    """A message that came before the ones that should precede it."""

    first_id: int
    last_id: int
    since: float
    """When it came (seconds of any one clock)."""
    item: T


_order = itemgetter(0, 1)


class Reordering(Generic[T]):
    """The messages of one sequence that wait for the ones before them."""

    __slots__ = ("_is_sorted", "held")

    def __init__(self) -> None:
        self.held: list[Held[T]] = []
        self._is_sorted = True

    def hold(self, message: Held[T]) -> None:
        """Keep an early message."""
        self._is_sorted = not self.held or (self._is_sorted and _order(self.held[-1]) <= _order(message))
        self.held.append(message)

    def released(
        self, has_come_to: Callable[[int], bool], now: float, patience_seconds: float, at_most: int
    ) -> Iterator[Held[T]]:
        """The messages whose turn has come, in the order of their ids: each as soon as the sequence `has_come_to` its first id.

        If the wait of the first one is over, or `at_most` or more wait, it is yielded although ids before it are missing. The caller
        advances the sequence between two messages.

        Args:
            has_come_to: whether the sequence has reached an id.
            now: seconds of the clock of `Held.since`.
            patience_seconds: the longest wait of a message.
            at_most: with this many waiting messages the first one goes out at once.
        """
        while self.held:
            if not self._is_sorted:
                self.held.sort(key=_order)
                self._is_sorted = True
            first = self.held[0]
            is_over = now >= first.since + patience_seconds or len(self.held) >= at_most
            if not is_over and not has_come_to(first.first_id):
                return
            yield self.held.pop(0)


Levels = list[tuple[int, int]]
"""Prices and quantities."""
Update = tuple[int, int, int | None, Levels, Levels]
"""First and last update id, engine time (µs), bids, asks."""
OutcomeT = TypeVar("OutcomeT")
OutcomeT_co = TypeVar("OutcomeT_co", covariant=True)


class Market(Protocol[OutcomeT_co]):
    """Takes updates: a `MarketBook` or a stand-in for one."""

    @property
    def symbol(self) -> str:
        """The market's symbol."""

    def is_early(self, first_id: int) -> bool:
        """Whether an update that begins with this id leaves a gap."""

    def on_update(
        self, first_id: int, last_id: int, engine_time: int | None, bids: Levels, asks: Levels
    ) -> OutcomeT_co:
        """Take one update."""


MarketT = TypeVar("MarketT", bound=Market[Any])


class _Waiting(Generic[MarketT]):
    __slots__ = ("market", "updates")

    def __init__(self, market: MarketT) -> None:
        self.market = market
        self.updates: Reordering[Update] = Reordering()


class EarlyUpdates(Generic[MarketT, OutcomeT]):
    """The waiting updates of each market. Meanwhile its book stays at the update before: exact as of that one, and `LIVE`.

    Once the missing updates have come, or the wait is over, everything goes to the book, which judges it. Times are seconds of any one
    clock.
    """

    __slots__ = ("_doubled", "_waiting")

    def __init__(self, *, of_all: bool = True) -> None:
        """Prepare. Without `of_all`, updates wait only for markets that more than one producer is known to publish."""
        self._waiting: dict[str, _Waiting[MarketT]] = {}
        self._doubled: set[str] | None = None if of_all else set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._waiting

    def expect_second(self, symbol: str) -> None:
        """An update of this market came twice: more than one producer publishes it."""
        if self._doubled is not None:
            self._doubled.add(symbol)

    def offer(self, market: MarketT, update: Update, now: float) -> Iterator[OutcomeT]:
        """Take an early update, or any update of a market with waiting ones.

        Yields the outcomes of the updates that were passed to the book.

        Args:
            market: the market's book.
            update: first and last update id, engine time (µs), bids, asks.
            now: seconds of the clock of the other calls.
        """
        waiting = self._waiting.get(market.symbol)
        if market.is_early(update[0]) and (self._doubled is None or market.symbol in self._doubled):
            if waiting is None:
                waiting = self._waiting[market.symbol] = _Waiting(market)
            waiting.updates.hold(Held(update[0], update[1], now, update))
        else:
            yield market.on_update(*update)
        if waiting is not None:
            yield from self._release(waiting, now)

    def reached_by(self, market: MarketT, snapshot_id: int) -> bool:
        """Whether a REST snapshot up to this id includes the updates that are missing."""
        waiting = self._waiting.get(market.symbol)
        return waiting is not None and min(held.first_id for held in waiting.updates.held) <= snapshot_id + 1

    def give_up(self, market: MarketT) -> Iterator[OutcomeT]:
        """Pass all waiting updates to the book, in order."""
        waiting = self._waiting.get(market.symbol)
        if waiting is not None:
            yield from self._release(waiting, inf)

    def forget(self, market: MarketT) -> None:
        """Drop the waiting updates of a market."""
        self._waiting.pop(market.symbol, None)

    def due(self, now: float) -> Iterator[tuple[MarketT, OutcomeT]]:
        """Pass on the updates whose wait is over."""
        for waiting in list(self._waiting.values()):
            for outcome in self._release(waiting, now):
                yield waiting.market, outcome

    def _release(self, waiting: _Waiting[MarketT], now: float) -> Iterator[OutcomeT]:
        market = waiting.market
        for held in waiting.updates.released(
            lambda first_id: not market.is_early(first_id), now, PATIENCE_SECONDS, EARLY_AT_MOST + 1
        ):
            yield market.on_update(*held.item)
        if not waiting.updates.held:
            self._waiting.pop(market.symbol, None)
