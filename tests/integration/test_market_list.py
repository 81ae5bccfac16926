"""The lists of markets and securities from a real server: a refused part does not affect the rest."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from backpack_sandbox.server import Sandbox
from backpack_sandbox.settings import SandboxSettings
from backpack_streams.errors import UsageError
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.markets.market_list import MarketList


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


async def test_markets_have_the_fields_that_streams_depend_on() -> None:
    async with asked_for("SPOT", "PERP", "RFQ", "EXOTIC") as markets:
        listed = {market.symbol: market for market in await markets.markets()}
        assert {market.market_type for market in listed.values()} == {"SPOT", "PERP", "RFQ", "EXOTIC"}
        apple = listed["AAPL.US_USDC_PERP"]
        assert (apple.base, apple.rwa_market_type, apple.state) == ("AAPL.US", "STOCK", "Open")
        assert listed["SOL_USDC"].rwa_market_type is None
        assert listed["WIF_USDC"].state == "Closed"


async def test_an_unknown_kind_of_market_does_not_affect_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with asked_for("SPOT", "NOT_A_KIND", "DATED", "NOR_THIS") as markets:
        assert await kinds(markets) == {"SPOT", "DATED"}
        assert await kinds(markets) == {"SPOT", "DATED"}
    told = [record for record in caplog.records if "does not know a kind of market" in record.message]
    assert sorted(vars(record)["market_type"] for record in told) == ["NOR_THIS", "NOT_A_KIND"]


async def test_refusal_of_every_kind_is_an_error() -> None:
    async with asked_for("spot", "perp") as markets:
        with pytest.raises(UsageError, match=r"--market-types spot, perp"):
            await markets.markets()


async def test_securities_are_listed_and_may_be_missing() -> None:
    async with asked_for("SPOT") as markets:
        assert {"AAPL.US", "BRK.B.US"} <= set(await markets.securities())
    async with asked_for("SPOT", faults=["rest-5xx:path=/api/v1/securities,status=404"]) as markets:
        assert await markets.securities() == ()


async def test_securities_stay_as_last_known_while_requests_fail() -> None:
    ports = {"ws_port": 0, "rest_port": 0, "control_port": 0}
    async with (
        Sandbox(SandboxSettings(**ports)) as sandbox,
        RestClient(RestSettings(base_url=sandbox.rest_url)) as rest,
    ):
        markets = MarketList(rest, ["SPOT"])
        before = await markets.securities()
        sandbox.order_fault({"fault": "rest-5xx", "path": "/api/v1/securities", "status": 404})
        assert await markets.securities() == before != ()


class Exchange:
    """Answers `/markets` with one list after another, then with the last one forever. A number is a status without a list."""

    def __init__(self, *answers: tuple[int, Any]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    @asynccontextmanager
    async def list(self, *market_types: str) -> AsyncIterator[MarketList]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    head = await reader.readuntil(b"\r\n\r\n")
                    self.asked.append(head.split(b" ")[1].decode())
                    age, body = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
                    status = body if isinstance(body, int) else 200
                    content = json.dumps(body).encode()
                    writer.write(
                        f"HTTP/1.1 {status} X\r\nage: {age}\r\ncontent-length: {len(content)}\r\n\r\n".encode()
                        + content
                    )
                    await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server, RestClient(RestSettings(base_url=f"http://127.0.0.1:{port}")) as rest:
            yield MarketList(rest, market_types)


def row(symbol: str, state: str | None = "Open", kind: str = "SPOT") -> dict[str, Any]:
    return {
        "symbol": symbol, "baseSymbol": "X", "quoteSymbol": "USDC", "marketType": kind, "orderBookState": state,
        "filters": {},
    }  # fmt: skip


EVERYTHING = [row("A"), row("B"), row("C", kind="PERP")]


async def symbols(markets: MarketList) -> set[str]:
    return {market.symbol for market in await markets.markets() if market.state != "Closed"}


async def test_nothing_in_the_first_list_is_logged_as_new(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    exchange = Exchange((0, EVERYTHING), (0, [*EVERYTHING, row("D")]))
    async with exchange.list("SPOT", "PERP") as markets:
        for _ in range(2):
            await markets.markets()
    assert [vars(each)["symbols"] for each in caplog.records if each.message == "new in the list"] == ["D"]


async def test_invalid_answers_remove_no_market() -> None:
    odd = [
        (0, []),
        (0, [row("A"), row("B", None), row("C", kind="PERP")]),
        (0, [row("A")]),
        (200, [row("C", "Closed")]),
    ]
    exchange = Exchange((0, EVERYTHING), *odd, (0, EVERYTHING))
    async with exchange.list("SPOT", "PERP") as markets:
        for _ in range(len(odd) + 2):
            assert await symbols(markets) == {"A", "B", "C"}
        assert markets.ignored_answers == {"IGNORED_EMPTY": 1, "IGNORED_OLDER": 1}
        assert markets.refused_disappearances == 0
        assert markets.missing_markets == 0


async def test_an_empty_first_list_is_an_error() -> None:
    exchange = Exchange((0, []), (0, [row("A", None)]), (0, EVERYTHING))
    async with exchange.list("SPOT") as markets:
        for _ in range(2):
            with pytest.raises(RestError, match="without any market that can be read"):
                await markets.markets()
            assert markets.read_at is None
        assert await symbols(markets) == {"A", "B", "C"}
        assert markets.read_at is not None


async def test_a_kind_that_is_refused_or_fails_once_keeps_its_markets() -> None:
    refusal = (0, 400)
    exchange = Exchange(
        (0, EVERYTHING),
        *(refusal, (0, [row("A"), row("B")]), refusal),  # PERP is refused
        *(refusal, (0, [row("A"), row("B")]), (0, 404)),  # PERP fails
        *(refusal, refusal, refusal),
        (0, EVERYTHING),
    )
    async with exchange.list("SPOT", "PERP") as markets:
        for _ in range(3):
            assert await symbols(markets) == {"A", "B", "C"}
        with pytest.raises(RestError):
            await markets.markets()
        assert await symbols(markets) == {"A", "B", "C"}


async def test_an_old_cached_list_is_requested_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backpack_streams.markets.market_list.REVALIDATION_SECONDS", 0.0)
    monkeypatch.setattr("backpack_streams.markets.known_markets._PRECISION_SECONDS", 0.0)
    now = [10_000.0]
    monkeypatch.setattr("backpack_streams.markets.market_list.time", SimpleNamespace(monotonic=lambda: now[0]))
    closed = [row("A", "Closed"), *EVERYTHING[1:]]
    exchange = Exchange((0, EVERYTHING), (301, closed), (0, closed))
    async with exchange.list("SPOT") as markets:
        assert await symbols(markets) == {"A", "B", "C"}
        now[0] += 1_000
        assert await symbols(markets) == {"B", "C"}
    assert len(exchange.asked) == 3


async def test_securities_survive_invalid_answers() -> None:
    exchange = Exchange((0, [{"asset": "AAPL.US"}, {"asset": "A B"}]), (0, []), (0, [{"asset": None}]), (0, 404))
    async with exchange.list("SPOT") as markets:
        for _ in range(4):
            assert await markets.securities() == ("AAPL.US",)
