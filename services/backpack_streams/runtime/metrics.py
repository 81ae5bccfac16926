"""Metrics at no cost to the hot path: code counts in plain Python integers, Prometheus reads them on scrape.

Names are `backpack_streams_<what>_<unit>`; counters end in `_total`. Each process has a `CollectorRegistry` of its
own (`new_registry`), never prometheus_client's global one, so tests and several services in one process stay separate.

    frames = CounterTable("frames", "Frames that the socket delivered.", ("stream",))
    depth_frames = frames.cell("depth")      # once, outside the loop
    depth_frames.value += 1                  # per frame: one attribute, no lock, no call
    registry.register(frames)

`ReadOnScrape` shows counts that another object keeps anyway (a publisher's, a session's); `HistogramTable` shows
latencies. All of it belongs to the event loop's thread, which also answers the scrape, so there is no lock.
"""

import asyncio
import platform
import re
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from backpack_streams import __version__

METRIC_PREFIX = "backpack_streams_"
LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LAG_SAMPLE_SECONDS = 0.25
_METRIC_NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")

Labels = tuple[str, ...]
Kind = Literal["counter", "gauge", "histogram"]


class Description(NamedTuple):
    """A metric as the documents list it.

    Attributes:
        name: the name that Prometheus shows.
        kind: the kind of metric.
        label_names: the names of its labels.
        documentation: its help text.
    """

    name: str
    kind: Kind
    label_names: Labels
    documentation: str


class OwnCollector(Collector):
    """A metric of ours: a name, a kind and label names."""

    _kind: Kind = "gauge"

    def __init__(self, name: str, documentation: str, label_names: Sequence[str] = ()) -> None:
        """Prepare.

        Args:
            name: the name without the project's prefix.
            documentation: the help text.
            label_names: the names of its labels.

        Raises:
            ValueError: not a valid metric name.
        """
        self._name = full_name(name)
        self._documentation = documentation
        self._label_names = tuple(label_names)

    @property
    def description(self) -> Description:
        """The metric's entry for the documents."""
        name = self._name + ("_total" if self._kind == "counter" else "")
        return Description(name, self._kind, self._label_names, self._documentation)


class Cell:
    """One counter or gauge: add to `value` or set it."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        """Start at 0."""
        self.value: float = 0


class CounterTable(OwnCollector):
    """Counters of one name: a `Cell` for each combination of labels. The scrape adds `_total` to the name."""

    _kind: Kind = "counter"

    def __init__(self, name: str, documentation: str, label_names: Sequence[str] = ()) -> None:
        super().__init__(name, documentation, label_names)
        self._cells: dict[Labels, Cell] = {}

    def cell(self, *labels: str) -> Cell:
        """Return the counter of these labels; the first call creates it. Keep it: this look-up is too slow for the hot path.

        Raises:
            ValueError: there are more or fewer labels than label names.
        """
        _check_labels(self._label_names, labels)
        return self._cells.setdefault(labels, Cell())

    def forget(self, *labels: str) -> None:
        """Stop showing the counter of these labels, for example of a market that closed."""
        self._cells.pop(labels, None)

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus scrapes."""
        family = CounterMetricFamily(self._name, self._documentation, labels=self._label_names)
        for labels, cell in self._cells.items():
            family.add_metric(labels, cell.value)
        yield family


class GaugeTable(CounterTable):
    """Gauges of one name: a `Cell` for each combination of labels. The hot path sets `cell.value`."""

    _kind: Kind = "gauge"

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus scrapes."""
        family = GaugeMetricFamily(self._name, self._documentation, labels=self._label_names)
        for labels, cell in self._cells.items():
            family.add_metric(labels, cell.value)
        yield family


class ReadOnScrape(OwnCollector):
    """Shows values that live elsewhere: each scrape calls `read`, which returns (labels, value) pairs."""

    def __init__(
        self,
        name: str,
        documentation: str,
        read: Callable[[], Iterable[tuple[Labels, float]]],
        label_names: Sequence[str] = (),
        kind: Literal["counter", "gauge"] = "gauge",
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            name: the name without the project's prefix.
            documentation: the help text.
            read: returns (labels, value) pairs; called by each scrape.
            label_names: the names of its labels.
            kind: the kind of metric.

        Raises:
            ValueError: not a valid metric name.
        """
        super().__init__(name, documentation, label_names)
        self._kind = kind
        self._read = read
        self._family = CounterMetricFamily if kind == "counter" else GaugeMetricFamily

    def describe(self) -> Iterable[Metric]:
        """Yield the name only: registering must not read values of a service that is not running yet."""
        yield self._family(self._name, self._documentation, labels=self._label_names)

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus scrapes."""
        family = self._family(self._name, self._documentation, labels=self._label_names)
        for labels, value in self._read():
            _check_labels(self._label_names, labels)
            family.add_metric(labels, value)
        yield family


class HistogramCell:
    """One histogram: an observation costs a bisection and two additions."""

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float, times: int = 1) -> None:
        """Count a value.

        Args:
            value: the observation, in the unit of the metric's name.
            times: how often to count it.
        """
        self.counts[bisect_left(self._bounds, value)] += times
        self.total += value * times


class HistogramTable(OwnCollector):
    """Histograms of one name: a `HistogramCell` for each combination of labels. Bounds are inclusive upper bounds."""

    _kind: Kind = "histogram"

    def __init__(
        self,
        name: str,
        documentation: str,
        label_names: Sequence[str] = (),
        bounds: Sequence[float] = LATENCY_BUCKETS_SECONDS,
    ) -> None:
        """Prepare.

        Args:
            name: the name without the project's prefix.
            documentation: the help text.
            label_names: the names of its labels.
            bounds: the inclusive upper bounds of the buckets, in rising order.

        Raises:
            ValueError: not a valid metric name, or the bounds do not rise.
        """
        if not bounds or list(bounds) != sorted(set(bounds)):
            raise ValueError("a histogram's bounds must rise")
        super().__init__(name, documentation, label_names)
        self._bounds = tuple(float(bound) for bound in bounds)
        self._cells: dict[Labels, HistogramCell] = {}

    def cell(self, *labels: str) -> HistogramCell:
        """Return the histogram of these labels; the first call creates it.

        Raises:
            ValueError: there are more or fewer labels than label names.
        """
        _check_labels(self._label_names, labels)
        return self._cells.setdefault(labels, HistogramCell(self._bounds))

    def collect(self) -> Iterator[Metric]:
        """Yield what Prometheus scrapes: each bucket counts all observations up to its bound."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=self._label_names)
        names = [*(str(bound) for bound in self._bounds), "+Inf"]
        for labels, cell in self._cells.items():
            buckets = list(zip(names, accumulate(cell.counts), strict=True))
            family.add_metric(labels, buckets, cell.total)
        yield family


def full_name(name: str) -> str:
    """Return `name` with the project's prefix.

    Raises:
        ValueError: it does not consist of words of lower-case letters and digits joined by `_`.
    """
    if not _METRIC_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a metric name: use lower-case letters, digits and '_'")
    return name if name.startswith(METRIC_PREFIX) else METRIC_PREFIX + name


def new_registry(service: str, readiness: Callable[[], Sequence[str]]) -> CollectorRegistry:
    """Return a registry with the metrics of every service: process, garbage collector, version, readiness.

    Args:
        service: the service's name.
        readiness: returns why the service is not ready; empty when it is.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    GCCollector(registry=registry)
    for collector in service_collectors(service, readiness):
        registry.register(collector)
    return registry


def service_collectors(service: str, readiness: Callable[[], Sequence[str]]) -> tuple[OwnCollector, ...]:
    """Return the metrics that every service shows about itself.

    Args:
        service: its name.
        readiness: returns why the service is not ready; empty when it is.
    """
    info = GaugeTable("service_info", "Always 1; the labels give name and versions.", ("service", "version", "python"))
    info.cell(service, __version__, platform.python_version()).value = 1
    started = GaugeTable("service_start_time_seconds", "When this process started, seconds since the Unix epoch.")
    started.cell().value = time.time()
    ready = ReadOnScrape(
        "service_ready", "1 while /readyz answers 200, else 0.", lambda: [((), 0 if readiness() else 1)]
    )
    return info, started, ready


def event_loop_lag() -> HistogramTable:
    """Return the histogram that `sample_event_loop_lag` fills."""
    return HistogramTable("event_loop_lag_seconds", "Delay of the event loop's timers.")


def render(registry: CollectorRegistry, accept: str) -> tuple[bytes, str]:
    """Return the registry's metrics and their content type.

    Args:
        registry: the metrics.
        accept: the Accept header, which selects the format.
    """
    encoder, content_type = choose_encoder(accept)
    return encoder(registry), content_type


async def sample_event_loop_lag(lag: HistogramCell, interval_seconds: float = LAG_SAMPLE_SECONDS) -> None:
    """Observe the delay of the event loop's timers until cancelled.

    Args:
        lag: receives the delays (seconds).
        interval_seconds: the time between two observations.
    """
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + interval_seconds
        await asyncio.sleep(interval_seconds)
        lag.observe(max(0.0, loop.time() - due))


def _check_labels(names: Labels, labels: Labels) -> None:
    if len(names) != len(labels):
        raise ValueError(f"labels {labels!r} do not match the label names {names!r}")
