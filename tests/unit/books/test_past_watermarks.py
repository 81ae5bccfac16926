"""When a past watermark was made, by the exchange's clock, and which watermarks are due."""

from typing import Any

from aiokafka.structs import ConsumerRecord

from backpack_streams.books.past_watermarks import PastWatermarks
from past_plant import DEPTH, START_US, WATERMARK, encoded
from vouched_plant import CODEC, SECOND

TOPIC_PARTITION = (DEPTH, 0)


def watermark(offset: int, seconds: float, written: int, instance: str = "a", ahead: float = 0.0) -> Any:
    now_us = START_US + int((seconds + ahead) * SECOND)
    row: dict[str, Any] = {
        "service": "s",
        "instance": instance,
        "sequence": offset,
        "complete_through": now_us,
        "published_time": now_us,
        "interval_ms": 1000,
        "is_final": False,
        "offsets": [{"topic": DEPTH, "next_offsets": [written]}],
        "coverage_sequence": 0,
        "coverage": None,
    }
    value = encoded("Watermark", row)
    return ConsumerRecord(WATERMARK, 0, offset, now_us // 1000, 0, instance.encode(), value, None, 0, 0, ())


def fed(*records: Any, position: int = 0, asked: tuple[tuple[int, int], ...] = ()) -> PastWatermarks:
    watermarks = PastWatermarks(CODEC, (WATERMARK, 0), DEPTH, asked)
    watermarks.positions[TOPIC_PARTITION] = position
    watermarks.feed(records)
    return watermarks


def due(watermarks: PastWatermarks, seconds: float) -> list[tuple[int, float]]:
    given = watermarks.due(START_US + int(seconds * SECOND), at_once=True)
    return [(each.record.offset, (each.at_us - START_US) / SECOND) for each in given]


def observe(watermarks: PastWatermarks, offset: int, seconds: float, ahead: float) -> None:
    engine_us = START_US + int(seconds * SECOND)
    watermarks.observe(TOPIC_PARTITION, offset, engine_us, engine_us + int(ahead * SECOND))


def test_each_watermark_is_due_at_its_time() -> None:
    watermarks = fed(*(watermark(number, number, 0) for number in range(4)))
    assert due(watermarks, 1.5) == [(0, 0), (1, 1)]
    assert not watermarks.is_through(START_US + 3 * SECOND)
    assert watermarks.is_through(START_US + 1_900_000)
    assert due(watermarks, 3) == [(2, 2), (3, 3)]
    assert watermarks.is_hungry
    watermarks.rest()
    assert watermarks.is_through(None)


def test_no_watermark_is_from_before_the_updates_that_it_names() -> None:
    watermarks = fed(watermark(0, 10, 5, ahead=-3600), position=4)
    assert due(watermarks, 9) == []
    assert watermarks.is_through(START_US + 9 * SECOND), "it is from later"
    observe(watermarks, 4, 9.9, ahead=-3600)
    watermarks.positions[TOPIC_PARTITION] = 5
    assert due(watermarks, 9.9) == []
    assert due(watermarks, 10) == [(0, 10)]


def test_updates_show_that_a_clock_is_ahead() -> None:
    watermarks = fed(*(watermark(number, number, number + 1, ahead=3600) for number in range(5)), position=9)
    for number in range(3):
        observe(watermarks, number, number, ahead=3600)
    assert due(watermarks, 1) == [(0, 0), (1, 1)]
    assert due(watermarks, 4) == [(2, 2), (3, 3), (4, 4)], "what is known of a clock that runs on stays known"


def test_a_watermark_that_nothing_confirms_delays_no_other() -> None:
    """The clock of b is an hour ahead and the markets are silent; watermarks of a follow it in the topic."""
    watermarks = fed(watermark(0, 0, 0), watermark(1, 0.5, 0, "b", 3600), watermark(2, 1, 0), watermark(3, 2, 0))
    assert due(watermarks, 1) == [(0, 0), (1, 1), (2, 1)]
    assert due(watermarks, 2) == [(3, 2)]


def test_a_snapshot_dates_watermarks_that_were_there_before_its_request() -> None:
    records = [watermark(number, number, 0, ahead=3600) for number in range(3)]
    asked = ((3, START_US + 2_500_000),)
    assert [offset for offset, _ in due(fed(*records, asked=asked), 3)] == [0, 1, 2]
    assert due(fed(*records), 3) == []


def test_after_the_update_topic_was_recreated_older_watermarks_delay_nothing() -> None:
    records = [watermark(0, 0, 500), watermark(1, 1, 501), watermark(2, 2, 1), watermark(3, 3, 2)]
    watermarks = fed(*records, position=2)
    assert due(watermarks, 3) == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_a_producer_without_update_offsets_does_not_count_for_books() -> None:
    """A producer of other streams, whose clock is compared with nothing."""
    records = [watermark(0, 0, 0), watermark(1, 0.5, 0, "perp", -3600), watermark(2, 1, 0)]
    row = CODEC.decode(records[1].value)[1] | {"offsets": []}
    records[1].value = CODEC.encoder("Watermark", "b.any")(row)
    assert due(fed(*records), 1) == [(0, 0), (2, 1)]
