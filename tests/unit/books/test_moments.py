"""Which moments and paces a reader accepts."""

import pytest

from backpack_streams.books.moments import checked_pace
from backpack_streams.errors import UsageError


@pytest.mark.parametrize("from_us", [None, 1_790_134_357_000_000])
def test_an_unknown_pace_is_an_error_with_and_without_a_moment(from_us: int | None) -> None:
    with pytest.raises(UsageError, match="pace 'fast' is none; it is 'max' or 'real'"):
        checked_pace(from_us, None, "fast")
