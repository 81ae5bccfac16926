"""Nothing is missed if another instance covers a stream past our start; otherwise there is a break since it was last covered."""

from typing import Any

import pytest

from backpack_streams.feed.handover import Handover

SECOND = 1_000_000
S, OTHER = "depth.X", "trade.X"
INTERVAL_MS = 1000
TOPIC_PARTITION = ("backpack.ops.watermark", 0)


class Topic:
    """The topic of watermarks, to which all witnesses write."""

    end = 0


@pytest.fixture(autouse=True)
def _empty_topic() -> None:
    Topic.end = 0


class Witness:
    """Another instance, which writes watermarks by its own clock."""

    def __init__(self, name: str = "a", ahead: float = 0.0, streams: tuple[str, ...] = (S,)) -> None:
        self.name = name
        self.ahead = ahead
        self.streams = streams
        self.sequence = 0
        self.since = 10.0
        self.acknowledged = -1

    def says(
        self, made: float, through: float, until: float | None = None, *, states: bool = True, final: bool = False
    ) -> dict[str, Any]:
        """A watermark made at one moment, complete through another."""

        def us(seconds: float) -> int:
            return round((seconds + self.ahead) * SECOND)

        self.sequence += 1
        offsets = [{"topic": TOPIC_PARTITION[0], "next_offsets": [self.acknowledged]}]
        Topic.end += 1
        self.acknowledged = Topic.end
        interval = {
            "since": us(self.since),
            "until": None if until is None else us(until),
            "streams": list(self.streams),
        }
        return {
            "service": "market-producer", "instance": self.name, "sequence": self.sequence, "complete_through": us(through),
            "published_time": us(made), "interval_ms": INTERVAL_MS, "is_final": final, "offsets": offsets,
            "coverage_sequence": self.sequence if states else 1, "coverage": [interval] if states else None,
        }  # fmt: skip


def always(stream: str) -> bool:
    return True


def begun(*before: dict[str, Any], streams: tuple[str, ...] = (S,)) -> Handover:
    """The topic's content when our streams were confirmed, at second 100 of our clock."""
    handover = Handover(streams, TOPIC_PARTITION)
    for record in before:
        handover.take(record)
    handover.begin(100.0, Topic.end)
    return handover


@pytest.mark.parametrize("ahead", [-3600.0, 0.0, 3600.0])
def test_an_instance_that_goes_on_past_our_start_leaves_nothing_to_miss_whatever_its_clock_says(ahead: float) -> None:
    other = Witness(ahead=ahead)
    handover = begun(other.says(99.5, 99.0))
    assert handover.waits(100.1)
    handover.take(other.says(100.5, 100.0))
    assert handover.waits(101.0), "that one may have been made before ours were confirmed"
    handover.take(other.says(101.5, 101.0))
    assert handover.waits(102.0), "only this one was certainly made after the first one was in Kafka"
    handover.take(other.says(102.5, 102.0))
    assert not handover.waits(102.6)
    assert handover.covered(always) == {S: None}


def test_a_watermark_that_kafka_held_up_until_after_our_start_proves_nothing() -> None:
    other = Witness()
    handover = begun(other.says(97.6, 97.5))
    handover.take(other.says(98.6, 98.5))  # made before our start
    handover.take(other.says(100.7, 99.5))
    assert handover.waits(100.8)
    assert handover.covered(always) == {S: 99_500_000}


def test_a_topic_without_instances_is_not_waited_for() -> None:
    handover = Handover([S], TOPIC_PARTITION)
    assert handover.waits(0.0), "before the topic was read to its end"
    handover.begin(100.0, 0)
    assert not handover.waits(100.0)
    assert handover.covered(always) == {}


def test_a_killed_instance_is_waited_for_briefly_and_covers_until_its_last_watermark() -> None:
    handover = begun(Witness().says(80.0, 79.0))
    assert handover.waits(102.4)
    assert not handover.waits(102.5)
    assert handover.covered(always) == {S: 79 * SECOND}


def test_an_instance_that_stopped_cleanly_is_not_waited_for() -> None:
    handover = begun(Witness().says(80.0, 79.0, final=True))
    assert not handover.waits(100.0)
    assert handover.covered(always) == {S: 79 * SECOND}


def test_an_instance_that_no_longer_covers_our_streams_is_not_waited_for() -> None:
    handover = begun(Witness().says(99.0, 99.0, until=60.0))
    assert not handover.waits(100.0)
    assert handover.covered(always) == {S: 60 * SECOND}


def test_an_instance_that_does_not_get_past_our_start_is_given_up() -> None:
    other = Witness()
    handover = begun(other.says(99.5, 90.0))
    for second in range(100, 115):
        handover.take(other.says(second + 0.5, 90.0))
        assert handover.waits(second + 0.6)
    assert not handover.waits(115.0)
    assert handover.covered(always) == {S: 90 * SECOND}


def test_an_instance_that_ends_meanwhile_covers_what_it_proved() -> None:
    other = Witness()
    handover = begun()
    handover.take(other.says(100.5, 100.0))
    handover.take(other.says(101.5, 101.0))
    handover.take(other.says(102.5, 102.5, final=True))
    assert handover.covered(always) == {S: None}
    handover = begun()
    handover.take(other.says(100.5, 100.5, final=True))
    assert not handover.waits(100.6)
    assert handover.covered(always) == {S: 100_500_000}, "nobody knows whether that was after our start"


def test_an_instance_whose_coverage_broke_meanwhile_has_missed_something() -> None:
    other = Witness()
    handover = begun(other.says(99.5, 99.0))
    handover.take(other.says(100.5, 100.0))
    other.since = 101.0
    handover.take(other.says(102.5, 102.0))
    assert handover.covered(always) == {S: 102 * SECOND}


def test_an_instance_whose_coverage_was_never_read_covers_nothing() -> None:
    other = Witness()
    handover = begun()
    for second in (100.5, 101.5, 102.5):
        handover.take(other.says(second, second, states=False))
    assert handover.covered(always) == {}


def test_a_statement_read_late_gives_the_end_of_coverage_but_proves_nothing_before() -> None:
    other = Witness()
    handover = begun()
    handover.take(other.says(100.5, 100.5, states=False))
    handover.take(other.says(101.5, 101.0))
    assert handover.covered(always) == {S: 101 * SECOND}


def test_other_streams_are_ignored() -> None:
    handover = begun(Witness(streams=(OTHER,)).says(99.5, 99.0))
    assert not handover.waits(100.0)
    assert handover.covered(always) == {}


def test_an_instance_that_began_after_us_is_a_witness_too() -> None:
    handover = begun()
    assert not handover.waits(100.0)
    later = Witness()
    later.since = 100.2
    handover.take(later.says(100.5, 100.4))
    assert handover.waits(100.6), "there is one now"
    handover.take(later.says(101.5, 101.4))
    handover.take(later.says(102.5, 102.4))
    assert handover.covered(always) == {S: None}


def test_a_stream_we_do_not_cover_ourselves_has_no_end_past_our_start() -> None:
    other = Witness(streams=(S, OTHER))
    handover = begun(other.says(99.5, 99.0), streams=(S, OTHER))
    for second in (100.5, 101.5, 102.5):
        handover.take(other.says(second, second))
    assert handover.covered(lambda stream: stream == S) == {S: None, OTHER: 102_500_000}


def test_of_several_dead_instances_the_last_counts_for_each_stream() -> None:
    """The number of shards changed: the streams of one instance are now those of several."""
    first, second = Witness("a", streams=(S,)), Witness("b", streams=(S, OTHER))
    handover = begun(
        first.says(50.0, 49.0, final=True), second.says(80.0, 79.0, final=True), streams=(S, OTHER, "depth.NEW")
    )
    assert not handover.waits(100.0)
    assert handover.covered(always) == {S: 79 * SECOND, OTHER: 79 * SECOND}


@pytest.mark.parametrize("ahead", [3600.0, 100.0, 10.0])
@pytest.mark.parametrize("until", [None, 30.0])
@pytest.mark.parametrize("silence", [0.5, 9.0])
def test_an_instance_with_a_fast_clock_ends_by_the_clock_of_the_next_writer(
    ahead: float, until: float | None, silence: float
) -> None:
    """Whether that time has passed or is still to come; rather too early than too late."""
    wrong, right = Witness("a", ahead=ahead), Witness("b", streams=(OTHER,))
    after = 40.0 + silence
    handover = begun(
        right.says(39.0, 39.0),
        wrong.says(40.0, 40.0, until),
        right.says(after, after),
        right.says(after + 1, after + 1),
    )
    assert handover.covered(always) == {S: ((until or 40.0) - 1.0) * SECOND}


def test_a_fast_clock_is_checked_against_what_others_write_at_that_time() -> None:
    wrong, right = Witness("a", ahead=60.0), Witness("b", streams=(OTHER,))
    before = [wrong.says(20.0, 20.0), right.says(21.0, 21.0), wrong.says(40.0, 40.0)]
    assert begun(*before).covered(always) == {S: 100 * SECOND}, "nobody wrote after it: its own clock is all there is"
    assert begun(*before, right.says(42.0, 42.0)).covered(always) == {S: 21 * SECOND}


def test_a_live_instance_of_another_shard_covers_only_its_own_streams() -> None:
    theirs, dead = Witness("b", streams=(OTHER,)), Witness("a", streams=(S,))
    handover = begun(dead.says(50.0, 49.0), theirs.says(99.5, 99.0))
    for second in (100.5, 101.5, 102.5):
        handover.take(theirs.says(second, second))
    assert not handover.waits(103.0)
    assert handover.covered(always) == {S: 49 * SECOND}


def test_two_producers_with_one_id_cover_nothing() -> None:
    one, two = Witness(), Witness(ahead=5.0)
    handover = begun()
    for second in (100.5, 101.5, 102.5):
        handover.take(one.says(second, second))
        handover.take(two.says(second, second))
    assert handover.covered(always) == {}


def test_a_stream_whose_market_is_gone_is_abandoned_where_it_was_last_covered() -> None:
    dead, theirs = Witness("a", streams=(S, OTHER, "depth.GONE")), Witness("b", streams=(S, "depth.SHARED"))
    earlier = Witness("c", streams=("depth.GONE", "depth.SHARED", "depth.FOREIGN"))
    handover = begun(earlier.says(40.0, 39.0), dead.says(50.0, 49.0, until=45.0), theirs.says(99.5, 99.0))
    for second in (100.5, 101.5, 102.5):
        handover.take(theirs.says(second, second))
    abandoned = handover.abandoned(lambda stream: stream != "depth.FOREIGN")
    assert abandoned == {OTHER: 45 * SECOND, "depth.GONE": 45 * SECOND}, "one that is alive covers the shared one"
