"""What a reader may ask of the past."""

import pytest

from backpack_streams.books.moments import checked_pace
from backpack_streams.errors import UsageError


@pytest.mark.parametrize("from_us", [None, 1_790_134_357_000_000])
def test_an_unknown_pace_is_an_error_with_a_past_and_without(from_us: int | None) -> None:
    with pytest.raises(UsageError, match="pace 'fast' is none; it is 'max' or 'real'"):
        checked_pace(from_us, None, "fast")
