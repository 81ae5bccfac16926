"""A delayed watermark counts with its true age, whatever the clocks of its producer and its reader show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.sequencing.transit import Transits

SECOND = 1_000_000
START_US = 1_700_000_000 * SECOND


def published_at(
    transits: Transits, published_us: int, now: float, instance: str = "a", elapsed_us: int | None = None
) -> float:
    watermark = {"instance": instance, "published_time": published_us, "elapsed_us": elapsed_us}
    return transits.published_at(watermark, now)


def test_a_delayed_watermark_counts_with_its_true_age() -> None:
    transits = Transits()
    for second in range(5):
        assert published_at(transits, START_US + second * SECOND, 100.0 + second) == 100.0 + second
    assert published_at(transits, START_US + 5 * SECOND, 111.0) == pytest.approx(105.0, abs=0.01)
    assert published_at(transits, START_US + 11 * SECOND, 111.0) == 111.0


def test_watermarks_that_are_all_late_by_the_same_time_count_as_late_for_minutes_yet_not_for_ever() -> None:
    transits = Transits()
    published_at(transits, START_US, 100.0)
    for second in range(1, 601):
        assert 29.3 <= 130.0 + second - published_at(transits, START_US + second * SECOND, 130.0 + second) <= 30.0
    for second in range(602, 700):  # a clock that stood still
        assert published_at(transits, START_US + second * SECOND, 130.0 + second) == 130.0 + second


def test_watermarks_that_come_all_at_once_after_an_outage_count_with_their_true_ages() -> None:
    transits = Transits()
    published_at(transits, START_US, 100.0)
    for second in range(1, 1_001):
        assert published_at(transits, START_US + second * SECOND, 1_100.0) <= 100.0 + second + 1.1


def test_setting_a_clock_delays_no_watermark() -> None:
    transits = Transits()
    for second, step in enumerate((0, 0, 3600, 3600, 0, 0, -3600, -3600)):
        assert published_at(transits, START_US + (second + step) * SECOND, 100.0 + second) == 100.0 + second


def test_a_slow_clock_delays_watermarks_only_briefly() -> None:
    """By 500 millionths, as time daemons do, over hours."""
    transits = Transits()
    for second in range(20_000):
        published_us = START_US + round(second * 0.9995 * SECOND)
        assert second - published_at(transits, published_us, float(second)) < 0.031


@pytest.mark.parametrize("speed", [0.917, 1.083])
def test_a_clock_that_is_slewed_delays_no_watermark(speed: float) -> None:
    """By 83,000 millionths, the most that chrony does (maxslewrate in chrony.conf)."""
    transits = Transits()
    for second in range(2_000):
        published_us = START_US + round(second * speed * SECOND)
        assert published_at(transits, published_us, float(second), elapsed_us=second * SECOND) == second


def test_a_slewed_clock_hides_no_delay() -> None:
    transits = Transits()
    for second in range(600):
        published_us, elapsed_us = START_US + round(second * 0.917 * SECOND), second * SECOND
        assert published_at(transits, published_us, float(second), elapsed_us=elapsed_us) == second
    published_us, elapsed_us = START_US + round(600 * 0.917 * SECOND), 600 * SECOND
    assert published_at(transits, published_us, 630.0, elapsed_us=elapsed_us) == pytest.approx(600.0, abs=1.0)


def test_a_clock_set_back_while_no_watermark_came_delays_none() -> None:
    transits = Transits()
    published_at(transits, START_US, 100.0, elapsed_us=0)
    for second in range(60, 100):
        set_back_us = START_US + (second - 40) * SECOND
        assert published_at(transits, set_back_us, 100.0 + second, elapsed_us=second * SECOND) == 100.0 + second


def test_a_machine_that_was_paused_delays_watermarks_only_until_its_clock_is_set() -> None:
    transits = Transits()
    for second in range(10):
        published_at(transits, START_US + second * SECOND, float(second), elapsed_us=second * SECOND)
    for second in range(40, 50):  # paused for 30 s: both clocks stood still
        made_us = (second - 30) * SECOND
        assert published_at(transits, START_US + made_us, float(second), elapsed_us=made_us) < second - 29.9
    for second in range(50, 60):
        made_us = (second - 30) * SECOND
        assert published_at(transits, START_US + second * SECOND, float(second), elapsed_us=made_us) == second


def test_each_instance_has_its_own_clock_and_old_ones_are_forgotten() -> None:
    transits = Transits()
    for second in range(5_000):
        for instance, ahead in (("a", 0), (f"b{second}", 3600 - second)):
            assert published_at(transits, START_US + (second + ahead) * SECOND, float(second), instance) == second


@given(
    ahead=st.floats(-1e5, 1e5),
    has_elapsed=st.booleans(),
    marks=st.lists(st.tuples(st.floats(0.1, 30.0), st.floats(0.0, 60.0)), min_size=1, max_size=100),
)
def test_a_watermark_never_counts_as_older_than_it_is_nor_as_younger_than_the_quickest_shows(
    ahead: float, has_elapsed: bool, marks: list[tuple[float, float]]
) -> None:
    """Each is published some time after the one before, and arrives in order, with some delay. Clocks may drift apart."""
    transits, at, arrived = Transits(), 1_000.0, 0.0
    delays: list[tuple[float, float]] = []
    for passes, held in marks:
        at += passes
        arrived = max(arrived, at + held)
        delays.append((arrived, arrived - at))
        least = min(delay + 0.001 * (arrived - then) for then, delay in delays if arrived - then < 600.0)
        elapsed_us = round(at * SECOND) if has_elapsed else None
        published = published_at(transits, START_US + round((at + ahead) * SECOND), arrived, elapsed_us=elapsed_us)
        assert at - 1e-3 <= published <= at + least + 1e-3
        assert published <= arrived + 1e-3
