"""What was read and what of it was given: batches wait unapplied, and each event happens when it is taken. Sans I/O."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from backpack_streams.books.conflation import Latest

__all__ = ["Delivery", "OfMarket"]


class OfMarket(Protocol):
    """An event of one market."""

    @property
    def symbol(self) -> str:
        """The market."""


_Event = TypeVar("_Event", bound=OfMarket)


class Delivery(Generic[_Event]):
    """A bounded queue of batches, in the order in which they were read. Iterating over a batch applies it, event by event.

    `take` gives one event after the other, so what its market shows then is what that event made of it. `pass_over` applies a whole batch
    for which nobody waits; the last event of each market is kept, and given before anything else. What is half given stays here: whoever
    leaves and comes back goes on where he was.
    """

    def __init__(
        self, most_records: int, on_applied: Callable[[], None], on_error: Callable[[Exception], None]
    ) -> None:
        """Prepare. `on_applied` is called after each batch, `on_error` if applying one fails: that is never repaired by going on."""
        self._most = most_records
        self._on_applied = on_applied
        self._on_error = on_error
        self._waiting: deque[tuple[Iterator[_Event], int]] = deque()
        self.records = 0
        """Of how many records the batches are that are not applied, or not to their end."""
        self._current: Iterator[_Event] | None = None
        self._latest: Latest[_Event] = Latest()
        self._has_latest = False

    @property
    def room(self) -> int:
        """How many more records may be read."""
        return max(0, self._most - self.records)

    @property
    def is_applied(self) -> bool:
        """Whether every batch has been applied."""
        return self._current is None and not self._waiting

    @property
    def is_given(self) -> bool:
        """Whether nothing is left to give."""
        return self.is_applied and not self._has_latest

    @property
    def replaced(self) -> int:
        """Events that were never given since a newer one of their market came."""
        return self._latest.replaced

    def put(self, events: Iterator[_Event], records: int) -> None:
        """Take a batch that was made of so many records."""
        self._waiting.append((events, records))
        self.records += records

    def put_aside(self, event: _Event) -> None:
        """Take an event that has happened; it is given unless a newer one of its market comes before that."""
        self._latest.put(event.symbol, event)
        self._has_latest = True

    def begin(self) -> bool:
        """Go on to the next batch if the last has been given; False where there is none and nothing was put aside."""
        if self._current is None and self._waiting:
            self._current = self._applying(*self._waiting.popleft())
        return self._current is not None or self._has_latest

    def take(self) -> _Event | None:
        """Apply and give the next event; None at the end of the batch."""
        if self._has_latest:
            event = self._latest.take()
            self._has_latest = bool(len(self._latest))
            return event
        current = self._current
        return None if current is None else next(current, None)

    def batch(self) -> Iterator[_Event]:
        """All events up to the end of the batch."""
        if self._current is None or self._has_latest:
            return iter(self.take, None)
        return self._current

    def pass_over(self) -> bool:
        """Apply the rest of the batch, or the next one, and keep the last event of each market; False where there is none."""
        if self._current is None and not self._waiting:
            return False
        self.begin()
        for event in self._current or ():
            self.put_aside(event)
        return True

    def _applying(self, events: Iterator[_Event], records: int) -> Iterator[_Event]:
        try:
            yield from events
        except Exception as error:  # whatever it was, the books stand in the middle of a batch; it is raised again
            self._on_error(error)
            raise
        self.records -= records
        self._current = None
        self._on_applied()
