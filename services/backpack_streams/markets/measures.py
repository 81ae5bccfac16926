"""Metrics of the market list and of the share that a service takes."""

import time
from collections.abc import Iterable

from prometheus_client.registry import Collector

from backpack_streams.markets.market_list import MarketList
from backpack_streams.runtime.collectors import Values, count, counts, value, values
from backpack_streams.runtime.metrics import ReadOnScrape


def market_list_measures(markets: MarketList) -> Iterable[Collector]:
    """Return the metrics of the market list that subscriptions follow: its age, and how much of it was not believed.

    Args:
        markets: read on scrape.
    """

    def age() -> Values:
        if markets.read_at is not None:
            yield (), time.monotonic() - markets.read_at

    return (
        ReadOnScrape("market_list_age_seconds", "Time since the exchange's list of markets was read.", age),
        value(
            "market_list_missing_markets",
            "Open markets that the newest lists lack; they are kept until fresh lists confirm it for minutes, "
            "and for half an hour if they are many.",
            lambda: markets.missing_markets,
        ),
        count(
            "market_list_refused_disappearances",
            "Times that many markets were missing from the list at once and were kept.",
            lambda: markets.refused_disappearances,
        ),
        counts(
            "market_list_ignored_answers",
            "Lists that change nothing: made before one that was taken, or without any market.",
            "reason",
            lambda: markets.ignored_answers,
        ),
    )


def shard_measures(shard_index: int, shard_count: int) -> Iterable[Collector]:
    """Return the metric of the share of the work that this process has.

    Args:
        shard_index: the number of this shard, from 0.
        shard_count: number of shards.
    """
    told = "How many shards share the work; the label is the one that this process is."
    return (values("shards", told, "shard_index", lambda: {str(shard_index): shard_count}),)
