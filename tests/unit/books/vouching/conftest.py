"""A reader of one market whose clock a test moves."""

import pytest

from backpack_streams.books import watermark_intake
from vouched_plant import Clock, Plant


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The reader's clock and everyone's wall clock, moved only by the test."""
    clock = Clock()
    monkeypatch.setattr(watermark_intake.time, "time_ns", lambda: clock.wall_us() * 1000)
    return clock


@pytest.fixture
def plant(clock: Clock) -> Plant:
    return Plant(clock)
