"""Tests of the feed count time from 1, since small numbers are easier to read: here the exchange's time begins with the Unix epoch."""

from collections.abc import Iterator

import pytest

from backpack_streams.exchange import wire_times
from backpack_streams.market_producer import depth


@pytest.fixture(autouse=True, scope="module")
def _time_begins_with_the_epoch() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire_times, "EARLIEST_US", 0)
        patch.setattr(depth, "EARLIEST_US", 0)
        yield
