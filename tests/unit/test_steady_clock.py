"""The clock for ages: what it is made of on Linux, and what it is elsewhere."""

import time

import pytest

from backpack_streams import steady_clock

SECOND = 1_000_000_000


def test_on_linux_it_is_not_slewed_and_counts_suspensions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host has run for 100 s, by a clock that was slewed to show 108, and was suspended for an hour."""
    shown = {time.CLOCK_MONOTONIC_RAW: 100, time.CLOCK_MONOTONIC: 108, time.CLOCK_BOOTTIME: 3708}
    monkeypatch.setattr(time, "clock_gettime_ns", lambda clock: shown[clock] * SECOND)
    assert steady_clock._clock()() == 3700.0


def test_elsewhere_it_is_the_monotonic_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(time, "CLOCK_BOOTTIME")
    assert steady_clock._clock() is time.monotonic


def test_it_goes_on() -> None:
    began = steady_clock.steady_seconds()
    time.sleep(0.05)
    assert steady_clock.steady_seconds() - began >= 0.049
