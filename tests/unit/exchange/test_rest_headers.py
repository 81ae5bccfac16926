"""Durations in header fields of REST answers."""

import pytest

from backpack_streams.exchange.rest_headers import retry_after_seconds

NOW_US = 1_700_000_000_000_000


@pytest.mark.parametrize(
    "header",
    [
        "",
        "soon",
        "-5",
        "Wed, 21 Oct 99999999999 07:28:00 GMT",
        "Wed, 99999999999999999999 Oct 2026 07:28:00 GMT",
        "Wed, 21 Oct 2026 07:28:00 +99999999999",
    ],
)
def test_a_retry_after_that_is_no_moment_counts_as_absent(header: str) -> None:
    assert retry_after_seconds(header, NOW_US) is None


def test_a_retry_after_is_a_number_of_seconds_or_a_date() -> None:
    assert retry_after_seconds(None, NOW_US) is None
    assert retry_after_seconds("7", NOW_US) == 7.0
    assert retry_after_seconds("Tue, 14 Nov 2023 22:14:00 GMT", NOW_US) == 40.0
    assert retry_after_seconds("Tue, 14 Nov 2023 22:13:00 GMT", NOW_US) == 0.0, "it is over"
