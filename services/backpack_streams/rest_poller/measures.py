"""The metrics of rest-poller."""

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.registry import Collector

from backpack_streams.exchange.unknown_fields import OTHER_FIELDS
from backpack_streams.rest_poller.asking import MOST_FIELDS
from backpack_streams.rest_poller.refiller import Refiller
from backpack_streams.rest_poller.snapshot_fetcher import SnapshotFetcher
from backpack_streams.runtime.collectors import count, counts, value, values


class PollCounts:
    """Counters of requests by path."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.polls: dict[str, int] = dict.fromkeys(paths, 0)
        self.failures = dict(self.polls)
        self.stale_refused = dict(self.polls)
        self.last_success: dict[str, float] = {}
        """When the last usable answer came (monotonic seconds)."""
        self.books_wanted = 0


def polling_measures(
    counted: PollCounts,
    intervals: Callable[[], Mapping[str, float]],
    unknown_fields: Callable[[], Mapping[str, int]],
) -> Iterable[Collector]:
    """Return the metrics of polling.

    Args:
        counted: the counters.
        intervals: returns the polling interval by path (seconds).
        unknown_fields: returns how often each unknown field occurred.
    """
    started_at = time.monotonic()

    def ages() -> dict[str, float]:
        now = time.monotonic()
        return {path: now - counted.last_success.get(path, started_at) for path in intervals()}

    return (
        counts("rest_polls", "Requests made to keep topics up to date.", "path", lambda: counted.polls),
        counts("rest_poll_failures", "Polls without a usable answer.", "path", lambda: counted.failures),
        values("rest_poll_interval_seconds", "Configured interval between requests of the path.", "path", intervals),
        values(
            "rest_answer_age_seconds",
            "Time since the last usable answer, or since the start if there was none.",
            "path",
            ages,
        ),
        counts("rest_stale_refused", "Answers that were too old to publish.", "path", lambda: counted.stale_refused),
        counts(
            "rest_unknown_fields",
            f"Fields that no record has. At most {MOST_FIELDS} by name, the rest as {OTHER_FIELDS!r}.",
            "field",
            unknown_fields,
        ),
        value("books_wanted", "Open markets of this shard that have a book.", lambda: counted.books_wanted),
    )


def gap_measures(snapshot_fetcher: SnapshotFetcher, refiller: Refiller) -> Iterable[Collector]:
    """Return the metrics of snapshots and refills."""
    return (
        values(
            "gaps_open",
            "Gaps that wait for a snapshot (depth) or a refill (trade, kline).",
            "channel",
            lambda: {"depth": snapshot_fetcher.open_requests()} | refiller.open_spans(),
        ),
        values(
            "gaps_open_oldest_seconds",
            "How long the oldest open gap has waited; 0 if there is none.",
            "channel",
            lambda: {"depth": snapshot_fetcher.oldest_open_seconds()} | refiller.oldest_open_seconds(),
        ),
        count("snapshots", "REST snapshots of books published.", lambda: snapshot_fetcher.published),
        counts(
            "snapshots_refused", "REST snapshots that were not published.", "reason", lambda: snapshot_fetcher.refused
        ),
        count(
            "snapshot_gaps_seen", "Gaps of depth streams read from the gap topic.", lambda: snapshot_fetcher.gaps_seen
        ),
        count(
            "snapshot_audits_asked",
            "Snapshots taken early because an audit was requested.",
            lambda: snapshot_fetcher.audits_asked,
        ),
        count("refill_records", "Trades and candles published to fill gaps.", lambda: refiller.published),
        count(
            "refill_gaps_closed",
            "Gaps, or parts of them, that were refilled or turned out to be empty.",
            lambda: refiller.gaps_refilled,
        ),
        count(
            "refill_gaps_incomplete",
            "Gaps, or parts of them, that the exchange could not refill.",
            lambda: refiller.gaps_incomplete,
        ),
        counts(
            "read_failures",
            "How often reading from Kafka failed and was retried.",
            "reader",
            lambda: {"snapshots": snapshot_fetcher.read_failures},
        ),
    )
