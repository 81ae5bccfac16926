"""Shards of the poller at one address share the exchange's limits."""

import pytest

from backpack_streams.errors import UsageError
from backpack_streams.exchange.limits import LimitClass
from backpack_streams.rest_poller.poller import Poller
from backpack_streams.rest_poller.settings import RestPollerSettings


@pytest.mark.parametrize("shards", [1, 2, 5])
async def test_all_shards_together_use_as_much_as_one(shards: int) -> None:
    budgets = dict.fromkeys(LimitClass, 0.0)
    for index in range(shards):
        poller = Poller(RestPollerSettings(shard_index=index, shard_count=shards, rate_limit_share=0.4))
        for each in LimitClass:
            budgets[each] += poller._rest.limiter.settings.budget_per_minute(each)
        await poller._rest.close()
    assert budgets == pytest.approx({LimitClass.GENERAL: 800, LimitClass.HISTORICAL: 12})


async def test_too_many_shards_for_the_limits_are_refused_in_one_line() -> None:
    with pytest.raises(UsageError, match=r"leaves 1\.5 historical requests per minute"):
        Poller(RestPollerSettings(shard_count=10))
