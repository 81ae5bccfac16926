"""What rest-poller shows on /metrics."""

import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from backpack_streams.feed.measures import count, counts, named, value, values
from backpack_streams.rest_poller.refiller import Refiller
from backpack_streams.rest_poller.seeder import Seeder

if TYPE_CHECKING:  # the poller builds its measures, so it cannot be imported here
    from backpack_streams.rest_poller.poller import Poller

MOST_FIELDS = 100
"""Unknown fields of all answers shown by name."""


def poller_measures(poller: "Poller", seeder: Seeder, refiller: Refiller) -> Iterable[Collector]:
    """How polling, seeding and refilling go."""
    return (*_polling_measures(poller), *_gap_measures(seeder, refiller))


def _polling_measures(poller: "Poller") -> Iterable[Collector]:
    started_at = time.monotonic()

    def ages() -> dict[str, float]:
        now = time.monotonic()
        return {path: now - poller.last_success.get(path, started_at) for path in poller.intervals()}

    return (
        counts("rest_polls", "Requests made to keep topics up to date.", "path", lambda: poller.polls),
        counts("rest_poll_failures", "Polls that brought no answer.", "path", lambda: poller.failures),
        values("rest_poll_interval_seconds", "How often the path is to be asked.", "path", poller.intervals),
        values(
            "rest_answer_age_seconds", "Time since the last usable answer; since the start before one.", "path", ages
        ),
        counts("rest_stale_refused", "Answers that were too old to publish.", "path", lambda: poller.stale_refused),
        counts(
            "rest_unknown_fields",
            f"Fields that no record has. At most {MOST_FIELDS} by name, the rest as 'other'.",
            "field",
            lambda: named(poller.unknown_fields, MOST_FIELDS),
        ),
        value("books_wanted", "Open markets of ours that have a book.", lambda: poller.books_wanted),
    )


def _gap_measures(seeder: Seeder, refiller: Refiller) -> Iterable[Collector]:
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
            "refill_gaps_incomplete", "Gaps, or parts of them, that cannot be had.", lambda: refiller.gaps_incomplete
        ),
        counts(
            "read_failures",
            "Times that reading from Kafka failed and began again.",
            "reader",
            lambda: {"seeder": seeder.read_failures, "refiller": refiller.read_failures},
        ),
    )
