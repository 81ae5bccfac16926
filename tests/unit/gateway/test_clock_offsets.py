"""Ages are right even if clocks differ, and a delayed watermark does not distort them."""

from typing import Any

from backpack_streams.gateway.clock_offsets import ClockOffsets

SECOND = 1_000_000
NOW = 1_796_000_000 * SECOND


def watermark(published_us: int, instance: str = "a", *, is_final: bool = False) -> dict[str, Any]:
    return {"instance": instance, "published_time": published_us, "is_final": is_final}


def test_clocks_that_nearly_agree_are_not_corrected() -> None:
    offsets = ClockOffsets()
    assert offsets.ahead_us() == 0
    offsets.take(watermark(NOW - SECOND), NOW)
    assert offsets.ahead_us() == 0


def test_a_fast_or_slow_clock_is_measured_by_the_quickest_watermark() -> None:
    offsets = ClockOffsets()
    offsets.take(watermark(NOW - 600 * SECOND), NOW)
    offsets.take(watermark(NOW - 690 * SECOND), NOW)
    assert offsets.ahead_us() == 600 * SECOND
    offsets.take(watermark(NOW + 300 * SECOND, "b"), NOW)
    assert offsets.ahead_us() == -300 * SECOND


def test_a_delayed_watermark_hides_no_age() -> None:
    offsets = ClockOffsets()
    offsets.take(watermark(NOW - SECOND // 10), NOW)
    offsets.take(watermark(NOW), NOW + 90 * SECOND)
    assert offsets.ahead_us() == 0


def test_a_producer_that_has_ended_does_not_count() -> None:
    offsets = ClockOffsets()
    offsets.take(watermark(NOW + 300 * SECOND, "a"), NOW)
    offsets.take(watermark(NOW - 600 * SECOND, "b"), NOW)
    offsets.take(watermark(NOW + 300 * SECOND, "a", is_final=True), NOW)
    assert offsets.ahead_us() == 600 * SECOND


def test_a_clock_that_was_wrong_for_a_moment_is_forgotten() -> None:
    offsets = ClockOffsets()
    offsets.take(watermark(NOW + 600 * SECOND), NOW)
    assert offsets.ahead_us() == -600 * SECOND
    for second in range(600):
        offsets.take(watermark(NOW + second * SECOND), NOW + second * SECOND)
    assert offsets.ahead_us() == 0


def test_a_delay_of_minutes_is_no_difference_of_clocks() -> None:
    offsets = ClockOffsets()
    offsets.take(watermark(NOW), NOW)
    for second in range(299):
        offsets.take(watermark(NOW + second * SECOND), NOW + (second + 30) * SECOND)
    assert offsets.ahead_us() == 0


def test_a_producer_that_was_killed_is_forgotten() -> None:
    offsets = ClockOffsets()
    offsets.take(watermark(NOW + 30 * SECOND, "killed"), NOW)
    for second in range(130):
        offsets.take(watermark(NOW + second * SECOND, "b"), NOW + second * SECOND)
    assert offsets.ahead_us() == 0
