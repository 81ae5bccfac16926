"""Records wait for Kafka in order and in bounded memory; a lane says when there is no room."""

import asyncio
import time

from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.publisher import RECORD_OVERHEAD_BYTES, Lane, Publisher

ROOM = 10 * RECORD_OVERHEAD_BYTES

appends = st.lists(
    st.tuples(st.sampled_from([0, 1]), st.one_of(st.none(), st.binary(max_size=400)), st.booleans()), max_size=40
)


def publisher_with(room: int) -> Publisher:
    return Publisher(KafkaConnection("localhost:1"), room)


@given(appends)
def test_what_waits_is_bounded_and_what_has_no_room_is_refused(records: list[tuple[int, bytes | None, bool]]) -> None:
    publisher = publisher_with(ROOM)
    lanes = [Lane(publisher, "topic", 0), Lane(publisher, "topic", 1)]
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
    assert [lane.pending for lane in lanes] == taken
    assert publisher.buffered_bytes == held_bytes <= ROOM + ROOM // 10
    assert publisher.refused_records == refused


def test_a_report_has_room_when_data_has_none() -> None:
    publisher = publisher_with(ROOM)
    lane = Lane(publisher, "topic", 0)
    while lane.append(b"key", b"", 0):
        pass
    assert not lane.append(b"key", b"", 0)
    assert lane.append(b"key", b"", 0, spare=True)


def test_one_lane_s_backlog_counts_for_all_lanes() -> None:
    publisher = publisher_with(ROOM)
    full, other = Lane(publisher, "topic", 0), Lane(publisher, "topic", 1)
    assert full.append(b"key", bytes(ROOM - RECORD_OVERHEAD_BYTES), 0)
    assert not other.append(b"key", None, 0)


async def test_take_gives_all_that_waits_in_order_and_leaves_nothing() -> None:
    lane = Lane(publisher_with(ROOM), "topic", 0)
    lane.append(b"a", b"1", 1)
    lane.append(b"b", None, 2)
    assert await lane.take() == [(b"a", b"1", 1), (b"b", None, 2)]
    assert lane.pending == []


async def test_take_waits_for_the_first_record_and_takes_what_came_with_it() -> None:
    lane = Lane(publisher_with(ROOM), "topic", 0)
    taking = asyncio.create_task(lane.take())
    await asyncio.sleep(0)
    assert not taking.done()
    lane.append(b"a", b"1", 1)
    lane.append(b"a", b"2", 2)
    assert await taking == [(b"a", b"1", 1), (b"a", b"2", 2)]


async def test_a_taker_that_was_cancelled_does_not_swallow_the_next_record() -> None:
    lane = Lane(publisher_with(ROOM), "topic", 0)
    taking = asyncio.create_task(lane.take())
    await asyncio.sleep(0)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    lane.append(b"a", b"1", 1)
    assert await lane.take() == [(b"a", b"1", 1)]


async def test_a_publisher_that_closes_wakes_its_lanes() -> None:
    publisher = publisher_with(ROOM)
    lane = Lane(publisher, "topic", 0)
    publisher._lanes["topic"] = [lane]
    taking = asyncio.create_task(lane.take())
    await asyncio.sleep(0)
    assert await publisher.close() == 0
    assert await taking == []


async def test_what_was_never_acknowledged_is_counted_at_the_end() -> None:
    publisher = publisher_with(ROOM)
    lane = Lane(publisher, "topic", 0)
    publisher._lanes["topic"] = [lane]
    lane.append(b"a", b"1", 1)
    lane.append(b"a", b"2", 2)
    assert await publisher.close() == 2
    assert publisher.unacknowledged_seconds() == 0


async def test_a_lane_knows_since_when_the_first_of_what_waits_has_waited() -> None:
    lane = Lane(publisher_with(ROOM), "topic", 0)
    before = time.monotonic()
    lane.append(b"a", b"1", 1)
    first = lane.waiting_since
    assert before <= first <= time.monotonic()
    lane.append(b"b", b"2", 2)
    assert lane.waiting_since == first
    await lane.take()
    lane.append(b"c", b"3", 3)
    assert lane.waiting_since > first
