"""A book has to be proven by a snapshot once its stream is covered anew, unless somebody else has covered it all along."""

from typing import Any

from backpack_streams.rest_poller.new_coverage import ALIVE_SECONDS, NewCoverage


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


def test_a_stream_that_begins_and_one_that_goes_on() -> None:
    coverage = NewCoverage()
    streams: dict[str, tuple[int | None, int | None]] = {
        "depth.A": (5, None), "depth.B": (5, 8), "depth.C": (None, None), "trade.D": (5, None), "depth.200ms.E": (5, None),
    }  # fmt: skip
    assert coverage.take(watermark("one", 0, 10, streams), 0.0) == ["A"]
    assert coverage.take(watermark("one", 1, 20), 1.0) == []
    assert coverage.take(watermark("one", 2, 30, streams), 2.0) == [], "it is only said again"
    assert coverage.take(watermark("one", 3, 40, streams | {"depth.A": (35, None)}), 3.0) == ["A"], (
        "it broke in between"
    )
    assert coverage.take(watermark("one", 3, 40, streams), 3.0) == [], "a copy"


def test_what_another_instance_has_covered_all_along_needs_no_proof() -> None:
    coverage = NewCoverage()
    assert coverage.take(watermark("one", 0, 10, {"depth.A": (5, None)}), 0.0) == ["A"]
    assert coverage.take(watermark("two", 0, 11, {"depth.A": (9, None), "depth.B": (9, None)}), 1.0) == ["B"]
    late = 1.0 + ALIVE_SECONDS
    assert coverage.take(watermark("three", 0, 20, {"depth.A": (19, None)}), late) == ["A"], (
        "the others say nothing any more"
    )


def test_an_instance_that_ends_vouches_for_nothing() -> None:
    coverage = NewCoverage()
    coverage.take(watermark("one", 0, 10, {"depth.A": (5, None)}), 0.0)
    coverage.take(watermark("one", 1, 12, {"depth.A": (5, 12)}, is_final=True), 1.0)
    assert coverage.take(watermark("two", 0, 13, {"depth.A": (11, None)}), 1.5) == ["A"]
