"""How far our clock is off, what is corrected, and what is reported."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.exchange.clock import LARGEST_CORRECTION_MS, ExchangeClock, Skew

NOW_US = 1_760_000_000_000_000


@given(
    ahead_ms=st.integers(-(10**9), 10**9),
    there_us=st.integers(0, 2_000_000),
    back_us=st.integers(0, 2_000_000),
    begin_us=st.integers(NOW_US, NOW_US + 10**9),
)
def test_the_true_difference_lies_within_the_reported_uncertainty(
    ahead_ms: int, there_us: int, back_us: int, begin_us: int
) -> None:
    exchange_ms = (begin_us + there_us - ahead_ms * 1000) // 1000
    skew = Skew.measured(begin_us, exchange_ms, begin_us + there_us + back_us)
    assert abs(skew.ahead_ms - ahead_ms) <= skew.uncertainty_ms + 1e-3


@given(st.floats(-LARGEST_CORRECTION_MS, LARGEST_CORRECTION_MS))
def test_a_small_clock_error_is_corrected_in_signed_times(ahead_ms: float) -> None:
    clock = ExchangeClock()
    clock.observe(Skew(ahead_ms, 1.0))
    assert not clock.is_beyond_correction
    assert abs(clock.signed_ms(NOW_US) - (NOW_US / 1000 - ahead_ms)) <= 1.0


@pytest.mark.parametrize(("ahead_ms", "side"), [(600_000.0, "ahead of"), (-600_000.0, "behind")])
def test_an_error_of_ten_minutes_is_reported_and_not_corrected(ahead_ms: float, side: str) -> None:
    clock = ExchangeClock()
    news = clock.observe(Skew(ahead_ms, 50.0))
    assert clock.signed_ms(NOW_US) == NOW_US // 1000
    for text in (news, clock.why_refused()):
        assert text is not None
        assert f"600.00 s {side} the exchange's" in text
        assert "NTP" in text


def test_an_error_within_the_uncertainty_is_not_corrected() -> None:
    clock = ExchangeClock()
    assert clock.observe(Skew(80.0, 90.0)) is None
    assert clock.correction_ms == 0
    assert "the clock is not the reason" in clock.why_refused()


def test_a_correction_is_reported_once_and_again_when_it_changes() -> None:
    clock = ExchangeClock()
    said = [clock.observe(Skew(ahead_ms, 10.0)) for ahead_ms in (5_000.0, 5_100.0, 9_000.0, 200.0)]
    assert [text is not None for text in said] == [True, False, True, False]
    assert said[0] is not None
    assert "corrected by -5000 ms" in said[0]


def test_a_clock_that_was_not_compared_is_given_as_a_possible_reason() -> None:
    assert "has not been read yet" in ExchangeClock().why_refused()
