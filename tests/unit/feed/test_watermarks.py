"""A watermark claims only what Kafka has acknowledged, whatever waits, is refused, or is not yet reported."""

import pytest

from unit.feed.recorded_queues import Plant, depth_frame, ticker_frame
from unit.feed.watermarking_instance import SECOND, Instance, PartitionQueue, S


def test_a_mark_becomes_a_watermark_at_once_if_nothing_is_in_flight() -> None:
    instance = Instance()
    assert instance.says() is None
    instance.mark(11.0)
    row = instance.says()
    assert row is not None
    assert (row["instance"], row["sequence"], row["complete_through"]) == ("me", 0, 11 * SECOND)
    assert instance.says() is None
    assert instance.marks.through == instance.moment


def test_every_partition_must_have_acknowledged_what_was_handed_over_before_the_mark() -> None:
    instance = Instance()
    one, two = PartitionQueue(handed_over=3), PartitionQueue(partition=1, handed_over=2)
    instance.between.partitions = [one, two]
    instance.mark(11.0)
    one.done = 3
    one.handed_over = 50
    assert instance.through() is None
    two.done = 1
    assert instance.through() is None
    two.done = 2
    assert instance.through() == 11.0


def test_the_newest_acknowledged_mark_counts() -> None:
    instance = Instance()
    [partition_queue] = instance.between.partitions
    for second in (11, 12, 13):
        partition_queue.handed_over = second
        instance.mark(second)
    partition_queue.done = 12
    assert instance.through() == 12.0
    assert instance.through() is None
    partition_queue.done = 13
    assert instance.through() == 13.0


def test_its_own_records_need_no_acknowledgement() -> None:
    instance = Instance()
    instance.between.partitions = [PartitionQueue("backpack.ops.watermark", handed_over=5)]
    instance.mark(11.0)
    row = instance.says()
    assert row is not None
    assert row["offsets"] == [{"topic": "backpack.ops.watermark", "next_offsets": [-1]}], (
        "readers need its place all the same"
    )


def test_a_record_that_kafka_refused_cancels_the_marks_before_its_report() -> None:
    instance = Instance()
    [partition_queue] = instance.between.partitions
    partition_queue.handed_over = 1
    instance.mark(11.0)
    partition_queue.done, instance.between.rejected = 1, 1
    partition_queue.handed_over = 2  # the report
    assert instance.through() is None
    instance.mark(12.0)
    assert instance.through() is None
    partition_queue.done = 2
    assert instance.through() == 12.0


def test_owed_reports_hold_marks_back() -> None:
    instance = Instance()
    instance.between.owes = True
    instance.mark(11.0)
    instance.between.owes = False
    assert instance.through() is None
    instance.mark(12.0)
    assert instance.through() == 12.0


def test_held_messages_bound_the_mark() -> None:
    instance = Instance()
    instance.proven(10.7)
    instance.between.held = 10.2
    instance.marks.mark(instance.moment)
    assert instance.through() == 10.2
    instance.between.held = 99.0
    instance.mark(11.0)
    assert instance.through() == 11.0


def test_a_held_message_was_sent_after_everything_proven_when_it_arrived() -> None:
    """Not after it was received: until then it was in flight."""
    plant = Plant([S], sockets=2)
    for socket in (0, 1):
        plant.prove(socket, at=10.0)
    plant.send(depth_frame(1, 1, 1))
    plant.tick(10.9)
    plant.send(depth_frame(3, 3, 3))
    for socket in (0, 1):
        plant.prove(socket, at=10.95)
    assert plant.router.held_since() == 10.0
    plant.tick(12.0)
    assert plant.router.held_since() is None


@pytest.mark.parametrize("stream", ["depth.X", "bookTicker.X"])
def test_a_message_held_before_its_stream_was_covered_bounds_the_mark_too(stream: str) -> None:
    """Its subscription was effective from second 5 on, and confirmed later."""
    frame = depth_frame(15, 15, 6) if stream == "depth.X" else ticker_frame(15, 6)
    plant = Plant([stream], sockets=0)
    plant.feed(stream).resume(10, 1)
    plant.cover(0, at=2.0)
    plant.uncover(0)
    for socket in (1, 2):
        plant.prove(socket, at=5.0)
    plant.tick(5.0)
    plant.send(frame, socket=1)
    assert plant.router.held_since() is None, "nothing is claimed of the stream yet"
    plant.cover(1, at=5.1)
    plant.tick(5.2)
    assert plant.router.held_since() == 5.1
    if stream == "depth.X":
        assert not plant.coverage.statement()[0][0].is_settled, "what the held message shows is not on record yet"
    plant.tick(5.3)
    plant.tick(5.6)
    assert plant.router.held_since() is None
    assert plant.coverage.statement()[0][0].is_settled
    told = [(gap["reason"], gap["next_id"]) for gap in plant.partition_queues.gaps]
    assert told[-1] == ("DISCONNECTED", 15 if stream == "depth.X" else None)


def test_a_socket_with_unanswered_pings_stops_the_watermark() -> None:
    instance = Instance()
    instance.mark(11.0)
    assert instance.through() == 11.0
    for second in (12.0, 13.0, 60.0):
        instance.now = second
        instance.marks.mark(instance.moment)
        row = instance.says()
        assert row is not None
        assert (row["complete_through"], row["published_time"]) == (11 * SECOND, round(second * SECOND))
