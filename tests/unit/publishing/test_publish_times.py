"""Measures of an acknowledged batch: how long it waited, and its age at the socket and in Kafka."""

import pytest
from prometheus_client import CollectorRegistry

from backpack_streams.bus.publisher import Acknowledged
from backpack_streams.publishing.publish_times import PublishTimes

NOW = 1_800_000_000.0


def observed(times: PublishTimes, name: str, **labels: str) -> tuple[float | None, float | None]:
    """The count, and the sum in seconds."""
    registry = CollectorRegistry()
    for collector in times.collectors():
        registry.register(collector)
    return tuple(registry.get_sample_value(f"backpack_streams_{name}_{part}", labels) for part in ("count", "sum"))  # type: ignore[return-value]  # two parts


def test_the_age_at_the_socket_excludes_the_wait() -> None:
    times = PublishTimes({"x.market.depth": "depth"}, lambda: NOW)
    times.on_acknowledged(Acknowledged("x.market.depth", 10, int((NOW - 3) * 1000), 2.5))
    assert observed(times, "data_age_seconds", at="socket", channel="depth") == (1, pytest.approx(0.5))
    assert observed(times, "data_age_seconds", at="kafka", channel="depth") == (1, pytest.approx(3.0))
    assert observed(times, "publish_seconds") == (1, pytest.approx(2.5))


def test_a_slow_clock_gives_no_negative_age() -> None:
    times = PublishTimes({"x.market.depth": "depth"}, lambda: NOW)
    times.on_acknowledged(Acknowledged("x.market.depth", 1, int((NOW + 60) * 1000), 0.25))
    for at in ("socket", "kafka"):
        assert observed(times, "data_age_seconds", at=at, channel="depth") == (1, 0.0)


def test_reports_have_a_wait_and_no_age() -> None:
    times = PublishTimes({"x.market.depth": "depth"}, lambda: NOW)
    times.on_acknowledged(Acknowledged("x.ops.gap", 1, 0, 0.25))
    assert observed(times, "publish_seconds") == (1, 0.25)
    for at in ("socket", "kafka"):
        assert observed(times, "data_age_seconds", at=at, channel="depth") == (0, 0.0)


def test_a_publisher_without_live_data_shows_no_ages() -> None:
    assert [collector.description.name for collector in PublishTimes({}).collectors()] == [  # type: ignore[attr-defined]  # ours
        "backpack_streams_publish_seconds"
    ]
