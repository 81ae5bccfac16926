"""Our metrics as a page for people, grouped by the question they answer; every name comes from the services' collectors."""

import asyncio
import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from pydantic import SecretStr

from backpack_streams.account_producer.account_streams import AccountStreams
from backpack_streams.account_producer.service import STREAM_SPECS as ACCOUNT_STREAM_SPECS
from backpack_streams.account_producer.settings import AccountProducerSettings
from backpack_streams.book_builder.builder import Builder
from backpack_streams.book_builder.settings import BookBuilderSettings
from backpack_streams.commands.record.service import Recorder
from backpack_streams.commands.record.settings import RecorderSettings
from backpack_streams.feed.listed_streams import listed_producer
from backpack_streams.feed.producer import Producer
from backpack_streams.gateway.gateway import Gateway
from backpack_streams.gateway.settings import GatewaySettings
from backpack_streams.market_producer.service import STREAM_SPECS as MARKET_STREAM_SPECS
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.perp_producer.service import STREAM_SPECS as PERP_STREAM_SPECS
from backpack_streams.perp_producer.settings import PerpProducerSettings
from backpack_streams.rest_poller.poller import Poller
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.runtime.metrics import (
    METRIC_PREFIX,
    Description,
    OwnCollector,
    event_loop_lag,
    service_collectors,
)
from backpack_streams.runtime.service import Service

QUESTIONS: Final[Mapping[str, str]] = {
    "What runs, and is it ready?": r"service_.*|shards|event_loop_lag_seconds",
    "Is every stream alive?": (
        r"streams(_confirmed|_delivering|_silent|_rejected|_doubted_total)?|channel_silence_seconds|stream_silence_seconds|market_list_.*"
        r"|stream_last_frame_timestamp_seconds"
    ),
    "Until when is all of it in Kafka?": r"watermark.*",
    "What comes in?": r"frames_.*|error_frames_.*|unknown_(envelope_)?fields_.*",
    "How old is the data, at each hop from the exchange to the book?": r"data_age_seconds|publish_seconds|clock_.*",
    "Does Kafka take it?": r"published_.*|publish_(?!seconds).*|read_failures_total|registry_.*",
    "What is missing, and is it being had again?": r"gaps_.*|snapshots?_.*|refill_.*|books_wanted|dead_letters_total|reports_.*",
    "Are the sockets up?": r"sockets?(_.*)?",
    "What is left of the REST limits?": r"rest_(budget|requests?|paused).*",
    "Do the polls bring what they should?": r"rest_(poll|answer|stale|unknown).*",
    "Are the books right?": (
        r"books|books_(unusable|as_of|buffered).*|book_(audit|status|engine|as_of).*|book_audits_total|builder_breaks_total|checkpoint.*|book_tops_total"
    ),
    "Does the book builder keep up?": r"builder_(?!breaks).*|group_confirmation_age_seconds",
    "Does the exchange take our signatures?": r"signatures?_.*",
    "Does the gateway answer from what is in Kafka?": r"gateway_.*",
    "What does `record` write?": r"record(ed|ing)_.*",
}
"""The metrics (names without prefix) that answer each question."""

_PRODUCERS = frozenset({"market-producer", "perp-producer", "account-producer"})
_UNITS = (
    ("_timestamp_seconds", "s since 1970"),
    ("_start_time_seconds", "s since 1970"),
    ("_seconds", "s"),
    ("_bytes", "bytes"),
    ("_ratio", "0 to 1"),
)
_HEAD = f"""# Metrics

Every service answers `GET /metrics` in Prometheus' text format and in OpenMetrics. All names begin with `{METRIC_PREFIX}`, left out
below; beside them are `process_*` (CPU, memory, open files) and `python_gc_*` of prometheus_client. This page is generated from what the
services register: `make docs`.

- Counters and what is counted by a known word (`reason`, `channel`, `status`, ...) are there at 0 from the start, so that `increase()`
  sees the first one. Ages are worked out at each scrape.
- `channel` is the exchange's own word, without parameters: `depth`, `bookTicker`, `trade`, `kline`, `account.orderUpdate`, ...
- A service shows its metrics while it still starts, so that one that waits for Kafka, the schema registry or the exchange can be asked.
- No label grows with the number of markets, unless `--metrics-per-symbol` is set: then there are the metrics whose meaning ends with
  its name.
- Producers are market-producer, perp-producer and account-producer.
"""


def services(folder: Path) -> dict[str, Service]:
    """Return every service with its default settings, a schema registry and series for each symbol; none is opened.

    Needs a running event loop. The recorder creates its file in `folder`; close the recorder.
    """
    kafka = {"schema_registry_url": "http://127.0.0.1:1", "metrics_per_symbol": True}
    key = SecretStr(base64.b64encode(bytes(32)).decode())  # no account has this key; nothing is signed
    account = AccountProducerSettings(private_key=key, **kafka)
    return {
        "market-producer": listed_producer("market-producer", MarketProducerSettings(**kafka), MARKET_STREAM_SPECS),
        "perp-producer": listed_producer("perp-producer", PerpProducerSettings(**kafka), PERP_STREAM_SPECS),
        "account-producer": Producer(
            "account-producer", account, ACCOUNT_STREAM_SPECS, partial(AccountStreams, account)
        ),
        "rest-poller": Poller(RestPollerSettings(**kafka)),
        "book-builder": Builder(BookBuilderSettings(**kafka)),
        "gateway": Gateway(GatewaySettings(**kafka)),
        "record": Recorder(RecorderSettings(), folder / "recording"),
    }


def described() -> dict[str, dict[str, Description]]:
    """Return the metrics of each service: by service and by name."""
    return asyncio.run(_described())


async def _described() -> dict[str, dict[str, Description]]:
    found: dict[str, dict[str, Description]] = {}
    with TemporaryDirectory() as folder:
        for name, service in services(Path(folder)).items():
            collectors = (*service_collectors(name, list), event_loop_lag(), *service.collectors())
            own = [collector.description for collector in collectors if isinstance(collector, OwnCollector)]
            found[name] = {each.name: each for each in own}
            if isinstance(service, Recorder):
                await service.close()
    return found


def question_of(name: str) -> str:
    """Return the question that a metric answers; `name` is without the prefix.

    Raises:
        KeyError: it answers no question, or several.
    """
    found = [question for question, names in QUESTIONS.items() if re.fullmatch(names, name)]
    if len(found) != 1:
        raise KeyError(f"the metric {name} answers {len(found)} questions: see QUESTIONS")
    return found[0]


def metrics_page() -> str:
    """Return the page as Markdown."""
    shown = described()
    meanings = {name: each for of_service in shown.values() for name, each in of_service.items()}
    by_question: dict[str, list[Description]] = {question: [] for question in QUESTIONS}
    for name, each in meanings.items():
        by_question[question_of(name.removeprefix(METRIC_PREFIX))].append(each)
    lines = [_HEAD]
    for question, metrics in by_question.items():
        lines += [f"## {question}", "", *_table(metrics, shown), ""]
    return "\n".join(lines)


def _table(metrics: Iterable[Description], shown: Mapping[str, Mapping[str, Description]]) -> Iterator[str]:
    yield "| metric | type | labels | unit | services | meaning |"
    yield "|---|---|---|---|---|---|"
    for each in metrics:
        labels = ", ".join(f"`{label}`" for label in each.label_names)
        having = [service for service, names in shown.items() if each.name in names]
        name = each.name.removeprefix(METRIC_PREFIX)
        yield f"| `{name}` | {each.kind} | {labels} | {_unit(name)} | {_who(having, len(shown))} | {each.documentation} |"


def _who(having: list[str], of: int) -> str:
    if len(having) == of:
        return "all"
    rest = [service for service in having if service not in _PRODUCERS]
    return ", ".join(["producers", *rest] if len(having) - len(rest) == len(_PRODUCERS) else having)


def _unit(name: str) -> str:
    base = name.removesuffix("_total")
    return next((unit for ending, unit in _UNITS if base.endswith(ending)), "")
