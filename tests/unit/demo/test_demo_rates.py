import pytest

from backpack_streams.demo.rates import RateWindow


def test_a_rate_needs_two_samples() -> None:
    window = RateWindow(5)
    assert window.rate("depth") == 0
    window.add(0, {"depth": 10})
    assert window.rate("depth") == 0
    window.add(2, {"depth": 30})
    assert window.rate("depth") == 10


def test_samples_older_than_the_window_do_not_count() -> None:
    window = RateWindow(5)
    for second in range(20):
        window.add(second, {"depth": 100 * min(second, 10)})
    assert window.rate("depth") == 0


def test_the_window_is_filled_even_by_samples_far_apart() -> None:
    window = RateWindow(5)
    window.add(0, {"depth": 0})
    window.add(100, {"depth": 200})
    assert window.rate("depth") == 2


def test_a_new_counter_started_at_zero() -> None:
    window = RateWindow(5)
    window.add(0, {})
    window.add(1, {"depth": 7})
    assert window.rate("depth") == 7


@pytest.mark.parametrize(("at", "count"), [(1, 3), (0, 50)], ids=["began again", "no time has passed"])
def test_a_rate_is_never_negative(at: float, count: float) -> None:
    window = RateWindow(5)
    window.add(0, {"depth": 10})
    window.add(at, {"depth": count})
    assert window.rate("depth") == 0
