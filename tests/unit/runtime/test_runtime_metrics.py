"""Counts in plain integers are exported as Prometheus expects them."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from backpack_streams.runtime.metrics import (
    CounterTable,
    GaugeTable,
    HistogramTable,
    ReadOnScrape,
    full_name,
    new_registry,
    render,
    sample_event_loop_lag,
)


def test_counters_are_exported_with_labels_and_suffix() -> None:
    registry = CollectorRegistry()
    frames = CounterTable("frames", "Frames.", ("stream",))
    registry.register(frames)
    frames.cell("depth").value += 3
    frames.cell("trade").value += 1
    assert frames.cell("depth") is frames.cell("depth")
    assert registry.get_sample_value("backpack_streams_frames_total", {"stream": "depth"}) == 3
    frames.forget("trade")
    assert registry.get_sample_value("backpack_streams_frames_total", {"stream": "trade"}) is None


def test_gauges_go_both_ways() -> None:
    registry = CollectorRegistry()
    queue = GaugeTable("queue_bytes", "Bytes that wait.")
    registry.register(queue)
    queue.cell().value = 5
    queue.cell().value -= 2
    assert registry.get_sample_value("backpack_streams_queue_bytes") == 3


def test_external_values_are_read_only_on_scrape() -> None:
    reads = 0

    def read() -> list[tuple[tuple[str, ...], float]]:
        nonlocal reads
        reads += 1
        return [(("depth",), 7)]

    registry = CollectorRegistry()
    registry.register(ReadOnScrape("records", "Records.", read, ("topic",), "counter"))
    assert reads == 0
    assert registry.get_sample_value("backpack_streams_records_total", {"topic": "depth"}) == 7
    assert reads == 1


def test_labels_must_match() -> None:
    with pytest.raises(ValueError, match="do not match the label names"):
        CounterTable("frames", "Frames.", ("stream",)).cell()


@pytest.mark.parametrize("name", ["Frames", "frames-total", "", "_x", "a__b"])
def test_names_are_checked(name: str) -> None:
    with pytest.raises(ValueError, match="is not a metric name"):
        full_name(name)


@given(st.lists(st.floats(0, 20, allow_nan=False), max_size=50))
def test_histogram_buckets_count_all_values_up_to_their_bound(values: list[float]) -> None:
    bounds = (0.5, 1.0, 10.0)
    registry = CollectorRegistry()
    latency = HistogramTable("latency_seconds", "Latency.", bounds=bounds)
    registry.register(latency)
    for value in values:
        latency.cell().observe(value)
    latency.cell().observe(0.1, times=2)
    everything = [*values, 0.1, 0.1]
    for bound in bounds:
        count = registry.get_sample_value("backpack_streams_latency_seconds_bucket", {"le": str(bound)})
        assert count == sum(value <= bound for value in everything)
    assert registry.get_sample_value("backpack_streams_latency_seconds_count") == len(everything)
    assert registry.get_sample_value("backpack_streams_latency_seconds_sum") == pytest.approx(sum(everything))


def test_histogram_bounds_must_rise() -> None:
    with pytest.raises(ValueError, match="must rise"):
        HistogramTable("latency_seconds", "Latency.", bounds=(1.0, 1.0))


def test_a_new_registry_names_the_service_and_its_readiness() -> None:
    reasons = ["no books yet"]
    registry = new_registry("market-producer", lambda: reasons)
    assert registry.get_sample_value("backpack_streams_service_ready") == 0
    reasons.clear()
    assert registry.get_sample_value("backpack_streams_service_ready") == 1
    body, content_type = render(registry, "")
    assert content_type.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(body.decode())}
    assert families["backpack_streams_service_info"].samples[0].labels["service"] == "market-producer"
    assert "backpack_streams_service_start_time_seconds" in families


def test_open_metrics_is_sent_on_request() -> None:
    body, content_type = render(CollectorRegistry(), "application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")


async def test_the_lag_of_a_blocked_loop_is_measured() -> None:
    import time

    lag = HistogramTable("event_loop_lag_seconds", "Lag.", bounds=(0.05,))
    sampler = asyncio.create_task(sample_event_loop_lag(lag.cell(), interval_seconds=0.001))
    await asyncio.sleep(0.005)
    time.sleep(0.1)  # noqa: ASYNC251 - the loop must be blocked
    await asyncio.sleep(0.005)
    sampler.cancel()
    assert lag.cell().counts[1] >= 1
