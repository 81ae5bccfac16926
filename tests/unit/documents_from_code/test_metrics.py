"""What every service shows on /metrics: by Prometheus' conventions, one meaning a name, and not more with more markets."""

import asyncio
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families

from backpack_streams.book_builder.builder import Builder
from backpack_streams.book_builder.settings import BookBuilderSettings
from backpack_streams.books.market_book import MarketBook
from backpack_streams.bus.publisher import PartitionQueue
from backpack_streams.bus.topics import TOPICS
from backpack_streams.commands.record.service import Recorder
from backpack_streams.feed.listed_streams import ListedStreams, listed_producer
from backpack_streams.feed.producer import Producer
from backpack_streams.market_producer.service import STREAM_SPECS as MARKET_STREAM_SPECS
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.markets.selection import ListedMarket
from backpack_streams.perp_producer.service import STREAM_SPECS as PERP_STREAM_SPECS
from backpack_streams.perp_producer.settings import PerpProducerSettings
from backpack_streams.rest_poller.poller import Poller
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.runtime.metrics import METRIC_PREFIX, event_loop_lag, new_registry, render
from backpack_streams.runtime.service import Service
from contract.metrics_page import QUESTIONS, described, metrics_page, question_of, services

MARKETS = [
    ListedMarket(f"COIN{n}_USDC{'' if n % 2 else '_PERP'}", "SPOT" if n % 2 else "PERP", "Open", f"COIN{n}")
    for n in range(143)
]
MOST_SERIES = 440
"""Of one service with its default settings, however many markets there are."""

# The rules of `promtool check metrics`, as its source has them.
UNITS = {"seconds", "bytes", "ratio"}
ABBREVIATED = {
    "s",
    "ms",
    "us",
    "ns",
    "sec",
    "secs",
    "b",
    "kb",
    "mb",
    "gb",
    "min",
    "mins",
    "minutes",
    "hours",
    "percent",
    "kib",
    "mib",
}
TYPE_WORDS = {"gauge", "counter", "summary", "histogram", "untyped"}
RESERVED_SUFFIXES = ("_count", "_sum", "_bucket", "_total")


def registry_of(name: str, service: Service) -> CollectorRegistry:
    """As the service's host makes it."""
    registry = new_registry(name, list)
    lag = event_loop_lag()
    lag.cell().observe(0.001)
    registry.register(lag)
    for collector in service.collectors():
        registry.register(collector)
    return registry


def shown(name: str, service: Service) -> list[Metric]:
    body, _ = render(registry_of(name, service), "")
    return list(text_string_to_metric_families(body.decode()))


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Metric]]:
    """The metrics of each service that was made and not opened, by service."""

    async def rendered() -> dict[str, list[Metric]]:
        made = services(tmp_path_factory.mktemp("recording"))
        try:
            return {name: shown(name, service) for name, service in made.items()}
        finally:
            for service in made.values():
                if isinstance(service, Recorder):
                    await service.close()

    return asyncio.run(rendered())


def ours(pages: Mapping[str, list[Metric]]) -> Iterator[tuple[str, Metric]]:
    for service, specs in pages.items():
        yield from ((service, spec) for spec in specs if spec.name.startswith(METRIC_PREFIX))


def test_a_service_that_is_not_open_yet_shows_all_its_metrics(pages: dict[str, list[Metric]]) -> None:
    for service, metrics in described().items():
        names = {spec.name + ("_total" if spec.type == "counter" else "") for spec in pages[service]}
        assert metrics.keys() <= names


def test_every_metric_says_what_it_is(pages: dict[str, list[Metric]]) -> None:
    for service, spec in ours(pages):
        assert len(spec.documentation) > 10, (service, spec.name)
        assert spec.documentation.endswith("."), (service, spec.name)
        assert spec.type in ("counter", "gauge", "histogram"), (service, spec.name)


def test_names_follow_the_conventions(pages: dict[str, list[Metric]]) -> None:
    for service, spec in ours(pages):
        words = spec.name.split("_")
        where = (service, spec.name)
        assert re.fullmatch(r"[a-z][a-z0-9_]*", spec.name), where
        assert not {*words} & ABBREVIATED, where
        assert not {*words} & TYPE_WORDS, where
        assert not spec.name.endswith(RESERVED_SUFFIXES), where
        for unit in {*words} & UNITS:
            assert spec.name.endswith(f"_{unit}"), (*where, "a unit comes last")
        for sample in spec.samples:
            if spec.type == "counter":
                assert sample.name == f"{spec.name}_total", where
            for label in sample.labels:
                assert re.fullmatch(r"[a-z][a-z_]*", label), where


def test_a_name_means_the_same_everywhere() -> None:
    found: dict[str, Any] = {}
    for service, metrics in described().items():
        for name, description in metrics.items():
            assert found.setdefault(name, description) == description, service


def test_every_metric_answers_one_question() -> None:
    names = {name.removeprefix(METRIC_PREFIX) for metrics in described().values() for name in metrics}
    assert {question_of(name) for name in names} == set(QUESTIONS)


@pytest.mark.parametrize("name", ["unheard_of", "books_and_rest"])
def test_a_metric_without_a_question_is_refused(name: str) -> None:
    with pytest.raises(KeyError, match="answers 0 questions"):
        question_of(name)


def test_the_page_has_a_row_for_each() -> None:
    page = metrics_page()
    for metrics in described().values():
        for name in metrics:
            assert page.count(f"| `{name.removeprefix(METRIC_PREFIX)}` |") == 1


# ---- how many there are


class Unopened:
    """A service as it is once it knows 143 markets, without Kafka or an exchange."""

    def __init__(self, per_symbol: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        self._per_symbol = per_symbol
        self._monkeypatch = monkeypatch

    def market_producer(self) -> Service:
        settings = MarketProducerSettings(metrics_per_symbol=self._per_symbol)
        return self._subscribed(listed_producer("market-producer", settings, MARKET_STREAM_SPECS))

    def perp_producer(self) -> Service:
        settings = PerpProducerSettings(metrics_per_symbol=self._per_symbol)
        return self._subscribed(listed_producer("perp-producer", settings, PERP_STREAM_SPECS))

    def rest_poller(self) -> Service:
        poller = Poller(RestPollerSettings(metrics_per_symbol=self._per_symbol))
        poller._markets = MARKETS
        poller._lending_markets = ["BTC", "SOL"]
        return poller

    def book_builder(self) -> Service:
        builder = Builder(BookBuilderSettings(metrics_per_symbol=self._per_symbol))
        builder.keeper.intake.books.update({market.symbol: MarketBook(market.symbol) for market in MARKETS})
        by_partition = dict.fromkeys(range(8), 1)
        self._monkeypatch.setattr(builder.reading, "lag", lambda: by_partition)
        self._monkeypatch.setattr(builder.reading, "lag_seconds", lambda: by_partition)
        builder._group.assigned, builder._group.confirmed_at = frozenset(by_partition), 1.0
        return builder

    @staticmethod
    def _subscribed(producer: Producer) -> Producer:
        publisher = producer._publishing.publisher
        publisher._partition_queues = {
            f"backpack.{each.name}": [PartitionQueue(publisher.buffer, each.name, 0)] for each in TOPICS
        }
        choice = producer._choice
        assert isinstance(choice, ListedStreams)
        producer._want(choice._streams(MARKETS))
        for stream in producer._router.feeds.values():
            stream.last_received_us = 1
        return producer


SERVICES = ("market_producer", "perp_producer", "rest_poller", "book_builder")


def series(service: str, per_symbol: bool, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, dict[str, str]]]:
    async def rendered() -> list[Metric]:
        make: Callable[[], Service] = getattr(Unopened(per_symbol, monkeypatch), service)
        return shown(service, make())

    return [(sample.name, sample.labels) for spec in asyncio.run(rendered()) for sample in spec.samples]


@pytest.mark.parametrize("service", SERVICES)
def test_there_are_not_more_of_them_with_more_markets(service: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = series(service, False, monkeypatch)
    assert len(found) == len({(name, json.dumps(labels, sort_keys=True)) for name, labels in found})
    # Unknown fields are counted by the process, so those that other tests made up are among them; they have a bound of their own.
    assert len([name for name, _ in found if "unknown" not in name]) < MOST_SERIES
    values = {value for _, labels in found for value in labels.values()}
    assert not [value for value in values if "COIN" in value]


@pytest.mark.parametrize(
    ("service", "name", "label"),
    [
        ("market_producer", "stream_last_frame_timestamp_seconds", "stream"),
        ("perp_producer", "stream_last_frame_timestamp_seconds", "stream"),
        ("book_builder", "book_status", "symbol"),
    ],
)
def test_series_by_symbol_are_there_where_they_are_asked_for(
    service: str, name: str, label: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        labels[label] for shown_name, labels in series(service, True, monkeypatch) if shown_name == METRIC_PREFIX + name
    ]
    markets = MARKETS if service != "perp_producer" else [each for each in MARKETS if each.market_type == "PERP"]
    for market in markets:
        assert any(value.endswith(market.symbol) for value in found)
