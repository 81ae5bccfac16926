"""Queue between reading and iteration: batches wait unapplied, and each event is applied when it is taken. Sans I/O."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, Protocol, TypeVar

from backpack_streams.books.conflation import Latest

__all__ = ["Delivery", "OfMarket"]


class OfMarket(Protocol):
    """An event of one market."""

    @property
    def symbol(self) -> str:
        """The market's symbol."""


_Event = TypeVar("_Event", bound=OfMarket)


class Delivery(Generic[_Event]):
    """A bounded queue of batches, in the order in which they were read. Iterating over a batch applies it, event by event.

    `take` gives one event at a time, so that its market shows the state right after it. `pass_over` applies a whole batch that no
    iteration waits for; it keeps the last event of each market and gives these first. A half-given batch stays here, so an iteration that
    leaves and comes back resumes where it was.
    """

    def __init__(
        self, most_records: int, on_applied: Callable[[], None], on_error: Callable[[Exception], None]
    ) -> None:
        """Create an empty queue.

        Args:
            most_records: number of unapplied records at which `room` is 0.
            on_applied: called after the last event of each batch was applied.
            on_error: called with the error if applying a batch fails. The books are then in the middle of a batch, so
                there is no recovery.
        """
        self._most = most_records
        self._on_applied = on_applied
        self._on_error = on_error
        self._waiting: deque[tuple[Iterator[_Event], int]] = deque()
        self.records = 0
        """Number of records in the batches that are not fully applied."""
        self._current: Iterator[_Event] | None = None
        self._latest: Latest[_Event] = Latest()
        self._has_latest = False

    @property
    def room(self) -> int:
        """Number of further records that may be read."""
        return max(0, self._most - self.records)

    @property
    def is_applied(self) -> bool:
        """Whether every batch has been applied."""
        return self._current is None and not self._waiting

    @property
    def is_given(self) -> bool:
        """Whether no event is left to give."""
        return self.is_applied and not self._has_latest

    @property
    def replaced(self) -> int:
        """Number of events that were replaced by a newer one of their market and never given."""
        return self._latest.replaced

    def put(self, events: Iterator[_Event], records: int) -> None:
        """Append a batch.

        Args:
            events: applies the batch, event by event, as it is iterated over.
            records: number of Kafka records that the batch was made of.
        """
        self._waiting.append((events, records))
        self.records += records

    def put_aside(self, event: _Event) -> None:
        """Keep an event that has been applied; it is given unless a newer one of its market replaces it."""
        self._latest.put(event.symbol, event)
        self._has_latest = True

    def begin(self) -> bool:
        """Advance to the next batch if the last has been given; False if there is neither a batch nor a kept event."""
        if self._current is None and self._waiting:
            self._current = self._applying(*self._waiting.popleft())
        return self._current is not None or self._has_latest

    def take(self) -> _Event | None:
        """Apply and return the next event; None at the end of the batch.

        Raises:
            Exception: whatever applying the event raised; `on_error` was called with it first.
        """
        if self._has_latest:
            event = self._latest.take()
            self._has_latest = bool(len(self._latest))
            return event
        current = self._current
        return None if current is None else next(current, None)

    def batch(self) -> Iterator[_Event]:
        """Return an iterator over all events up to the end of the batch."""
        if self._current is None or self._has_latest:
            return iter(self.take, None)
        return self._current

    def pass_over(self) -> bool:
        """Apply the rest of the batch, or the next one, and keep the last event of each market; False if there is none."""
        if self._current is None and not self._waiting:
            return False
        self.begin()
        for event in self._current or ():
            self.put_aside(event)
        return True

    def _applying(self, events: Iterator[_Event], records: int) -> Iterator[_Event]:
        try:
            yield from events
        except Exception as error:  # any error leaves the books in the middle of a batch; it is raised again
            self._on_error(error)
            raise
        self.records -= records
        self._current = None
        self._on_applied()
