"""An instance is ready when it may be left alone: by the rules of readers, the others went on past its first watermark."""

from typing import Any

import pytest

from backpack_streams.feed.overlap import Overlap
from backpack_streams.sequencing.coverage import CoverageView

SECOND = 1_000_000
TOPIC_PARTITION = "b.ops.watermark", 0
DEPTH = "b.market.depth", 0
STREAM = "depth.X"


class Topic:
    """The watermarks' topic, with two instances that write to it, each by its own clock."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []
        self._next: dict[str, int] = {}
        self._sequence: dict[str, int] = {}

    def write(self, instance: str, made: float, through: float, *, final: bool = False) -> dict[str, Any]:
        sequence = self._sequence[instance] = self._sequence.get(instance, -1) + 1
        row: dict[str, Any] = {
            "service": "market-producer", "instance": instance, "sequence": sequence, "complete_through": round(through * SECOND),
            "published_time": round(made * SECOND), "interval_ms": 1000, "is_final": final,
            "offsets": [
                {"topic": DEPTH[0], "next_offsets": [0]},
                {"topic": TOPIC_PARTITION[0], "next_offsets": [self._next.get(instance, -1)]},
            ],
            "coverage_sequence": sequence, "coverage": [{"since": 1 * SECOND, "until": None, "streams": [STREAM]}],
        }  # fmt: skip
        self.records.append(row)
        self._next[instance] = len(self.records)
        return row

    def counts_as_one(self) -> bool:
        """Whether a reader finds everything proven in the old instance's coverage within the new one's."""
        view = CoverageView(TOPIC_PARTITION, DEPTH[0], lambda *_: DEPTH, 5.0)
        for offset, row in enumerate(self.records):
            view.take(row, offset, heard=0.0, now=0.0, wall_us=0)
        (run,) = [run for run in view.runs(STREAM) if run.key.instance == "new"]
        return any(key.instance == "old" for key in run.holds)


def test_the_others_must_go_on_until_readers_count_both_as_one() -> None:
    topic = Topic()
    for at in (7.0, 8.0, 9.0):
        topic.write("old", 500 + at, 500 + at - 0.1)
    topic.write("new", 9.5, 9.4)
    overlap = Overlap(["old"], TOPIC_PARTITION, 3, 100.0)
    for at in range(10, 20):
        assert overlap.waits(at + 90.5) is not topic.counts_as_one()
        if topic.counts_as_one():
            break
        topic.write("new", at + 0.5, at + 0.4)
        overlap.take(topic.write("old", 500 + at, 500 + at - 0.1), at + 90.0)
    assert topic.counts_as_one()
    topic.write("old", 521.0, 520.0, final=True)
    assert not overlap.waits(99.0 + 12.0)


@pytest.mark.parametrize("final", [True, False])
def test_an_instance_that_ends_is_not_waited_for(final: bool) -> None:
    topic = Topic()
    topic.write("old", 7.0, 6.9)
    topic.write("new", 9.5, 9.4)
    overlap = Overlap(["old"], TOPIC_PARTITION, 1, 100.0)
    overlap.take(topic.write("old", 8.0, 7.9, final=final), 100.2)
    assert overlap.waits(100.3) is not final
    assert overlap.waits(102.6) is not final
    assert not overlap.waits(102.8)


def test_an_instance_that_never_gets_past_it_is_not_waited_for_for_ever() -> None:
    topic = Topic()
    topic.write("new", 9.5, 9.4)
    overlap = Overlap(["old"], TOPIC_PARTITION, 0, 100.0)
    for at in range(10, 20):
        overlap.take(topic.write("old", at, 5.0), at + 90.0)
        assert overlap.waits(at + 90.0)
    overlap.take(topic.write("old", 20.0, 5.0), 110.0)
    assert not overlap.waits(110.0)


def test_without_a_handover_there_is_no_wait() -> None:
    assert not Overlap([], TOPIC_PARTITION, 0, 100.0).waits(100.0)
