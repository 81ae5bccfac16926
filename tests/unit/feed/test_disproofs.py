"""Which recorded gaps say that one of our subscriptions does not deliver."""

import pytest

from backpack_streams.feed.disproofs import disproved_stream


@pytest.mark.parametrize(
    ("reason", "stream", "expected"),
    [
        ("COVERAGE_DISPROVED", "depth.A", "depth.A"),
        ("COVERAGE_DISPROVED", "depth.B", None),  # another shard's
        ("COVERAGE_DISPROVED", None, None),
        ("AUDIT_MISMATCH", "depth.A", None),
        ("A_REASON_OF_TOMORROW", "depth.A", None),
    ],
)
def test_only_a_disproof_of_our_own_stream_counts(reason: str, stream: str | None, expected: str | None) -> None:
    assert disproved_stream({"reason": reason, "stream": stream}, {"depth.A", "trade.A"}) == expected
