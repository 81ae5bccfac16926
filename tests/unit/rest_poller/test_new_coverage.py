"""A book needs a snapshot as proof once its stream is covered again, unless another instance has covered it all along."""

from typing import Any

from backpack_streams.rest_poller.new_coverage import ALIVE_SECONDS, NewCoverage
from backpack_streams.sequencing.runs import watermarks_to_outlast_an_answer

OUTLAST = watermarks_to_outlast_an_answer(1000)


def watermark(
    instance: str,
    sequence: int,
    through: int,
    coverage: dict[str, tuple[int | None, int | None]] | None = None,
    **more: Any,
) -> dict[str, Any]:
    rows = coverage and [
        {"since": since, "until": until, "streams": [name]} for name, (since, until) in coverage.items()
    ]
    return {
        "service": "market-producer",
        "instance": instance,
        "sequence": sequence,
        "complete_through": through,
        "published_time": through + 1,
        "interval_ms": 1000,
        "is_final": False,
        "offsets": [],
        "coverage_sequence": sequence if rows else 0,
        "coverage": rows,
    } | more


def test_a_book_is_requested_once_no_answer_can_be_older_than_the_coverage() -> None:
    coverage = NewCoverage()
    streams: dict[str, tuple[int | None, int | None]] = {
        "depth.A": (5, None), "depth.B": (5, 8), "depth.C": (None, None), "trade.D": (5, None), "depth.200ms.E": (5, None),
    }  # fmt: skip
    assert coverage.take(watermark("one", 0, 10, streams), 0.0) == []
    assert coverage.take(watermark("one", OUTLAST - 1, 20), 1.0) == []
    assert coverage.take(watermark("one", OUTLAST, 30, streams), 2.0) == ["A"]
    assert coverage.take(watermark("one", OUTLAST + 1, 40, streams), 3.0) == [], "it is only said again"
    begun_again = streams | {"depth.A": (35, None)}
    assert coverage.take(watermark("one", OUTLAST + 2, 50, begun_again), 4.0) == []
    assert coverage.take(watermark("one", 2 * OUTLAST + 1, 60, begun_again), 5.0) == []
    assert coverage.take(watermark("one", 2 * OUTLAST + 2, 70, begun_again), 6.0) == ["A"], "it broke in between"
    assert coverage.take(watermark("one", 2 * OUTLAST + 2, 70, streams), 6.0) == [], "a copy"


def test_coverage_that_ends_before_that_needs_no_proof() -> None:
    coverage = NewCoverage()
    coverage.take(watermark("one", 0, 10, {"depth.A": (5, None)}), 0.0)
    coverage.take(watermark("one", 1, 20, {"depth.A": (5, 15)}), 1.0)
    assert coverage.take(watermark("one", 2 * OUTLAST, 30, {"depth.A": (5, 15)}), 2.0) == []


def asked_for(
    coverage: NewCoverage, instance: str, streams: dict[str, tuple[int | None, int | None]], now: float
) -> list[str]:
    """The books to be proven of an instance that begins to cover these streams, and continues."""
    begun = coverage.take(watermark(instance, 0, int(now * 10), streams), now)
    assert begun == []
    return coverage.take(watermark(instance, OUTLAST, int(now * 10) + 1), now)


def test_a_stream_that_another_instance_has_covered_all_along_needs_no_proof() -> None:
    coverage = NewCoverage()
    assert asked_for(coverage, "one", {"depth.A": (5, None)}, 1.0) == ["A"]
    assert asked_for(coverage, "two", {"depth.A": (9, None), "depth.B": (9, None)}, 2.0) == ["B"]
    late = 2.0 + ALIVE_SECONDS
    assert asked_for(coverage, "three", {"depth.A": (19, None)}, late) == ["A"], "the others say nothing any more"


def test_an_instance_that_has_ended_proves_nothing() -> None:
    coverage = NewCoverage()
    coverage.take(watermark("one", 0, 10, {"depth.A": (5, None)}), 0.0)
    coverage.take(watermark("one", 1, 12, {"depth.A": (5, 12)}, is_final=True), 1.0)
    assert asked_for(coverage, "two", {"depth.A": (11, None)}, 1.5) == ["A"]
