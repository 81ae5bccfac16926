"""What one instance is known to have continued past: never more than what its own topic holds."""

from typing import Any

from backpack_streams.sequencing.knowledge import Knowledge
from backpack_streams.sequencing.watermarks import Instances

WATERMARKS = ("b.ops.watermark", 0)
SECOND = 1_000_000


class Producer:
    """Says once a second that it is complete up to now."""

    def __init__(self) -> None:
        self.instances, self.knowledge, self.sequence = Instances(), Knowledge(), 0

    def says(self, acknowledged: int) -> int:
        """Take its next watermark, which names this offset of its own topic. Returns what it is known to have continued past."""
        self.sequence += 1
        at = self.sequence * SECOND
        record: dict[str, Any] = {
            "service": "p",
            "instance": "i",
            "sequence": self.sequence,
            "complete_through": at,
            "published_time": at,
            "interval_ms": 1000,
            "is_final": False,
            "offsets": [{"topic": WATERMARKS[0], "next_offsets": [acknowledged]}],
            "coverage_sequence": 1,
            "coverage": [] if self.sequence == 1 else None,
        }
        said = self.instances.take(record)
        assert said is not None
        self.knowledge.learn(said, WATERMARKS)
        return self.knowledge.knows


def test_a_later_watermark_shows_that_the_instance_has_continued_past_the_one_before() -> None:
    producer = Producer()
    assert [producer.says(offset) for offset in (7, 8, 9)] == [0, 7, 8]


def test_an_offset_of_the_former_topic_is_void_once_the_topic_was_recreated() -> None:
    producer = Producer()
    for acknowledged in (599_998, 599_999, 600_000):
        producer.says(acknowledged)
    reader = Producer()  # one that meets the instance in the new topic
    reader.sequence = producer.sequence
    assert (producer.says(600_000), reader.says(600_000)) == (599_999 + 1, 0)
    for each in (producer, reader):
        assert [each.says(offset) for offset in (1, 3, 5)] == [0, 1, 3]
