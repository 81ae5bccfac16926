"""The batches of a `BookStream`: of the past, live, or first one and then the other."""

from collections.abc import AsyncGenerator, Callable, Iterator

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.live_reading import LiveReading
from backpack_streams.books.live_start import LiveStart
from backpack_streams.books.past_books import PastBooks
from backpack_streams.books.reading_task import Batch

__all__ = ["PastSource", "StreamSource"]


class PastSource:
    """The past as batches, each of which is applied before the next is read."""

    def __init__(self, past: PastBooks) -> None:
        self._past = past
        self._rounds: AsyncGenerator[Iterator[BookUpdate], None] | None = None
        self.is_at_moment = False
        """Whether the books have reached the moment."""

    def resume(self) -> None:
        """Resume after an error."""
        self._rounds = None

    async def read(self) -> Batch | None:
        """Return the next batch; None at the end. Batches before the moment are marked idle: they give no events."""
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
    """The past first, if requested, then live records: a `Source` of the reading task."""

    def __init__(self, start: LiveStart, live: LiveReading, *, has_end: bool, conflate: bool) -> None:
        """Prepare; `has_end`: the stream ends with the past."""
        self.past: PastSource | None = None
        self.is_iterated: Callable[[], bool] = bool
        """Returns whether an iteration has begun to take events."""
        self._start = start
        self._live = live
        self._has_end = has_end
        self._conflate = conflate

    @property
    def waits_for_books(self) -> bool:
        """Whether everything read has to be applied before the next `read`."""
        return self.past is not None or self._live.waits_for_books

    @property
    def applies_itself(self) -> bool:
        """Whether batches apply themselves: the past only once iterated, with `conflate`; live until an iteration wants every change."""
        is_iterated = self.is_iterated()
        return is_iterated and self._conflate if self.past is not None else self._conflate or not is_iterated

    def resume(self) -> None:
        """Resume after an error."""
        if self.past is not None:
            self.past.resume()
        else:
            self._live.resume()

    async def read(self, most_records: int, *, is_applied: bool) -> Batch | None:
        """Return the next batch; None at the end."""
        if self.past is not None:
            batch = await self.past.read()
            if batch is not None or self._has_end:
                return batch
            self.past = None
            await self._start.leave_the_past()
        return await self._live.read(most_records, is_applied=is_applied)
