"""The task that reads Kafka for a `BookStream`, and the iterations that wait for its batches."""

import asyncio
import time
import weakref
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from typing import Any, Final, Generic, NamedTuple, Protocol, Self, TypeVar

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.delivery import Delivery
from backpack_streams.errors import BookError

__all__ = ["Batch", "Batches", "ReadingTask", "Source", "Updates"]

_FAREWELL_TICKS: Final = 5
"""Event loop turns to wait for an abandoned iteration: the loop closes generators around it, but not at once."""

_Item = TypeVar("_Item")


class Batch(NamedTuple):
    """The effect of one answer of Kafka on the books: events that are applied as you iterate over them."""

    events: Iterator[BookUpdate]
    records: int = 0
    is_idle: bool = False
    """The batch only says that time has passed; the next one says so as well."""


class Source(Protocol):
    """Where the task reads its batches from."""

    @property
    def waits_for_books(self) -> bool:
        """Whether everything read so far has to be applied before `read`."""

    @property
    def applies_itself(self) -> bool:
        """Whether batches are applied as they come, even if no iteration takes their events."""

    def resume(self) -> None:
        """Prepare to `read` again after it failed or was cancelled."""

    async def read(self, most_records: int, *, is_applied: bool) -> Batch | None:
        """Return the next batch, after a short wait; None at the end. `is_applied`: everything read so far has been applied."""


class Signal:
    """Wakes all tasks that wait for a change."""

    def __init__(self) -> None:
        self._waiters: set[asyncio.Future[None]] = set()

    def notify(self) -> None:
        """Wake the waiting tasks."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Return after the next `notify`."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await waiter
        finally:
            self._waiters.discard(waiter)


class ReadingTask:
    """Reads ahead of the iteration, up to a number of records. Its `Delivery` holds what was read but not given."""

    def __init__(
        self,
        source: Source,
        most_records: int,
        on_end: Callable[[BaseException], None],
        on_resume: Callable[[], Iterator[BookUpdate]],
    ) -> None:
        """Prepare; `start` begins to read.

        Args:
            source: where the batches come from.
            most_records: number of unapplied records at which the reading pauses.
            on_end: called with the reason when the reading ends.
            on_resume: returns the changes to report when it resumes.
        """
        self.delivery: Delivery[BookUpdate] = Delivery(most_records, self._on_applied, self._on_broken)
        self.failure: BaseException | None = None
        """The error that ended the reading; None while it continues."""
        self.is_iterated = False
        """Whether an iteration has begun to take events one by one."""
        self._source = source
        self._on_end = on_end
        self._on_resume = on_resume
        self._changed = Signal()
        self._task: asyncio.Task[None] | None = None
        self._is_told = self._is_broken = False
        self._iteration: weakref.ref[_Iteration[Any]] | None = None

    # Life cycle -----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start reading, in a task of the running loop."""
        self._task = asyncio.create_task(self._read(), name="books")
        self._task.add_done_callback(self._on_done)

    async def stop(self, reason: str) -> None:
        """End the reading; later calls raise `BookError` with this reason."""
        task, self._task = self._task, None
        if task is not None and not task.done():
            self.fail(BookError(reason))
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def fail(self, error: BaseException) -> None:
        """Record that the reading has ended with this error, and take every book out of `LIVE`."""
        self.failure = self.failure or error
        iteration = None if self._iteration is None else self._iteration()
        if iteration is not None:
            iteration.is_active = False
        self._on_end(self.failure)
        self._changed.notify()

    def use(self) -> None:
        """Check the reading before anything is taken: raise the error that ended it once, and restart it on the call after that.

        An error from applying a batch leaves the books inconsistent, so every call raises it.

        Raises:
            BookError: the stream is not connected. Otherwise the error that ended the reading.
        """
        task = self._task
        if task is None:
            raise BookError("the book stream is not connected: use it with `async with`")
        if self.failure is None:
            return
        if not self._is_told or self._is_broken or not task.done():
            self._is_told = True
            raise self.failure
        self.failure, self._is_told = None, False
        for update in self._on_resume():
            self.delivery.put_aside(update)
        self._source.resume()
        self.start()

    async def _read(self) -> None:
        try:
            while True:
                await self._until_there_is_room()
                batch = await self._source.read(self.delivery.room, is_applied=self.delivery.is_applied)
                if batch is None:
                    return
                if not batch.is_idle or self.delivery.is_applied:
                    self.delivery.put(batch.events, batch.records)
                    self._apply()
                    self._changed.notify()
                await asyncio.sleep(0)
        except asyncio.CancelledError:
            self.fail(BookError("the task that reads the books was cancelled"))
            raise
        except Exception as error:  # noqa: BLE001  # the next call raises it
            self.fail(error)

    async def _until_there_is_room(self) -> None:
        while not self.delivery.room or (self._source.waits_for_books and not self.delivery.is_applied):
            if not self._apply():
                await self._changed.wait()

    def _apply(self) -> bool:
        has_applied = False
        while self._source.applies_itself and self.delivery.pass_over():
            has_applied = True
        return has_applied

    def _on_applied(self) -> None:
        if self.failure is not None:  # applying earlier records may have released books
            self._on_end(self.failure)
        self._changed.notify()

    def _on_broken(self, error: Exception) -> None:
        self._is_broken = True
        self.fail(error)
        if self._task is not None:
            self._task.cancel()

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled() and task is self._task and self.failure is None:  # cancelled before `_read` began
            self.fail(BookError("the task that reads the books was cancelled"))
        self._changed.notify()

    @property
    def _is_over(self) -> bool:
        return self._task is not None and self._task.done()

    # Waiting --------------------------------------------------------------------------------------------------

    async def claim(self, iteration: "_Iteration[Any]") -> None:
        """Make `iteration` the one that takes the events.

        Raises:
            BookError: another iteration is active. Otherwise the error that ended the reading.
        """
        self.use()
        for _ in range(_FAREWELL_TICKS):
            if not self._is_claimed_beside(iteration):
                self._iteration = weakref.ref(iteration)
                self.is_iterated = True
                self._changed.notify()
                return
            await asyncio.sleep(0)
        raise BookError(
            "the books are being iterated over already, and each change is given once: leave that iteration first (call its "
            "`aclose()` if it is still referenced), or use another stream"
        )

    def _is_claimed_beside(self, iteration: "_Iteration[Any]") -> bool:
        other = None if self._iteration is None else self._iteration()
        return other is not None and other is not iteration and other.is_active

    async def more(self) -> bool:
        """Advance to the next batch, waiting for it if necessary; False at the end."""
        self.use()
        if not self.delivery.is_applied:
            await asyncio.sleep(0)  # yield to the reading task: an iteration that never waits would starve it
        while not self.delivery.begin():
            self.use()
            if self._is_over:
                return False
            await self._changed.wait()
        self.use()
        return True

    async def until(self, holds: Callable[[], bool], cannot: Callable[[], bool], timeout_seconds: float) -> bool:
        """Read until a condition holds. Whole batches are applied meanwhile, unless another task iterates over them.

        Args:
            holds: the condition.
            cannot: returns whether it will never hold.
            timeout_seconds: maximum time to wait.

        Returns:
            Whether it holds; False if time is up, the end has come, or it never will hold.

        Raises:
            BookError: the stream is not connected. Otherwise the error that ended the reading.
        """
        deadline = time.monotonic() + timeout_seconds
        while True:
            self.use()
            if holds():
                return True
            left = deadline - time.monotonic()
            if left <= 0 or cannot():
                return holds()
            if self._may_apply() and self.delivery.pass_over():
                await asyncio.sleep(0)
            elif self._is_over and self.delivery.is_applied:
                return holds()
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(left):
                        await self._changed.wait()

    def _may_apply(self) -> bool:
        other = None if self._iteration is None else self._iteration()
        if other is None or not other.is_active or other.task is None:
            return True
        return other.task is asyncio.current_task() or other.task.done()


class _Iteration(ABC, Generic[_Item], AsyncIterator[_Item]):
    """An iteration over the events. It holds no events, so dropping it, or leaving it while it waits, loses none."""

    def __init__(self, reading: ReadingTask) -> None:
        self._reading = reading
        self._is_waiting = False
        self.is_active = False
        """Whether this iteration excludes all others."""
        self.task: asyncio.Task[object] | None = None
        """The task that took the last batch."""

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        """Leave the iteration; harmless if it was left before."""
        self.is_active = False

    async def _more(self) -> bool:
        if self._is_waiting:
            raise BookError("two tasks wait for the same iteration over the books: each change is given once")
        self._is_waiting = True
        try:
            if not self.is_active:
                await self._reading.claim(self)
                self.is_active = True
            self.task = asyncio.current_task()
            self.is_active = await self._reading.more()
        except BaseException:  # a cancellation included: the next call claims the events again
            self.is_active = False
            raise
        finally:
            self._is_waiting = False
        return self.is_active

    @abstractmethod
    async def __anext__(self) -> _Item:
        """Return the next item."""


class Updates(_Iteration[BookUpdate]):
    """Every event, one by one; with conflation the latest of each market."""

    def __init__(self, reading: ReadingTask) -> None:
        super().__init__(reading)
        self._take = reading.delivery.take

    async def __anext__(self) -> BookUpdate:
        while not self.is_active or (update := self._take()) is None:
            if not await self._more():
                raise StopAsyncIteration
        return update


class Batches(_Iteration[Iterator[BookUpdate]]):
    """Every event, in the batches that Kafka delivers."""

    async def __anext__(self) -> Iterator[BookUpdate]:
        if not await self._more():
            raise StopAsyncIteration
        return self._reading.delivery.batch()
