"""A stream of records keeps its position: leaving a loop loses nothing, gives nothing twice, and `until` ends it by itself."""

import asyncio
import contextlib
import time
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.books.record_stream import Gap, RecordStream, StreamedRecord, is_of
from backpack_streams.books.records import MARKET_TRADE, REFERENCE_MARKET, Market, Trade
from backpack_streams.errors import BookError, BusError, UsageError
from topics_in_memory import PREFIX, SECOND, T0, MemoryReader, Topics, stream_of

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return EPOCH + timedelta(microseconds=T0 + int(seconds * SECOND))


def trades(count: int) -> Topics:
    topics = Topics()
    for number in range(count):
        topics.trade(100 + number, seconds=number)
    return topics


def ids(items: list[Any]) -> list[int]:
    return [item.value["trade_id"] for item in items if isinstance(item, StreamedRecord)]


async def all_of(stream: RecordStream[Any]) -> list[Any]:
    async with stream:
        return [item async for item in stream]


def whole(reader: MemoryReader, topics: Any, symbols: Any = None, **options: Any) -> list[Any]:
    stream = stream_of(reader, topics, symbols, start="beginning", until="end", **options)
    return asyncio.run(all_of(stream))


# ---- leaving a loop

Leaving = st.sampled_from(["break", "error", "timeout", "cancel", "round"])


async def _left(how: list[tuple[str, int]], reader: MemoryReader) -> list[Any]:
    stream = stream_of(reader, "market.trade", start="beginning", until="end", patience_seconds=60.0)
    found: list[Any] = []

    async def read(most: int, error: Exception | None = None) -> None:
        async for item in stream:
            found.append(item)
            most -= 1
            if most == 0:
                if error is not None:
                    raise error
                return

    async with stream:
        for kind, count in how:
            if kind == "break":
                await read(count)
            elif kind == "error":
                with contextlib.suppress(ZeroDivisionError):
                    await read(count, ZeroDivisionError())
            elif kind == "round":
                with contextlib.suppress(StopAsyncIteration):
                    for item in await anext(stream.rounds()):
                        found.append(item)
                        count -= 1
                        if not count:
                            break
            else:  # whatever Kafka returns, it returns after the waiting consumer has left
                reader.gate = asyncio.Event()
                task = asyncio.create_task(read(10_000))
                for _ in range(count):
                    await asyncio.sleep(0)
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
                reader.gate.set()
                reader.gate = None
        await read(10_000)
    return found


@given(
    st.lists(st.tuples(Leaving, st.integers(1, 7)), max_size=8),
    st.lists(
        st.tuples(st.sampled_from([(PREFIX + "market.trade", 0), (PREFIX + "market.trade", 1)]), st.integers(1, 9)),
        max_size=9,
    ),
)
def test_leaving_a_loop_in_any_way_loses_nothing_and_gives_nothing_twice(
    how: list[tuple[str, int]], schedule: list[Any]
) -> None:
    assert ids(asyncio.run(_left(how, MemoryReader(trades(30), schedule)))) == list(range(100, 130))


async def test_a_pending_poll_survives_a_timeout() -> None:
    reader = MemoryReader(trades(5))
    async with stream_of(reader, "market.trade", start="beginning") as stream:
        reader.gate = asyncio.Event()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                async for _ in stream:
                    raise AssertionError
        reader.gate.set()
        async with aclosing(stream.events()) as events:
            assert ids([await anext(events) for _ in range(5)]) == list(range(100, 105))


async def test_two_concurrent_iterations_are_refused() -> None:
    reader = MemoryReader(trades(2))
    async with stream_of(reader, "market.trade", start="beginning") as stream:
        reader.gate = asyncio.Event()

        async def first() -> Any:
            return await anext(stream.events())

        task = asyncio.create_task(first())
        await asyncio.sleep(0.01)
        with pytest.raises(BookError, match="two iterations"):
            await anext(stream.events())
        reader.gate.set()
        assert ids([await task]) == [100]
        assert ids([await anext(stream.events())]) == [101]


async def test_an_iteration_that_pauses_in_another_task_counts_as_concurrent() -> None:
    async with stream_of(MemoryReader(trades(9)), "market.trade", start="beginning") as stream:
        has_one, may_go = asyncio.Event(), asyncio.Event()

        async def first() -> list[int]:
            found = []
            async for item in stream:
                found.append(item)
                has_one.set()
                await may_go.wait()
                if len(found) == 3:
                    break
            return ids(found)

        task = asyncio.create_task(first())
        await has_one.wait()
        with pytest.raises(BookError, match="two iterations"):
            await anext(stream.rounds())
        may_go.set()
        assert await task == [100, 101, 102]
        assert ids([await anext(stream.events())]) == [103]


async def test_an_error_of_a_poll_is_raised_at_the_next_use_and_nothing_is_lost() -> None:
    reader = MemoryReader(trades(4))
    async with stream_of(reader, "market.trade", start="beginning", until="end") as stream:
        reader.errors.append(BusError("refused"))
        with pytest.raises(BusError, match="refused"):
            await anext(stream.events())
        assert ids([item async for item in stream]) == [100, 101, 102, 103]


async def test_a_stream_used_outside_its_block_says_so() -> None:
    reader = MemoryReader(Topics())
    stream = stream_of(reader, "market.trade")
    with pytest.raises(BookError, match="not connected"):
        await anext(stream.events())
    async with stream:
        waiting = asyncio.create_task(stream.events().__anext__())
        await asyncio.sleep(0.01)
    with pytest.raises(BookError, match="left while"):
        await waiting
    with pytest.raises(BookError, match="not connected"):
        await anext(stream.events())


async def test_it_may_be_entered_again() -> None:
    topics = trades(3)
    stream = stream_of(MemoryReader(topics), "market.trade", start="beginning", until="end")
    async with stream:
        assert ids([item async for item in stream]) == [100, 101, 102]
    topics.trade(103, seconds=3)
    async with stream:  # records given before are not given again
        assert ids([item async for item in stream]) == [103]


# ---- the end


def test_until_the_end_gives_what_is_there_now() -> None:
    topics = trades(20)
    topics.trade(7, "B")
    topics.skip((PREFIX + "market.trade", 0), 3)  # the marks of a transaction
    topics.skip((PREFIX + "market.trade", 1), 3)
    assert sorted(ids(whole(MemoryReader(topics), "market.trade"))) == [7, *range(100, 120)]


async def test_records_written_after_the_join_are_past_the_end() -> None:
    topics = trades(3)
    async with stream_of(MemoryReader(topics), "market.trade", start="beginning", until="end") as stream:
        topics.trade(103, seconds=4)
        assert ids([item async for item in stream]) == [100, 101, 102]
        assert [item async for item in stream] == []
        assert stream.is_caught_up


def test_an_empty_topic_ends_at_once_and_so_does_one_emptied_by_compaction() -> None:
    topics = Topics()
    assert whole(MemoryReader(topics), "market.trade") == []
    topics.skip((PREFIX + "market.trade", 1), 5)
    assert whole(MemoryReader(topics), "market.trade") == []


def test_a_gap_at_the_end_is_given_without_waiting() -> None:
    topics = trades(2)
    topics.trade(105)
    assert whole(MemoryReader(topics), "market.trade")[2:] == [
        Gap("A", 102, 104),
        *whole(MemoryReader(topics), "market.trade")[3:],
    ]


@pytest.mark.parametrize("merged", [False, True])
def test_until_a_moment_gives_what_is_stamped_before_it_including_refills(merged: bool) -> None:
    topics = Topics()
    for number in (0, 1, 2, 4, 5, 6, 7, 8, 9):
        topics.trade(100 + number, seconds=number)
    topics.trade(103, seconds=3, received=9.5)  # a refill
    topics.trade(150, "B", seconds=60.0)
    for start, until in ((at(2), at(6)), (T0 + 2 * SECOND, T0 + 6 * SECOND)):
        stream = stream_of(MemoryReader(topics), "market.trade", start=start, until=until, merged=merged)
        assert ids(asyncio.run(all_of(stream))) == [102, 103, 104, 105]


@pytest.mark.parametrize("merged", [False, True])
def test_until_a_past_moment_reads_on_behind_a_record_with_an_absurd_time(merged: bool) -> None:
    topics = Topics()
    for number in range(100):
        topics.update(number, seconds=30 * 86_400.0 if number == 10 else number, received=number + 0.05)
    stream = stream_of(MemoryReader(topics), "market.depth", start=at(0), until=at(90), merged=merged)
    updates = asyncio.run(all_of(stream))
    assert [item.value["last_update_id"] for item in updates] == [*range(10), *range(11, 90)]


async def test_looking_for_the_end_loses_nothing_that_comes_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    topics = Topics()
    now = datetime.now(UTC)
    until = now + timedelta(seconds=60)
    real, ahead_seconds = time.time, 0
    monkeypatch.setattr(time, "time", lambda: real() + ahead_seconds)
    topics.trade(100, seconds=30 * 86_400.0 + (now - at(0)).total_seconds(), received=(now - at(0)).total_seconds())
    stream = stream_of(MemoryReader(topics), "market.trade", start="beginning", until=until, patience_seconds=0.2)
    given = []
    async with stream:
        topics.trade(101, seconds=-10)
        given.append(await anext(stream.events()))
        for number in range(102, 150):
            topics.trade(number, seconds=-9)
        ahead_seconds = 61
        given += [item async for item in stream]
    assert ids(given) == list(range(101, 150))


async def test_until_a_future_moment_ends_once_it_has_passed() -> None:
    topics = Topics()
    soon = datetime.now(UTC) + timedelta(seconds=0.2)
    async with stream_of(MemoryReader(topics), "market.trade", until=soon, patience_seconds=0.2) as stream:
        topics.trade(100, seconds=-10)
        assert ids([item async for item in stream]) == [100]
    assert datetime.now(UTC) > soon


@pytest.mark.parametrize(
    ("start", "until"), [(at(5), at(5)), (T0 + 1, T0), ("old", None), ("new", "now"), (at(5), "start"), (None, "end")]
)
def test_an_impossible_range_is_refused(start: Any, until: Any) -> None:
    with pytest.raises(UsageError):
        RecordStream("localhost:1", "market.trade", start=start, until=until)


def test_the_start_moment_is_exact_to_the_millisecond() -> None:
    for number in (0, 1, 3, 57, 137, 333, 564, 777, 999):
        topics = Topics({"market.trade": 1})
        topics.trade(1, seconds=(number - 1) / 1000)
        topics.trade(2, seconds=number / 1000)
        moment = EPOCH + timedelta(microseconds=T0 + 1000 * number)
        stream = stream_of(MemoryReader(topics), "market.trade", start=moment, until="end")
        assert ids(asyncio.run(all_of(stream))) == [2]


# ---- what is given


def test_tombstones_of_compacted_topics_are_given() -> None:
    topics = Topics({"reference.market": 1})
    row: dict[str, Any] = {"symbol": "A", "source": "REST", "received_time": T0, "raw": "{}"}
    fields = {
        field["name"]: None
        for field in stream_of(MemoryReader(topics), "market.trade")._reading._codec.schema("Market").document["fields"]
    }
    row = (
        fields
        | row
        | {
            "market_type": "SPOT",
            "order_book_state": "Open",
            "is_visible": True,
            "base_symbol": "A",
            "quote_symbol": "B",
        }
    )
    topics.add("reference.market", "A", "Market", row, T0)
    topics.add("reference.market", "A", "Market", row, T0)
    topics.add("reference.market", "A", "Market", None, T0 + SECOND)
    topics.add("reference.market", "A", "Market", None, T0 + SECOND)
    topics.add("reference.market", "A", "Market", row, T0)
    found = whole(MemoryReader(topics), "reference.market")
    assert [None if item.value is None else item.value["symbol"] for item in found] == ["A", None, "A"]
    assert (found[1].name, found[1].symbol, found[1].time) == ("Market", "A", T0 + SECOND)


def test_records_have_the_types_of_their_topic() -> None:
    """For the type checker, which also reads the tests."""
    typed = RecordStream("localhost:1", MARKET_TRADE)
    compacted = RecordStream("localhost:1", REFERENCE_MARKET)
    several = RecordStream("localhost:1", [MARKET_TRADE, "market.kline"])

    def ids_of(item: StreamedRecord[Trade] | Gap) -> int:
        return item.first_id if isinstance(item, Gap) else item.value["trade_id"]

    def state_of(item: StreamedRecord[Market | None]) -> str | None:
        return None if item.value is None else item.value["order_book_state"]

    async def use() -> None:
        async for trade in typed:
            ids_of(trade)
        async for market in compacted:
            if not isinstance(market, Gap):
                state_of(market)
        async for item in several:
            if is_of(item, Trade):
                ids_of(item)

    assert use is not None


async def test_a_record_of_another_type_among_the_gaps_is_counted_and_passed_over() -> None:
    topics = trades(1)
    async with stream_of(MemoryReader(topics), "market.trade", start="beginning") as stream:
        events = stream.events()
        assert ids([await anext(events)]) == [100]
        topics.update(1)
        foreign = topics.logs[PREFIX + "market.depth", 0] or topics.logs[PREFIX + "market.depth", 1]
        topics.logs[PREFIX + "ops.gap", 0].append(replace(foreign[0], topic=PREFIX + "ops.gap", partition=0, offset=0))
        topics.end_of[PREFIX + "ops.gap", 0] = 1
        topics.trade(101, seconds=1)
        assert ids([await anext(events)]) == [101]
        assert await anext(stream.rounds()) is not None  # the gap topic may have come after the trade
        assert stream.undecodable_records == 1
