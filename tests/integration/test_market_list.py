"""The lists of markets and securities, asked of a real server: what the exchange refuses costs nothing else."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from backpack_streams.errors import UsageError
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.feed.market_list import MarketList
from backpack_streams.sandbox.server import Sandbox
from backpack_streams.sandbox.settings import SandboxSettings


@asynccontextmanager
async def asked_for(*market_types: str, **settings: Any) -> AsyncIterator[MarketList]:
    ports = {"ws_port": 0, "rest_port": 0, "control_port": 0}
    async with (
        Sandbox(SandboxSettings(**ports, symbols=5, every_kind=True, **settings)) as sandbox,
        RestClient(RestSettings(base_url=sandbox.rest_url)) as rest,
    ):
        yield MarketList(rest, market_types)


async def kinds(markets: MarketList) -> set[str]:
    return {market.market_type for market in await markets.markets()}


async def test_markets_come_with_what_streams_depend_on() -> None:
    async with asked_for("SPOT", "PERP", "RFQ", "EXOTIC") as markets:
        listed = {market.symbol: market for market in await markets.markets()}
        assert {market.market_type for market in listed.values()} == {"SPOT", "PERP", "RFQ", "EXOTIC"}
        apple = listed["AAPL.US_USDC_PERP"]
        assert (apple.base, apple.rwa_market_type, apple.state) == ("AAPL.US", "STOCK", "Open")
        assert listed["SOL_USDC"].rwa_market_type is None
        assert listed["WIF_USDC"].state == "Closed"


async def test_a_kind_that_the_exchange_does_not_know_costs_the_others_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with asked_for("SPOT", "NOT_A_KIND", "DATED", "NOR_THIS") as markets:
        assert await kinds(markets) == {"SPOT", "DATED"}
        assert await kinds(markets) == {"SPOT", "DATED"}
    told = [record for record in caplog.records if "does not know a kind of market" in record.message]
    assert sorted(vars(record)["market_type"] for record in told) == ["NOR_THIS", "NOT_A_KIND"]


async def test_when_every_kind_is_refused_the_user_is_told() -> None:
    async with asked_for("spot", "perp") as markets:
        with pytest.raises(UsageError, match=r"--market-types spot, perp"):
            await markets.markets()


async def test_securities_are_listed_and_an_exchange_without_them_has_none() -> None:
    async with asked_for("SPOT") as markets:
        assert {"AAPL.US", "BRK.B.US"} <= set(await markets.securities())
    async with asked_for("SPOT", faults=["rest-5xx:path=/api/v1/securities,status=404"]) as markets:
        assert await markets.securities() == ()


async def test_securities_stay_as_known_last_while_they_cannot_be_asked() -> None:
    ports = {"ws_port": 0, "rest_port": 0, "control_port": 0}
    async with (
        Sandbox(SandboxSettings(**ports)) as sandbox,
        RestClient(RestSettings(base_url=sandbox.rest_url)) as rest,
    ):
        markets = MarketList(rest, ["SPOT"])
        before = await markets.securities()
        sandbox.order_fault({"fault": "rest-5xx", "path": "/api/v1/securities", "status": 404})
        assert await markets.securities() == before != ()
