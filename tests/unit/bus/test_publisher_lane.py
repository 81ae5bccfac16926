"""Records wait for Kafka in order and in bounded memory; a queue says when there is no room, and what became of what was handed over."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partition_queue import RECORD_OVERHEAD_BYTES, Handover, Lane, SendBuffer
from backpack_streams.bus.publisher import Publisher
from backpack_streams.errors import BusError

ROOM = 10 * RECORD_OVERHEAD_BYTES

appends = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.one_of(st.none(), st.binary(max_size=400)), st.booleans()), max_size=40
)


def lane_with(room: int = ROOM) -> Lane:
    return Lane(SendBuffer(room), "topic", 0)


@given(appends)
def test_what_waits_is_bounded_and_what_has_no_room_is_refused(records: list[tuple[int, bytes | None, bool]]) -> None:
    buffer = SendBuffer(ROOM)
    lanes = [Lane(buffer, "topic", 0), Lane(buffer, "topic", 1)]
    taken: list[list[tuple[bytes, bytes | None, int]]] = [[], []]
    held_bytes = refused = 0
    for number, (partition, value, spare) in enumerate(records):
        cost = RECORD_OVERHEAD_BYTES + len(value or b"")
        fits = held_bytes + cost <= (ROOM + ROOM // 10 if spare else ROOM)
        assert lanes[partition].append(b"key", value, number, spare=spare) is fits
        if fits:
            held_bytes += cost
            taken[partition].append((b"key", value, number))
        else:
            refused += 1
    assert [list(lane.pending) for lane in lanes] == taken
    assert buffer.used_bytes == held_bytes <= ROOM + ROOM // 10
    assert buffer.refused_records == refused


@given(st.lists(st.one_of(st.binary(max_size=100), st.integers(1, 5)), max_size=60))
def test_what_is_disposed_of_gives_its_room_back_and_counts_as_done(steps: list[bytes | int]) -> None:
    """A number is a batch of that many records that Kafka acknowledged, bytes are a record handed over."""
    buffer = SendBuffer()
    lane = Lane(buffer, "topic", 0)
    expected: list[bytes] = []
    handed_over = 0
    for step in steps:
        if isinstance(step, bytes):
            assert lane.append(b"key", step, 0)
            expected.append(step)
            handed_over += 1
        elif len(expected) >= step:
            lane.take()
            assert [value for _, value, _ in lane.dispose(step)] == expected[:step]
            del expected[:step]
        assert lane.handed_over == handed_over
        assert lane.done == handed_over - len(expected)
        assert buffer.used_bytes == sum(RECORD_OVERHEAD_BYTES + len(value) for value in expected)


def test_a_report_has_room_when_data_has_none() -> None:
    lane = lane_with()
    while lane.append(b"key", b"", 0):
        pass
    assert not lane.append(b"key", b"", 0)
    assert lane.append(b"key", b"", 0, spare=True)


def test_one_queue_s_backlog_counts_for_all_queues() -> None:
    buffer = SendBuffer(ROOM)
    full, other = Lane(buffer, "topic", 0), Lane(buffer, "topic", 1)
    assert full.append(b"key", bytes(ROOM - RECORD_OVERHEAD_BYTES), 0)
    assert not other.append(b"key", None, 0)


async def test_a_sender_waits_for_the_first_record() -> None:
    lane = lane_with()
    waiting = asyncio.create_task(lane.filled())
    await asyncio.sleep(0)
    assert not waiting.done()
    lane.append(b"a", b"1", 1)
    assert await waiting
    assert list(lane.pending) == [(b"a", b"1", 1)]


async def test_a_sender_that_was_cancelled_does_not_swallow_the_next_record() -> None:
    lane = lane_with()
    waiting = asyncio.create_task(lane.filled())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    lane.append(b"a", b"1", 1)
    assert await lane.filled()
    assert list(lane.pending) == [(b"a", b"1", 1)]


async def test_a_queue_that_ends_lets_its_sender_go_once_it_is_empty() -> None:
    lane = lane_with()
    waiting = asyncio.create_task(lane.filled())
    await asyncio.sleep(0)
    lane.end()
    assert not await waiting
    lane.append(b"a", b"1", 1)
    assert await lane.filled()


async def test_what_was_never_acknowledged_is_counted_at_the_end() -> None:
    publisher = Publisher(KafkaConnection("localhost:1"))
    lane = Lane(publisher.buffer, "topic", 0)
    publisher._lanes["topic"] = [lane]
    lane.append(b"a", b"1", 1)
    lane.append(b"a", b"2", 2)
    assert await publisher.close() == 2
    assert publisher.unacknowledged_seconds() == 0
    with pytest.raises(BusError, match="closed before Kafka had acknowledged"):
        await lane.settled()


async def test_a_queue_is_settled_though_more_is_handed_over_all_the_time() -> None:
    lane = lane_with()
    lane.append(b"a", b"1", 1)
    settled = asyncio.create_task(lane.settled())
    await asyncio.sleep(0)
    lane.append(b"a", b"2", 2)
    lane.take()
    lane.dispose(1)
    await asyncio.wait_for(settled, 5)
    assert lane.pending


async def test_who_waits_for_a_publisher_that_fails_is_told() -> None:
    lane = lane_with()
    lane.append(b"a", b"1", 1)
    settled = asyncio.create_task(lane.settled())
    await asyncio.sleep(0)
    lane.buffer.failure = BusError("stuck")
    with pytest.raises(BusError, match="stuck"):
        await settled


def test_a_queue_knows_since_when_the_first_of_what_waits_has_waited() -> None:
    lane = lane_with()
    before = time.monotonic()
    lane.append(b"a", b"1", 1)
    first = lane.waiting_since
    assert before <= first <= time.monotonic()
    lane.append(b"b", b"2", 2)
    assert lane.waiting_since == first
    assert lane.take() == first
    lane.append(b"c", b"3", 3)
    second = lane.waiting_since
    assert second > first
    lane.dispose(1)
    assert lane.take() == first, "the second of what was taken has waited as long"
    lane.dispose(1)
    assert lane.take() == second


@given(st.data())
async def test_each_of_several_callers_learns_which_of_its_records_kafka_refused(data: st.DataObject) -> None:
    """Several hand over to one queue in turns; Kafka refuses some records and acknowledges others in batches of any size."""
    lane = Lane(SendBuffer(), "topic", 0)
    callers = [Handover(lane) for _ in range(3)]
    owners = data.draw(st.lists(st.sampled_from([0, 1, 2, None]), max_size=30))
    refused = data.draw(st.sets(st.integers(0, max(0, len(owners) - 1))))
    expected: list[set[int]] = [set(), set(), set()]
    counts = [0, 0, 0]
    for position, owner in enumerate(owners):
        if owner is None:
            assert lane.append(b"key", b"", 0)
            continue
        assert callers[owner].append(b"key", b"", 0)
        if position in refused:
            expected[owner].add(counts[owner])
        counts[owner] += 1
    waiting = [asyncio.create_task(caller.settled()) for caller in callers]
    whole = asyncio.create_task(lane.settled())
    await asyncio.sleep(0)
    while lane.pending:
        if lane.done in refused:
            lane.refuse()
        else:
            room = next((each for each in sorted(refused) if each >= lane.done), len(owners)) - lane.done
            lane.dispose(data.draw(st.integers(1, min(room, len(lane.pending)))))
    assert [set(await each) for each in waiting] == expected
    assert await whole == len([each for each in refused if each < len(owners)])
    assert not lane._handovers
