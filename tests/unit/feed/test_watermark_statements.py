"""What a watermark states: coverage, when due or changed, the offsets after what Kafka has, and whether it is the last."""

from typing import Any

import pytest

from backpack_streams.exchange.session_actions import StreamsInactive
from backpack_streams.feed.watermarks import Watermarks
from backpack_streams.sequencing import watermarks
from backpack_streams.sequencing.watermarks import Instances
from unit.feed.recorded_queues import Plant, depth_frame, encoder
from unit.feed.watermarking_instance import SECOND, Between, Instance, PartitionQueue, S

# ---- coverage


def stated(since: int, until: int | None, owes: int | None = None) -> dict[str, Any]:
    """The interval of the one stream; `owes`: when its coverage ended before a break that is not recorded yet."""
    return {
        "since": since * SECOND,
        "until": until and until * SECOND,
        "is_settled": owes is None,
        "settled_until": owes and owes * SECOND,
        "streams": [S],
    }


def reader_of(row: dict[str, Any]) -> watermarks.Instance:
    instances = Instances()
    instances.take(row)
    return instances.by_id[row["instance"]]


def statements(instance: Instance, count: int) -> list[bool]:
    made = []
    for _ in range(count):
        instance.mark(instance.now + 1)
        row = instance.says()
        assert row is not None
        made.append(row["coverage"] is not None)
        if row["coverage"] is None:
            assert 0 < row["sequence"] - row["coverage_sequence"] < 10
        else:
            assert row["coverage_sequence"] == row["sequence"]
    return made


def test_coverage_is_stated_in_the_first_and_every_tenth_record() -> None:
    assert statements(Instance(), 25) == [number % 10 == 0 for number in range(25)]


@pytest.mark.parametrize(("interval_ms", "between"), [(100, 10), (3_000, 10), (6_000, 5), (60_000, 1), (600_000, 1)])
def test_coverage_is_stated_twice_a_minute_even_if_records_are_rare(interval_ms: int, between: int) -> None:
    assert statements(Instance(interval_ms), 21) == [number % between == 0 for number in range(21)]


def test_coverage_is_stated_when_it_changes() -> None:
    instance = Instance()
    assert statements(instance, 3) == [True, False, False]
    instance.take(StreamsInactive((S,), 0, instance.now, "DISCONNECTED"))
    assert statements(instance, 2) == [True, False]
    instance.coverage.want([S, "trade.X"])
    assert statements(instance, 2) == [True, False]


def test_coverage_is_stated_as_of_the_mark_and_not_later() -> None:
    instance = Instance()
    [partition_queue] = instance.between.partitions
    partition_queue.handed_over = 1
    instance.mark(11.0)
    instance.take(StreamsInactive((S,), 0, 11.0, "DISCONNECTED"))
    instance.marks.mark(instance.moment)
    partition_queue.done = 1
    partition_queue.handed_over = 2
    instance.marks.mark(instance.moment)
    row = instance.says()
    assert row is not None
    assert row["coverage"] == [stated(10, 11)]


def test_a_record_without_room_does_not_count() -> None:
    instance = Instance()
    assert statements(instance, 2) == [True, False]
    instance.take(StreamsInactive((S,), 0, instance.now, "DISCONNECTED"))
    instance.mark(instance.now + 1)
    through = instance.marks.through
    lost = instance.marks.next_row(instance.moment)  # and is not handed over
    assert lost is not None
    assert (lost["sequence"], instance.marks.through) == (2, through)
    instance.mark(instance.now + 1)
    row = instance.says()
    assert row is not None
    assert (row["sequence"], row["coverage_sequence"]) == (2, 2), "what it stated is stated by the next one"
    assert row["coverage"] is not None


def test_between_a_break_and_its_gap_coverage_counts_only_until_the_break() -> None:
    plant = Plant([S])
    plant.send(depth_frame(1, 1, 1))
    marks = Watermarks("market-producer", plant.coverage, Between(), 1000, lambda: "me")
    plant.uncover(0, through=5.0)
    plant.cover(1, at=60.0)
    plant.tick(60.5)
    plant.prove(1)
    marks.mark(plant.moment)
    row = marks.next_row(plant.moment)
    assert plant.partition_queues.gaps[1:] == [], "the next message may tell what was missed"
    assert row is not None
    assert row["coverage"] == [stated(60, None, owes=5)]
    assert reader_of(row).covered_until(S) == 5 * SECOND
    marks.published(row)
    plant.tick(70.0)
    assert len(plant.partition_queues.gaps) == 2
    plant.prove(1)
    marks.mark(plant.moment)
    row = marks.next_row(plant.moment)
    assert row is not None
    assert row["coverage"] == [stated(60, None)]


# ---- the first record


def test_the_first_record_states_the_coverage_and_claims_nothing_before() -> None:
    instance = Instance()
    instance.proven(15.0)
    row = instance.marks.first_row(instance.moment)
    encoder("ops.watermark")(row)
    assert (row["sequence"], row["complete_through"], row["coverage"]) == (0, 10 * SECOND, [stated(10, None)])
    instance.marks.published(row)
    instance.mark(16.0)
    second = instance.says()
    assert second is not None
    assert (second["sequence"], second["coverage_sequence"], second["coverage"]) == (1, 0, None)


# ---- offsets, and the last record


def test_offsets_follow_what_kafka_has_by_topic_and_partition() -> None:
    instance = Instance()
    instance.between.partitions = [
        PartitionQueue("p.trade", 1, 4, 4),
        PartitionQueue("p.depth", 0, 7, 7),
        PartitionQueue("p.trade", 0, 0, 0),
        PartitionQueue("p.ops.watermark", 0, 9, 9),
    ]
    instance.mark(11.0)
    row = instance.says()
    assert row is not None
    assert row["offsets"] == [
        {"topic": "p.depth", "next_offsets": [1007]},
        {"topic": "p.ops.watermark", "next_offsets": [1009]},
        {"topic": "p.trade", "next_offsets": [-1, 1004]},
    ]


def test_the_last_record_is_made_only_if_kafka_has_everything() -> None:
    instance = Instance()
    [partition_queue] = instance.between.partitions
    instance.mark(11.0)
    instance.says()
    instance.take(StreamsInactive((S,), 0, 11.0, "DISCONNECTED"))
    partition_queue.handed_over = 1
    assert instance.marks.last_row(instance.moment) is None
    partition_queue.done = 1
    instance.between.owes = True
    assert instance.marks.last_row(instance.moment) is None
    instance.between.owes = False
    row = instance.marks.last_row(instance.moment)
    assert row is not None
    assert (row["is_final"], row["sequence"]) == (True, 1)
    assert row["coverage"] == [stated(10, 11)]
