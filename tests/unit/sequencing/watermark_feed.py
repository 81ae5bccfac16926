"""Watermarks as producers write them, and a reader's view of coverage that takes them."""

from dataclasses import dataclass, field
from typing import Any

from backpack_streams.sequencing.coverage import CoverageView
from backpack_streams.sequencing.runs import RunKey

SECOND = 1_000_000
WATERMARKS = ("b.ops.watermark", 0)
DEPTH = ("b.market.depth", 0)
STREAM = "depth.A"
WALL_US = 1_800_000_000 * SECOND


def topic_partition_of(stream: str, partitions: int | None) -> tuple[str, int] | None:
    return DEPTH if stream.startswith("depth.") else None


def view(believed: float = 5.0) -> CoverageView:
    return CoverageView(WATERMARKS, DEPTH[0], topic_partition_of, believed)


def watermark(
    instance: str,
    sequence: int,
    through: float,
    *,
    published: float | None = None,
    since: float | None = 0.0,
    until: float | None = None,
    depth: int = -1,
    known: int = -1,
    final: bool = False,
    stated_by: int | None = None,
) -> dict[str, Any]:
    """Times in seconds after `WALL_US`. `stated_by`: an earlier record has the coverage."""
    statement = [
        {
            "since": None if since is None else WALL_US + int(since * SECOND),
            "until": None if until is None else WALL_US + int(until * SECOND),
            "streams": [STREAM],
        }
    ]
    return {
        "service": f"producer-{instance}",
        "instance": instance,
        "sequence": sequence,
        "complete_through": WALL_US + int(through * SECOND),
        "published_time": WALL_US + int((through if published is None else published) * SECOND),
        "interval_ms": 1000,
        "is_final": final,
        "offsets": [
            {"topic": DEPTH[0], "next_offsets": [depth]},
            {"topic": WATERMARKS[0], "next_offsets": [known]},
        ],
        "coverage_sequence": sequence if stated_by is None else stated_by,
        "coverage": statement if stated_by is None else None,
    }


def key(instance: str, since: float = 0.0) -> RunKey:
    return RunKey(instance, WALL_US + int(since * SECOND))


@dataclass
class Feed:
    """A view and a topic: each record gets the next offset."""

    coverage: CoverageView = field(default_factory=view)
    offset: int = 0

    def say(self, record: dict[str, Any], now: float, *, heard: float | None = 0.0, wall: float | None = None) -> None:
        """`heard` 0.0: the reader had read everything right before."""
        at = now if heard == 0.0 else heard
        wall_us = WALL_US + int((now if wall is None else wall) * SECOND)
        self.coverage.take(record, self.offset, heard=at, now=now, wall_us=wall_us)
        self.offset += 1

    def holds(self, instance: str, *proven: RunKey) -> bool:
        [run] = [run for run in self.coverage.runs(STREAM) if run.key.instance == instance]
        return self.coverage.holds(run, frozenset(proven))
