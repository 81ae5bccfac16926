"""What rest-poller shows on /metrics."""

import time
from collections.abc import Callable, Iterable, Mapping

from prometheus_client.registry import Collector

from backpack_streams.feed.measures import count, counts, named, value, values
from backpack_streams.rest_poller.refiller import Refiller
from backpack_streams.rest_poller.seeder import Seeder

MOST_FIELDS = 100
"""Unknown fields of all answers shown by name."""


class PollCounts:
    """How the polls of each path went."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.polls: dict[str, int] = dict.fromkeys(paths, 0)
        self.failures = dict(self.polls)
        self.stale_refused = dict(self.polls)
        self.last_success: dict[str, float] = {}
        """When an answer was last of use (monotonic seconds)."""
        self.books_wanted = 0


def polling_measures(
    counted: PollCounts,
    intervals: Callable[[], Mapping[str, float]],
    unknown_fields: Callable[[], Mapping[str, int]],
) -> Iterable[Collector]:
    """How polling goes; `intervals` and `unknown_fields` by path."""
    started_at = time.monotonic()

    def ages() -> dict[str, float]:
        now = time.monotonic()
        return {path: now - counted.last_success.get(path, started_at) for path in intervals()}

    return (
        counts("rest_polls", "Requests made to keep topics up to date.", "path", lambda: counted.polls),
        counts("rest_poll_failures", "Polls that brought no answer.", "path", lambda: counted.failures),
        values("rest_poll_interval_seconds", "How often the path is to be asked.", "path", intervals),
        values(
            "rest_answer_age_seconds", "Time since the last usable answer; since the start before one.", "path", ages
        ),
        counts("rest_stale_refused", "Answers that were too old to publish.", "path", lambda: counted.stale_refused),
        counts(
            "rest_unknown_fields",
            f"Fields that no record has. At most {MOST_FIELDS} by name, the rest as 'other'.",
            "field",
            lambda: named(unknown_fields(), MOST_FIELDS),
        ),
        value("books_wanted", "Open markets of ours that have a book.", lambda: counted.books_wanted),
    )


def gap_measures(seeder: Seeder, refiller: Refiller) -> Iterable[Collector]:
    """How seeding and refilling go."""
    return (
        values(
            "gaps_open",
            "Gaps that wait for their seed (depth) or their refill (trade, kline).",
            "channel",
            lambda: {"depth": seeder.open_requests()} | refiller.open_spans(),
        ),
        values(
            "gaps_open_oldest_seconds",
            "How long the oldest of the open gaps has waited; 0 while there is none.",
            "channel",
            lambda: {"depth": seeder.oldest_open_seconds()} | refiller.oldest_open_seconds(),
        ),
        count("seeds", "Book seeds published.", lambda: seeder.published),
        counts("seeds_refused", "Snapshots that were of no use as seeds.", "reason", lambda: seeder.refused),
        count("seed_gaps_seen", "Gaps of depth streams read from the gap topic.", lambda: seeder.gaps_seen),
        count(
            "seed_audits_asked", "Snapshots taken early since a book was under suspicion.", lambda: seeder.audits_asked
        ),
        count("refill_records", "Trades and candles published to fill gaps.", lambda: refiller.published),
        count(
            "refill_gaps_closed",
            "Gaps, or parts of them, that were refilled, or that turned out to lack nothing.",
            lambda: refiller.gaps_refilled,
        ),
        count(
            "refill_gaps_incomplete",
            "Gaps, or parts of them, that the exchange could not refill.",
            lambda: refiller.gaps_incomplete,
        ),
        counts(
            "read_failures",
            "Times that reading from Kafka failed and began again.",
            "reader",
            lambda: {"seeder": seeder.read_failures, "refiller": refiller.read_failures},
        ),
    )
