"""What a `BookStream` reads, batch by batch: a past, the present, or one after the other."""

from collections.abc import AsyncGenerator, Callable, Iterator

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.live_reading import LiveReading
from backpack_streams.books.past_books import PastBooks
from backpack_streams.books.reading_task import Batch

__all__ = ["PastSource", "StreamSource"]


class PastSource:
    """A past as batches, each of which is applied before the next is read."""

    def __init__(self, past: PastBooks) -> None:
        self._past = past
        self._rounds: AsyncGenerator[Iterator[BookUpdate], None] | None = None
        self.is_at_moment = False
        """Whether the books have come to the moment."""

    def resume(self) -> None:
        """Go on after an error."""
        self._rounds = None

    async def read(self) -> Batch | None:
        """What happened next; None at the end. Before the moment nothing is worth telling."""
        if self._rounds is None:
            self._rounds = self._past.rounds()
        updates = await anext(self._rounds, None)
        if updates is None:
            return None
        return Batch(self._arriving(updates), is_idle=not self._past.is_at_moment)

    def _arriving(self, updates: Iterator[BookUpdate]) -> Iterator[BookUpdate]:
        yield from updates
        self.is_at_moment = self._past.is_at_moment


class StreamSource:
    """A past first, if there is one, then what Kafka gets: a `Source` of the reading task."""

    def __init__(self, live: LiveReading, *, has_end: bool, conflate: bool) -> None:
        """Prepare; `has_end`: nothing comes after the past."""
        self.past: PastSource | None = None
        self.is_iterated: Callable[[], bool] = bool
        """Whether anybody has begun to take events."""
        self._live = live
        self._has_end = has_end
        self._conflate = conflate

    @property
    def waits_for_books(self) -> bool:
        """Whether all that was read has to be applied before more is."""
        return self.past is not None or self._live.waits_for_books

    @property
    def applies_itself(self) -> bool:
        """A past begins when somebody iterates over it; the present goes on until somebody wants every change."""
        is_iterated = self.is_iterated()
        return is_iterated and self._conflate if self.past is not None else self._conflate or not is_iterated

    def resume(self) -> None:
        """Go on after an error."""
        if self.past is not None:
            self.past.resume()
        else:
            self._live.resume()

    async def read(self, most_records: int, *, is_applied: bool) -> Batch | None:
        """The next batch; None at the end."""
        if self.past is not None:
            batch = await self.past.read()
            if batch is not None or self._has_end:
                return batch
            self.past = None
            await self._live.leave_the_past()
        return await self._live.read(most_records, is_applied=is_applied)
