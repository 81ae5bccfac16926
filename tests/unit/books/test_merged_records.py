"""Records of several topics in one order of engine time: independent of the order of fetching, and with bounded waiting."""

import asyncio
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.books.record_stream import Gap, StreamedRecord
from backpack_streams.bus.partitioner import partition_of
from topics_in_memory import PREFIX, SECOND, T0, MemoryReader, Topics, stream_of

TOPICS = ["market.depth", "market.book_snapshot", "market.trade"]
YEAR_2100_SECONDS = (4_102_444_800_000_000 - T0) / SECOND

Schedule = list[tuple[tuple[str, int], int]]
schedules = st.lists(
    st.tuples(st.tuples(st.sampled_from([PREFIX + name for name in TOPICS]), st.integers(0, 1)), st.integers(1, 20)),
    max_size=30,
)


def merged(topics: Topics, schedule: Schedule = [], names: list[str] | None = None, **options: Any) -> list[Any]:  # noqa: B006  # read only
    async def read() -> list[Any]:
        reader = MemoryReader(topics, schedule)
        stream = stream_of(reader, names or TOPICS, start="beginning", until="end", merged=True, **options)
        async with stream:
            return [item async for item in stream]

    return asyncio.run(read())


def seconds(items: list[Any]) -> list[float]:
    return [(item.time - T0) / SECOND for item in items if isinstance(item, StreamedRecord)]


@st.composite
def histories(draw: st.DrawFn) -> Topics:
    """A minute of three markets as two producers, a refill and REST publish it: with gaps, copies, and times that go back."""
    topics = Topics()
    update_ids, trade_ids = {"A": 10, "B": 20, "C": 30}, {"A": 100, "B": 200, "C": 300}
    at = 0.0
    for _ in range(draw(st.integers(0, 40))):
        at += draw(st.sampled_from([0.0, 0.001, 0.3, 2.0]))
        symbol = draw(st.sampled_from("ABC"))
        kind = draw(st.sampled_from(["update", "trade", "trade", "snapshot", "copy", "hole", "late"]))
        if kind == "update":
            update_ids[symbol] += 1
            topics.update(update_ids[symbol], symbol, at)
        elif kind == "trade":
            trade_ids[symbol] += 1
            topics.trade(trade_ids[symbol], symbol, at)
        elif kind == "hole":
            trade_ids[symbol] += draw(st.integers(1, 3))
        elif kind == "late":
            topics.trade(
                trade_ids[symbol] - draw(st.integers(0, 5)), symbol, at - draw(st.sampled_from([0.1, 5.0])), at
            )
        elif kind == "copy":
            topics.update(update_ids[symbol], symbol, at, at + 1)
        else:
            topics.snapshot(update_ids[symbol], symbol, at - draw(st.sampled_from([0.0, 0.5, 8.0])), at)
    return topics


@settings(max_examples=30)
@given(histories(), schedules, schedules)
def test_the_order_does_not_depend_on_the_order_of_fetching(
    topics: Topics, schedule: Schedule, other: Schedule
) -> None:
    items = merged(topics, schedule)
    assert items == merged(topics, other)
    in_turn = seconds([item for item in items if not (isinstance(item, Gap) or item.is_late)])
    assert in_turn == sorted(in_turn) or _went_back(items)


def _went_back(items: list[Any]) -> bool:
    """Whether the times of a market went back: its records then stay in the order of their ids."""
    newest: dict[tuple[str, str], int] = {}
    for item in items:
        if isinstance(item, StreamedRecord):
            key = item.name, item.symbol
            if item.time < newest.get(key, 0):
                return True
            newest[key] = item.time
    return False


def test_topics_are_merged_in_the_order_of_engine_time() -> None:
    topics = Topics()
    for number in range(50):
        topics.update(1 + number, "A", number)
        topics.trade(1 + number, "A", number + 0.5)
        topics.trade(1 + number, "B", number + 0.25)
        topics.snapshot(1 + number, "A", number + 0.75)
    for schedule in ([((PREFIX + "market.trade", 0), 9)] * 3, [((PREFIX + "market.book_snapshot", 0), 50)], []):
        items = merged(topics, schedule)
        assert seconds(items) == [number / 4 for number in range(200)]


def test_records_of_a_second_producer_slightly_behind_are_inserted_at_the_right_place() -> None:
    topics = Topics()
    for number in range(10):
        if number != 4:
            topics.update(1 + number, "A", number / 10)
    topics.update(5, "A", 0.4)
    items = merged(topics)
    assert [item.value["last_update_id"] for item in items] == list(range(1, 11))
    assert not any(item.is_late for item in items)


def test_updates_of_a_market_stay_in_the_order_of_their_ids_if_the_engines_clock_steps_back() -> None:
    topics = Topics()
    for number in range(20):
        topics.update(1 + number, "A", number / 10 - (0.35 if number >= 10 else 0.0))
        topics.trade(1 + number, "A", number / 10)
    items = merged(topics)
    assert [item.value["last_update_id"] for item in items if item.name == "DepthUpdate"] == list(range(1, 21))
    assert [item.value["trade_id"] for item in items if item.name == "Trade"] == list(range(1, 21))


def test_a_record_that_arrives_after_its_turn_is_late_and_given_once() -> None:
    topics = Topics()
    topics.update(1, "A", 0)
    for number in range(3, 30):
        topics.update(number, "A", number)
    topics.update(2, "A", 2, received=30)
    told = [(item.value["last_update_id"], item.is_late) for item in merged(topics)]
    assert sorted(told) == [(1, False), (2, True), *((number, False) for number in range(3, 30))]
    assert told.index((18, False)) < told.index((2, True)) < told.index((20, False))


def busy(missing: set[int], refilled_at: int | None = None) -> Topics:
    """Half a minute of two markets; trades of one are missing until a refill publishes them, if it does."""
    topics = Topics({"market.trade": 1})
    for number in range(1, 30):
        if number not in missing:
            topics.trade(number, "A", number)
        if number == refilled_at:
            for each in sorted(missing):
                topics.trade(each, "A", each, received=number)
        topics.trade(100 + number, "B", number + 0.25)
        topics.update(number, "A", number + 0.5)
    return topics


def test_a_refill_is_inserted_in_its_place_and_nothing_passes_it_meanwhile() -> None:
    items = merged(busy({3, 4}, refilled_at=9))
    assert seconds(items) == [number + part for number in range(1, 30) for part in (0, 0.25, 0.5)]
    assert not any(item.is_late for item in items)


def test_a_gap_is_given_before_the_trade_after_it() -> None:
    items = merged(busy({3, 4}))
    assert seconds(items) == sorted(seconds(items))
    at = items.index(Gap("A", 3, 4))
    assert items[at + 1].value["trade_id"] == 5
    assert len(items) == 3 * 29 - 2 + 1


async def test_nothing_passes_a_missing_trade_while_it_may_still_arrive() -> None:
    """With the small window of a live stream: only what was given before the gap shows has passed it."""
    topics = busy({3, 4}, refilled_at=9)
    async with stream_of(MemoryReader(topics), TOPICS, start="beginning", merged=True) as stream:
        events = stream.events()
        items = [await anext(events) for _ in range(3 * 29)]
    in_turn = [item for item in items if isinstance(item, StreamedRecord) and not item.is_late]
    assert seconds(in_turn) == sorted(seconds(in_turn))
    at = {
        (item.name, item.symbol, item.time): place
        for place, item in enumerate(items)
        if isinstance(item, StreamedRecord)
    }
    refilled = at["Trade", "A", T0 + 4 * SECOND]
    assert refilled < at["Trade", "A", T0 + 5 * SECOND]
    assert (
        refilled
        < at["Trade", "B", T0 + 5 * SECOND + SECOND // 4]
        < at["DepthUpdate", "A", T0 + 6 * SECOND + SECOND // 2]
    )


def test_a_refill_that_arrives_after_the_gap_was_given_is_late() -> None:
    items = merged(busy({3, 4}, refilled_at=25))
    assert [item.value["trade_id"] for item in items if isinstance(item, StreamedRecord) and item.is_late] == [3, 4]
    assert items.count(Gap("A", 3, 4)) == 1
    assert len(items) == 3 * 29 + 1


def test_one_absurd_time_delays_nothing_else() -> None:
    topics = Topics()
    for number in range(20):
        if number == 3:
            topics.trade(4, "B", YEAR_2100_SECONDS, received=3)
        else:
            topics.trade(1 + number, "B", number)
        topics.update(1 + number, "A", number + 0.5)
    items = merged(topics)
    assert len(items) == 40
    assert [item.value["trade_id"] for item in items if item.name == "Trade"] == list(range(1, 21))
    assert [item.name for item in items[-4:]] == ["Trade", "DepthUpdate"] * 2


async def test_a_quiet_partition_delays_nothing_once_it_is_read_to_its_end() -> None:
    topics = Topics()
    reader = MemoryReader(topics)
    async with stream_of(reader, TOPICS, merged=True) as stream:
        topics.update(1, "A", time.time() - T0 / SECOND)
        topics.trade(1, "A", time.time() - T0 / SECOND)
        began = time.monotonic()
        events = stream.events()
        async with asyncio.timeout(20):
            assert [(await anext(events)).name for _ in range(2)] == ["DepthUpdate", "Trade"]  # type: ignore[union-attr]
        assert time.monotonic() - began >= 0.8  # others might still have been in transit


async def test_history_does_not_wait_for_the_clock() -> None:
    topics = Topics()
    for number in range(200):
        topics.trade(1 + number, "A", number)
    async with stream_of(MemoryReader(topics), TOPICS, start="beginning", merged=True) as stream:
        async with asyncio.timeout(20):
            events = stream.events()
            found = [await anext(events) for _ in range(200)]
    assert seconds(found) == list(range(200))


def test_reading_ahead_is_bounded() -> None:
    """The partition that all others wait for is read alone once the others have enough."""
    topics = Topics()
    for number in range(300):
        topics.update(1 + number, "A", number)
    for number in range(300):
        topics.trade(1 + number, "A", number)
    items = merged(topics)
    assert seconds(items) == sorted(seconds(items))


def test_unwanted_markets_show_how_far_their_partition_has_been_read() -> None:
    """Otherwise the whole partition would be read, and the records of the others kept, before anything is given."""
    topics = Topics({"market.trade": 1, "market.depth": 1})
    for number in range(500):
        topics.trade(1 + number, "B", YEAR_2100_SECONDS if number == 20 else number, received=number)
        topics.update(1 + number, "A", number)
    topics.trade(1, "A", 499.5)

    async def first() -> tuple[Any, int]:
        reader = MemoryReader(topics, [((PREFIX + "market.trade", 0), 50), ((PREFIX + "market.depth", 0), 50)] * 10)
        async with stream_of(reader, TOPICS, ["A"], start="beginning", until="end", merged=True) as stream:
            events = stream.events()
            item = await anext(events)
            polls = reader.polls
            rest = [each async for each in events]
            return [item, *rest], polls

    items, polls = asyncio.run(first())
    assert polls <= 4
    assert seconds(items) == [*range(500), 499.5]
    assert not any(item.is_late for item in items)


async def test_entered_again_it_leaves_out_what_it_has_given() -> None:
    topics = busy({3, 4}, refilled_at=9)
    stream = stream_of(MemoryReader(topics), TOPICS, start="beginning", until="end", merged=True)
    for count in (10, 40):
        async with stream:
            events = stream.events()
            items = [await anext(events) for _ in range(count)]
        assert len(items) == count
    topics.update(30, "A", 30.5)
    async with stream:
        rest = [item async for item in stream]
    assert seconds(rest)[:2] == [17.5, 18.0]
    assert len(rest) == 3 * 29 - 50 + 1
    assert seconds(rest)[-1] == 30.5
    async with stream:
        assert [item async for item in stream] == []


# ---- a symbol that moves to another partition

MOVES = next(
    symbol
    for symbol in (f"S{number}" for number in range(100))
    if (partition_of(symbol.encode(), 2), partition_of(symbol.encode(), 3)) == (0, 1)
)


@st.composite
def moves(draw: st.DrawFn) -> tuple[Topics, set[int], set[int]]:
    """Partitions are added. One producer, which knows them, and one that does not publish the same trades and updates meanwhile, each
    with losses of its own. Returns the ids that at least one of them has published, and those that both have lost.
    """
    topics, first = Topics(), draw(st.integers(1, 3))
    for number in range(1, first + 1):
        topics.trade(number, MOVES, number / 10)
        topics.update(number, MOVES, number / 10)
    published, lost = set(range(1, first + 1)), set()
    for name in ("market.trade", "market.depth"):
        topics.grow(name, 3)
    last = first + draw(st.integers(1, 8))
    for number in range(first + 1, last + 1):
        counts = draw(st.sampled_from([{2}, {3}, {2, 3}, {2, 3}, set()] if number < last else [{2}, {3}, {2, 3}]))
        for count in draw(st.permutations(sorted(counts))):
            topics.partitions["market.trade"] = topics.partitions["market.depth"] = count
            topics.trade(number, MOVES, number / 10)
            topics.update(number, MOVES, number / 10)
        (published if counts else lost).add(number)
    topics.partitions["market.trade"] = topics.partitions["market.depth"] = 3
    return topics, published, lost


@settings(max_examples=100)
@given(moves(), schedules, schedules)
def test_each_record_of_a_symbol_that_moves_is_given_once_in_order_and_losses_are_gaps(
    case: tuple[Topics, set[int], set[int]], schedule: Schedule, other: Schedule
) -> None:
    topics, published, lost = case
    items = merged(topics, schedule, ["market.depth", "market.trade"])
    for name, field in (("Trade", "trade_id"), ("DepthUpdate", "last_update_id")):
        records = [each for each in items if isinstance(each, StreamedRecord) and each.name == name]
        assert [each.value[field] for each in records] == sorted(published)
        assert not any(each.is_late for each in records)
    gaps = [each for each in items if isinstance(each, Gap)]
    assert {number for gap in gaps for number in range(gap.first_id, gap.last_id + 1)} == lost
    for gap in gaps:
        after = items[items.index(gap) + 1]
        assert (after.name, after.value["trade_id"]) == ("Trade", gap.last_id + 1)
    assert items == merged(topics, other, ["market.depth", "market.trade"])
