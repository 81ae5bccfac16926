"""What rest-poller shows on /metrics."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.registry import Collector

from backpack_streams.exchange.limits import LimitClass
from backpack_streams.exchange.rest import RestClient
from backpack_streams.feed.measures import count, counts, value
from backpack_streams.rest_poller.refiller import Refiller
from backpack_streams.rest_poller.seeder import Seeder
from backpack_streams.runtime.metrics import Labels, ReadOnScrape

if TYPE_CHECKING:  # the poller builds its measures, so it cannot be imported here
    from backpack_streams.rest_poller.poller import Poller


def poller_measures(poller: "Poller", seeder: Seeder, refiller: Refiller, rest: RestClient) -> Iterable[Collector]:
    """How polling and seeding go, and what is left of the exchange's rate limits."""

    def since_success() -> Iterator[tuple[Labels, float]]:
        return (((path,), time.monotonic() - at) for path, at in poller.last_success.items())

    def granted() -> dict[str, int]:
        return {str(each): rest.limiter.counters(each).granted for each in LimitClass}

    def refused() -> dict[str, int]:
        return {str(each): rest.limiter.counters(each).refused for each in LimitClass}

    return (
        counts("rest_polls", "Requests made to keep topics up to date.", "path", lambda: poller.polls),
        counts("rest_poll_failures", "Polls that brought no answer.", "path", lambda: poller.failures),
        counts("rest_stale_refused", "Answers that were too old to publish.", "path", lambda: poller.stale_refused),
        counts("rest_unknown_fields", "Fields that no record has.", "field", lambda: poller.unknown_fields),
        ReadOnScrape("rest_since_success_seconds", "Time since the last usable answer.", since_success, ("path",)),
        counts("rest_requests_granted", "Requests that the rate limits let go.", "limit", granted),
        counts("rest_requests_refused", "Requests that the exchange refused with 429.", "limit", refused),
        value("rest_queue_length", "Requests that wait for their turn.", rest.limiter.queue_length),
        count("seeds", "Book seeds published.", lambda: seeder.published),
        counts("seeds_refused", "Snapshots that were of no use as seeds.", "reason", lambda: seeder.refused),
        count("seed_gaps_seen", "Gaps of depth streams read from the gap topic.", lambda: seeder.gaps_seen),
        count(
            "seed_audits_asked", "Snapshots taken early since a book was under suspicion.", lambda: seeder.audits_asked
        ),
        value("seed_gaps_open", "Gaps that wait for their seed.", seeder.open_requests),
        value("refill_gaps_open", "Gaps in trades and candles that wait for their refill.", refiller.open_spans),
        count("refill_records", "Trades and candles published to fill gaps.", lambda: refiller.published),
        count("refill_gaps_closed", "Gaps, or parts of them, that were refilled.", lambda: refiller.gaps_refilled),
        count(
            "refill_gaps_incomplete", "Gaps, or parts of them, that cannot be had.", lambda: refiller.gaps_incomplete
        ),
    )
