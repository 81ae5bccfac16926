"""Metrics of one value, or of values by one label, read on scrape."""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from prometheus_client.registry import Collector

from backpack_streams.runtime.metrics import Labels, ReadOnScrape

__all__ = ["Values", "count", "counts", "value", "values"]

Values = Iterator[tuple[Labels, float]]


def value(
    name: str, documentation: str, read: Callable[[], float], kind: Literal["counter", "gauge"] = "gauge"
) -> Collector:
    """One value, read on scrape."""
    return ReadOnScrape(name, documentation, lambda: iter([((), float(read()))]), kind=kind)


def values(
    name: str,
    documentation: str,
    label: str,
    read: Callable[[], Mapping[str, float]],
    kind: Literal["counter", "gauge"] = "gauge",
) -> Collector:
    """Values by one label, read on scrape."""
    return ReadOnScrape(
        name, documentation, lambda: (((key,), float(each)) for key, each in read().items()), (label,), kind
    )


def count(name: str, documentation: str, read: Callable[[], float]) -> Collector:
    """One counter, read on scrape."""
    return value(name, documentation, read, "counter")


def counts(name: str, documentation: str, label: str, read: Callable[[], Mapping[str, float]]) -> Collector:
    """Counters by one label, read on scrape."""
    return values(name, documentation, label, read, "counter")
