"""Records wait for Kafka in order and in bounded memory; a queue reports a full buffer and the result of each record."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.partition_queue import RECORD_OVERHEAD_BYTES, Handover, PartitionQueue, SendBuffer
from backpack_streams.bus.publisher import Publisher
from backpack_streams.errors import BusError

ROOM = 10 * RECORD_OVERHEAD_BYTES

appends = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.one_of(st.none(), st.binary(max_size=400)), st.booleans()), max_size=40
)


def queue_with(room: int = ROOM) -> PartitionQueue:
    return PartitionQueue(SendBuffer(room), "topic", 0)


@given(appends)
def test_waiting_records_are_bounded_and_refused_if_there_is_no_room(
    records: list[tuple[int, bytes | None, bool]],
) -> None:
    buffer = SendBuffer(ROOM)
    partition_queues = [PartitionQueue(buffer, "topic", 0), PartitionQueue(buffer, "topic", 1)]
    taken: list[list[tuple[bytes, bytes | None, int]]] = [[], []]
    held_bytes = refused = 0
    for number, (partition, value, spare) in enumerate(records):
        cost = RECORD_OVERHEAD_BYTES + len(value or b"")
        fits = held_bytes + cost <= (ROOM + ROOM // 10 if spare else ROOM)
        assert partition_queues[partition].append(b"key", value, number, spare=spare) is fits
        if fits:
            held_bytes += cost
            taken[partition].append((b"key", value, number))
        else:
            refused += 1
    assert [list(partition_queue.pending) for partition_queue in partition_queues] == taken
    assert buffer.used_bytes == held_bytes <= ROOM + ROOM // 10
    assert buffer.refused_records == refused


@given(st.lists(st.one_of(st.binary(max_size=100), st.integers(1, 5)), max_size=60))
def test_disposed_records_free_their_room_and_count_as_done(steps: list[bytes | int]) -> None:
    """A number is a batch of that many records that Kafka acknowledged, bytes are a record appended."""
    buffer = SendBuffer()
    partition_queue = PartitionQueue(buffer, "topic", 0)
    expected: list[bytes] = []
    handed_over = 0
    for step in steps:
        if isinstance(step, bytes):
            assert partition_queue.append(b"key", step, 0)
            expected.append(step)
            handed_over += 1
        elif len(expected) >= step:
            partition_queue.take()
            assert [value for _, value, _ in partition_queue.dispose(step)] == expected[:step]
            del expected[:step]
        assert partition_queue.handed_over == handed_over
        assert partition_queue.done == handed_over - len(expected)
        assert buffer.used_bytes == sum(RECORD_OVERHEAD_BYTES + len(value) for value in expected)


def test_a_report_has_room_when_data_has_none() -> None:
    partition_queue = queue_with()
    while partition_queue.append(b"key", b"", 0):
        pass
    assert not partition_queue.append(b"key", b"", 0)
    assert partition_queue.append(b"key", b"", 0, spare=True)


def test_the_backlog_of_one_queue_counts_for_all_queues() -> None:
    buffer = SendBuffer(ROOM)
    full, other = PartitionQueue(buffer, "topic", 0), PartitionQueue(buffer, "topic", 1)
    assert full.append(b"key", bytes(ROOM - RECORD_OVERHEAD_BYTES), 0)
    assert not other.append(b"key", None, 0)


async def test_a_sender_waits_for_the_first_record() -> None:
    partition_queue = queue_with()
    waiting = asyncio.create_task(partition_queue.filled())
    await asyncio.sleep(0)
    assert not waiting.done()
    partition_queue.append(b"a", b"1", 1)
    assert await waiting
    assert list(partition_queue.pending) == [(b"a", b"1", 1)]


async def test_a_cancelled_sender_does_not_swallow_the_next_record() -> None:
    partition_queue = queue_with()
    waiting = asyncio.create_task(partition_queue.filled())
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    partition_queue.append(b"a", b"1", 1)
    assert await partition_queue.filled()
    assert list(partition_queue.pending) == [(b"a", b"1", 1)]


async def test_a_queue_that_ends_releases_its_sender_once_it_is_empty() -> None:
    partition_queue = queue_with()
    waiting = asyncio.create_task(partition_queue.filled())
    await asyncio.sleep(0)
    partition_queue.end()
    assert not await waiting
    partition_queue.append(b"a", b"1", 1)
    assert await partition_queue.filled()


async def test_unacknowledged_records_are_counted_at_the_end() -> None:
    publisher = Publisher(KafkaConnection("localhost:1"))
    partition_queue = PartitionQueue(publisher.buffer, "topic", 0)
    publisher._partition_queues["topic"] = [partition_queue]
    partition_queue.append(b"a", b"1", 1)
    partition_queue.append(b"a", b"2", 2)
    assert await publisher.close() == 2
    assert publisher.unacknowledged_seconds() == 0
    with pytest.raises(BusError, match="closed before Kafka acknowledged"):
        await partition_queue.settled()


async def test_a_queue_settles_while_more_records_are_appended() -> None:
    partition_queue = queue_with()
    partition_queue.append(b"a", b"1", 1)
    settled = asyncio.create_task(partition_queue.settled())
    await asyncio.sleep(0)
    partition_queue.append(b"a", b"2", 2)
    partition_queue.take()
    partition_queue.dispose(1)
    await asyncio.wait_for(settled, 5)
    assert partition_queue.pending


async def test_a_caller_that_waits_for_a_failing_publisher_gets_the_error() -> None:
    partition_queue = queue_with()
    partition_queue.append(b"a", b"1", 1)
    settled = asyncio.create_task(partition_queue.settled())
    await asyncio.sleep(0)
    partition_queue.buffer.failure = BusError("stuck")
    with pytest.raises(BusError, match="stuck"):
        await settled


def test_a_queue_knows_how_long_its_oldest_record_has_waited() -> None:
    partition_queue = queue_with()
    before = time.monotonic()
    partition_queue.append(b"a", b"1", 1)
    first = partition_queue.waiting_since
    assert before <= first <= time.monotonic()
    partition_queue.append(b"b", b"2", 2)
    assert partition_queue.waiting_since == first
    assert partition_queue.take() == first
    partition_queue.append(b"c", b"3", 3)
    second = partition_queue.waiting_since
    assert second > first
    partition_queue.dispose(1)
    assert partition_queue.take() == first, "the second of what was taken has waited as long"
    partition_queue.dispose(1)
    assert partition_queue.take() == second


@given(st.data())
async def test_each_of_several_callers_learns_which_of_its_records_kafka_rejected(data: st.DataObject) -> None:
    """Several callers append to one queue in turns; Kafka rejects some records and acknowledges others in batches of any size."""
    partition_queue = PartitionQueue(SendBuffer(), "topic", 0)
    callers = [Handover(partition_queue) for _ in range(3)]
    owners = data.draw(st.lists(st.sampled_from([0, 1, 2, None]), max_size=30))
    refused = data.draw(st.sets(st.integers(0, max(0, len(owners) - 1))))
    expected: list[set[int]] = [set(), set(), set()]
    counts = [0, 0, 0]
    for position, owner in enumerate(owners):
        if owner is None:
            assert partition_queue.append(b"key", b"", 0)
            continue
        assert callers[owner].append(b"key", b"", 0)
        if position in refused:
            expected[owner].add(counts[owner])
        counts[owner] += 1
    waiting = [asyncio.create_task(caller.settled()) for caller in callers]
    whole = asyncio.create_task(partition_queue.settled())
    await asyncio.sleep(0)
    while partition_queue.pending:
        if partition_queue.done in refused:
            partition_queue.refuse()
        else:
            room = (
                next((each for each in sorted(refused) if each >= partition_queue.done), len(owners))
                - partition_queue.done
            )
            partition_queue.dispose(data.draw(st.integers(1, min(room, len(partition_queue.pending)))))
    assert [set(await each) for each in waiting] == expected
    assert await whole == len([each for each in refused if each < len(owners)])
    assert not partition_queue._handovers
