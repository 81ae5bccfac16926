"""The task that reads books, from a source that a test feeds: nothing is lost or given twice, and its end shows at once."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.reading_task import Batch, Batches, ReadingTask, Updates
from backpack_streams.errors import BookError, BusError


class Feed:
    """One market; `put` makes batches of these numbers of updates available, each of which advances the book by one."""

    def __init__(self) -> None:
        self.market = MarketBook("A")
        self.market.on_snapshot(0, None, [(1, 1)], [(2, 1)])
        self.waits_for_books = False
        self.applies_itself = False
        self.error: Exception | None = None
        self.has_ended = self.is_broken = False
        self.resumed = self.polls = 0
        self.ended_because: list[str] = []
        self._batches: asyncio.Queue[int] = asyncio.Queue()
        self._read = 0

    def put(self, *sizes: int) -> None:
        for size in sizes:
            self._batches.put_nowait(size)

    def resume(self) -> None:
        self.resumed += 1

    async def read(self, most_records: int, *, is_applied: bool) -> Batch | None:
        assert most_records > 0
        assert is_applied or not self.waits_for_books
        if self.error is not None:
            raise self.error
        try:
            size = await asyncio.wait_for(self._batches.get(), 0.01)
        except TimeoutError:
            return None if self.has_ended else Batch(iter(()), is_idle=True)
        self.polls += 1
        first, self._read = self._read + 1, self._read + size
        return Batch(self._happens(range(first, self._read + 1)), size)

    def _happens(self, ids: range) -> Iterator[BookUpdate]:
        for update_id in ids:
            if self.is_broken:
                raise ValueError("no such update")
            yield BookUpdate(self.market, self.market.on_update(update_id, update_id, None, [(1, update_id)], []))

    def on_end(self, error: BaseException) -> None:
        self.ended_because.append(str(error))
        self.market.hold(str(error))

    def on_resume(self) -> Iterator[BookUpdate]:
        self.market.release()
        yield BookUpdate(self.market, Outcome.CAUGHT_UP)


class Reading:
    """A task under test; stops it at the end."""

    def __init__(self, most_records: int = 100) -> None:
        self.feed = Feed()
        self.task = ReadingTask(self.feed, most_records, self.feed.on_end, self.feed.on_resume)

    async def __aenter__(self) -> "Reading":
        self.task.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.task.stop("closed")

    def updates(self) -> Updates:
        return Updates(self.task)

    def batches(self) -> Batches:
        return Batches(self.task)

    def at(self) -> int:
        return self.feed.market.last_update_id or 0


async def until(holds: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  # the condition has no event
            await asyncio.sleep(0.001)


class LeftError(Exception):
    """An exception of the user's program."""


@given(
    st.lists(
        st.tuples(st.sampled_from(["break", "error", "cancel", "timeout", "batch"]), st.integers(1, 7)), max_size=12
    )
)
def test_a_consumer_that_leaves_and_returns_gets_every_update_once(visits: list[tuple[str, int]]) -> None:
    async def go() -> None:
        async with Reading(most_records=8) as reading:
            total, given_ids = 40, list[int]()
            reading.feed.put(*[5] * (total // 5))
            for how, most in [*visits, ("break", total)]:
                if len(given_ids) < total:
                    await _visit(reading, how, min(most, total - len(given_ids)), given_ids)
            assert given_ids == list(range(1, total + 1))

    asyncio.run(go())


async def _visit(reading: Reading, how: str, most: int, given_ids: list[int]) -> None:
    """Takes this many updates and leaves; the book is always in the state right after the update."""
    goal = len(given_ids) + most

    async def take() -> None:
        async for update in reading.updates():
            assert update.last_update_id == len(given_ids) + 1
            given_ids.append(update.last_update_id)
            if len(given_ids) == goal:
                if how == "error":
                    raise LeftError
                if how == "break":
                    return
                await asyncio.sleep(60)

    if how == "batch":
        async for updates in reading.batches():
            for update in updates:
                given_ids.append(update.last_update_id or 0)
                if len(given_ids) == goal:
                    return
    elif how == "error":
        with pytest.raises(LeftError):
            await take()
    elif how == "timeout":
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.03):
                await take()
        # a timeout may come before this many were there
    elif how == "cancel":
        task = asyncio.create_task(take())
        await until(lambda: len(given_ids) == goal)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    else:
        await take()


async def test_only_a_slow_consumer_stops_the_reading() -> None:
    async with Reading(most_records=10) as reading:
        updates = reading.updates()
        reading.feed.put(*[5] * 10)
        assert (await anext(updates)).last_update_id == 1
        await until(lambda: reading.feed.polls == 2)
        await asyncio.sleep(0.05)
        assert reading.feed.polls == 2
        assert reading.task.delivery.records == 10
        assert reading.at() == 1
        for _ in range(5):
            await anext(updates)
        await until(lambda: reading.feed.polls == 3)


async def test_until_applies_whole_batches_and_the_next_iteration_begins_with_the_latest() -> None:
    async with Reading() as reading:
        reading.feed.put(3, 3)
        async for update in reading.updates():
            assert update.last_update_id == 1
            break
        assert await reading.task.until(lambda: reading.at() == 6, lambda: False, 5)
        reading.feed.put(2)
        seen = []
        async for update in reading.updates():
            seen.append(update.last_update_id)
            if seen[-1] == 8:
                break
        assert seen == [6, 7, 8]
        assert reading.task.delivery.replaced == 4


async def test_until_leaves_updates_to_another_task_that_iterates() -> None:
    async with Reading() as reading:
        ids = []

        async def take() -> None:
            async for update in reading.updates():
                ids.append(update.last_update_id)
                await asyncio.sleep(0.001)

        task = asyncio.create_task(take())
        await asyncio.sleep(0.01)
        reading.feed.put(5, 5)
        assert await reading.task.until(lambda: reading.at() == 10, lambda: False, 5)
        await until(lambda: len(ids) == 10)
        assert ids == list(range(1, 11))
        assert not await reading.task.until(lambda: reading.at() == 11, lambda: False, 0.02)
        assert not await reading.task.until(lambda: False, lambda: True, 5)
        task.cancel()


async def test_until_inside_the_loop_reads_on() -> None:
    async with Reading() as reading:
        reading.feed.put(3, 3)
        async for update in reading.updates():
            assert update.last_update_id == 1
            assert await reading.task.until(lambda: reading.at() == 6, lambda: False, 5)
            break


async def test_two_concurrent_iterations_are_refused_and_two_in_succession_are_not() -> None:
    async with Reading() as reading:
        first = reading.updates()
        waiting = asyncio.create_task(anext(first))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        with pytest.raises(BookError, match="iterated over already"):
            await anext(reading.updates())
        with pytest.raises(BookError, match="two tasks wait for the same iteration"):
            await anext(first)
        reading.feed.put(3)
        assert (await waiting).last_update_id == 1
        with pytest.raises(BookError, match="iterated over already"):  # its consumer is busy, and will return
            await anext(reading.batches())
        await first.aclose()
        assert (await anext(reading.updates())).last_update_id == 2


async def test_an_iteration_inside_an_abandoned_generator_is_over() -> None:
    async def ids(reading: Reading) -> AsyncIterator[int]:
        async for update in reading.updates():
            yield update.last_update_id or 0

    async with Reading() as reading:
        reading.feed.put(3)
        async for last_id in ids(reading):
            assert last_id == 1
            break
        async for last_id in ids(reading):
            assert last_id == 2
            break
    gc.collect()


async def test_an_error_is_raised_once_and_shows_in_the_book_from_then_on() -> None:
    async with Reading() as reading:
        updates = reading.updates()
        reading.feed.put(2)
        assert (await anext(updates)).last_update_id == 1
        reading.feed.error = BusError("not allowed")
        await until(lambda: reading.feed.ended_because)
        assert reading.feed.market.reason == "not allowed"
        with pytest.raises(BusError, match="not allowed"):
            await anext(updates)
        reading.feed.error = None  # the error is gone: reading goes on, and the second update was kept
        assert (await anext(updates)).outcome is Outcome.CAUGHT_UP
        assert (await anext(updates)).last_update_id == 2
        assert reading.feed.resumed == 1
        assert not reading.feed.market.reason


async def test_a_waiting_consumer_gets_the_error() -> None:
    async with Reading() as reading:
        waiting = [asyncio.create_task(anext(reading.updates()))]  # type: ignore[arg-type]
        waiting.append(asyncio.create_task(reading.task.until(lambda: False, lambda: False, 30)))  # type: ignore[arg-type]
        await asyncio.sleep(0.01)
        reading.feed.error = BusError("gone")
        done, _ = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert isinstance(done.pop().exception(), BusError)
        for task in waiting:
            task.cancel()


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_cancelled_task_leaves_no_live_book(at_once: bool) -> None:
    async with Reading() as reading:
        task = reading.task._task
        assert task is not None
        if not at_once:
            await asyncio.sleep(0.02)
        task.cancel()
        await until(lambda: reading.feed.ended_because)
        assert reading.feed.market.reason == "the task that reads the books was cancelled"
        with pytest.raises(BookError, match="was cancelled"):
            await anext(reading.updates())


async def test_a_batch_that_cannot_be_applied_ends_the_reading_for_good() -> None:
    async with Reading() as reading:
        reading.feed.put(2)
        reading.feed.is_broken = True
        for _ in range(3):
            with pytest.raises(ValueError, match="no such update"):
                await anext(reading.updates())
        assert reading.feed.market.reason == "no such update"


async def test_a_source_with_an_end_ends_once_everything_is_given() -> None:
    async with Reading() as reading:
        reading.feed.put(2)
        reading.feed.has_ended = True
        await until(lambda: reading.task._is_over)
        assert [update.last_update_id async for update in reading.updates()] == [1, 2]
        assert [update.last_update_id async for update in reading.updates()] == []
        assert not await reading.task.until(lambda: False, lambda: False, 5)
        assert not reading.feed.ended_because


async def test_a_source_that_applies_itself_is_current_and_gives_the_latest() -> None:
    reading = Reading(most_records=5)
    reading.feed.applies_itself = True
    async with reading:
        reading.feed.put(*[5] * 10)
        await until(lambda: reading.at() == 50)
        reading.feed.put(1)
        await until(lambda: reading.at() == 51)
        updates = reading.updates()
        assert (await anext(updates)).last_update_id == 51
        assert reading.task.delivery.replaced == 50
    with pytest.raises(BookError, match="not connected"):
        await anext(updates)
    assert reading.feed.market.reason == "closed"


async def test_a_source_that_waits_for_the_books_is_read_after_they_are_applied() -> None:
    async with Reading() as reading:
        updates = reading.updates()
        reading.feed.put(2)
        assert (await anext(updates)).last_update_id == 1
        reading.feed.waits_for_books = True
        await asyncio.sleep(0.03)
        reading.feed.put(2)
        await asyncio.sleep(0.05)
        assert reading.feed.polls == 1
        assert (await anext(updates)).last_update_id == 2
        assert (await anext(updates)).last_update_id == 3


async def test_an_iteration_that_timed_out_makes_room_for_another() -> None:
    async with Reading() as reading:
        first = reading.updates()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(first)
        reading.feed.put(2)
        assert (await anext(reading.updates())).last_update_id == 1
        assert (await anext(first)).last_update_id == 2


async def test_updates_read_before_the_end_let_no_book_show_its_own_status() -> None:
    async with Reading() as reading:
        reading.feed.put(2)
        async for updates in reading.batches():
            assert next(updates).last_update_id == 1
            reading.feed.error = BusError("gone")
            await until(lambda: reading.feed.ended_because)
            reading.feed.market.release()  # as a partition does that has caught up
            for update in updates:
                assert update.last_update_id == 2
            assert reading.feed.market.status is Status.SYNCING
            break
