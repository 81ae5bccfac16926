"""The REST client's requests over real sockets, and its reading of the answers: exact, bounded in size, with useful errors."""

import asyncio
import gzip
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from backpack_sandbox.server import Sandbox
from backpack_sandbox.settings import SandboxSettings
from backpack_streams.errors import ExchangeError, UsageError
from backpack_streams.exchange.limits import LimitClass
from backpack_streams.exchange.rest import Answer, RestClient, RestSettings, Rows
from backpack_streams.exchange.rest_errors import RestError, RestRedirectError, RestUnusableAnswerError
from backpack_streams.exchange.rest_wire import Trade
from integration.rest_stand_in import DEPTH, PATIENT, Request, always, client_of, in_turn, stand_in


async def test_a_depth_answer_is_exact_and_has_its_received_time_and_age() -> None:
    async with (
        stand_in(always(body=DEPTH, headers={"Age": "17"})) as exchange,
        RestClient(replace(PATIENT, base_url=exchange.url), wall_clock_us=lambda: 1_790_134_357_400_000) as client,
    ):
        answer = await client.depth("AAPL.US_USDC_PERP")
        assert (answer.body.bids, answer.body.asks) == ((("1.0", "3"),), (("1.10", "2"),))
        assert (answer.body.symbol, answer.body.last_update_id) == ("AAPL.US_USDC_PERP", 7)
        assert (answer.age_seconds, answer.status, answer.received_time_us) == (17, 200, 1_790_134_357_400_000)
    assert exchange.requests[0].path == "/api/v1/depth"
    assert exchange.requests[0].parameters == [("symbol", "AAPL.US_USDC_PERP"), ("limit", "1000")]
    assert exchange.requests[0].headers["user-agent"].startswith("backpack-streams/")


@pytest.mark.parametrize(("age", "read"), [(None, None), ("0", 0), ("x", None), ("-1", None), ("1.5", None)])
async def test_the_age_header_is_an_integer_or_unknown(age: str | None, read: int | None) -> None:
    async with (
        stand_in(always(body=b"[]", headers={} if age is None else {"age": age})) as exchange,
        client_of(exchange.url) as client,
    ):
        assert (await client.markets()).age_seconds == read


async def test_every_call_requests_the_documented_path_with_its_parameters() -> None:
    async def handle(request: Request) -> None:
        await request.answer(body=b"1752930720123" if request.path == "/api/v1/time" else b"[]")

    async with stand_in(handle) as exchange, client_of(exchange.url) as client:
        await client.markets(("PERP", "RFQ"))
        await client.funding_rates("A", 50, 100)
        await client.klines("A", "1m", 60, 120)
        await client.trades("A", 1000)
        await client.trades_history("A", 1000, 9000)
        assert (await client.time_ms()).body == 1_752_930_720_123
        assert client.limiter.counters(LimitClass.HISTORICAL).granted == 3
        assert client.limiter.counters(LimitClass.GENERAL).granted == 3
        assert exchange.connections == 1  # kept alive
    assert [(request.path.removeprefix("/api/v1/"), request.parameters) for request in exchange.requests] == [
        ("markets", [("marketType", "PERP"), ("marketType", "RFQ")]),
        ("fundingRates", [("symbol", "A"), ("limit", "50"), ("offset", "100")]),
        ("klines", [("symbol", "A"), ("interval", "1m"), ("startTime", "60"), ("endTime", "120")]),
        ("trades", [("symbol", "A"), ("limit", "1000")]),
        ("trades/history", [("symbol", "A"), ("limit", "1000"), ("offset", "9000")]),
        ("time", []),
    ]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_errors(status: int) -> None:
    handler = always(status, headers={"Location": "http://127.0.0.1:9/elsewhere"})
    async with stand_in(handler) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestRedirectError, match=r"redirected to http://127\.0\.0\.1:9/elsewhere") as caught:
            await client.markets()
        assert len(exchange.requests) == 1
    assert isinstance(caught.value, ExchangeError)
    assert caught.value.status == status


async def test_204_is_no_body_an_empty_list_or_an_error_depending_on_the_request() -> None:
    async with stand_in(always(204)) as exchange, client_of(exchange.url) as client:
        assert (await client.fetch("/api/v1/ticker")).body is None
        assert (await client.klines("A", "1m", 0, 1)).body.rows == ()
        with pytest.raises(RestUnusableAnswerError, match="without a body"):
            await client.depth("A")


async def test_a_good_status_with_a_wrong_body_is_an_error_with_the_body_and_not_retried() -> None:
    async with stand_in(always(body=b"<html>hello</html>")) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestUnusableAnswerError, match="not a JSON array") as caught:
            await client.markets()
        assert caught.value.body == b"<html>hello</html>"
        assert len(exchange.requests) == 1


async def test_gzip_is_read_and_broken_gzip_is_an_error() -> None:
    headers = {"Content-Encoding": "gzip"}
    async with (
        stand_in(
            in_turn(
                always(body=gzip.compress(DEPTH), headers=headers), always(body=b"\x1f\x8bgarbage", headers=headers)
            )
        ) as exchange,
        client_of(exchange.url) as client,
    ):
        assert (await client.depth("A")).body.last_update_id == 7
        assert "gzip" in exchange.requests[0].headers["accept-encoding"]
        with pytest.raises(RestUnusableAnswerError, match="does not decompress"):
            await client.depth("A")


@pytest.mark.parametrize("compressed", [False, True])
async def test_a_body_over_the_limit_is_refused_compressed_or_not(compressed: bool) -> None:
    big = b"[" + b" " * 2_000_000 + b"]"
    body = gzip.compress(big) if compressed else big
    handler = always(body=body, headers={"Content-Encoding": "gzip"} if compressed else {})
    settings = replace(PATIENT, largest_answer_bytes=1_000_000)
    async with stand_in(handler) as exchange, client_of(exchange.url, settings) as client:
        with pytest.raises(RestUnusableAnswerError, match="larger than 1000000 bytes"):
            await client.markets()
        assert len(exchange.requests) == 1


async def test_a_huge_error_body_is_truncated() -> None:
    async with stand_in(always(400, b"x" * 1_000_000)) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestError) as caught:
            await client.markets()
    assert len(caught.value.message) <= 300


async def test_a_proxy_from_the_environment_is_not_used_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with stand_in(always(body=DEPTH)) as exchange, client_of(exchange.url) as client:
        assert (await client.depth("A")).status == 200


@pytest.mark.parametrize(
    "url",
    ["api.backpack.exchange", "ftp://127.0.0.1", "http://", "http://user:secret@127.0.0.1", "http://[", "http://h?q=1"],
)
def test_a_wrong_base_url_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(UsageError, match="REST URL") as caught:
        RestClient(RestSettings(base_url=url))
    assert "secret" not in str(caught.value)


async def test_parameters_that_the_exchange_refuses_are_not_sent() -> None:
    async with stand_in(always(body=b"[]")) as exchange, client_of(exchange.url) as client:
        for call in (
            client.depth("A", 7),
            client.trades("A", 1_001),
            client.trades_history("A", 1_000, 9_001),
            client.funding_rates("A", 0),
            client.klines("A", "1m", 60, 0),
        ):
            with pytest.raises(UsageError, match=r"\bA\b"):
                await call
        assert exchange.requests == []


async def trades_of(ask: Callable[[], Awaitable[Answer[Rows[Trade]]]]) -> Rows[Trade]:
    """Request trades until the market has traded."""
    for _ in range(300):
        if (trades := (await ask()).body).rows:
            return trades
        await asyncio.sleep(0.1)
    pytest.fail("no trade in 30 s")


async def test_every_row_of_the_sandbox_is_readable() -> None:
    settings = SandboxSettings.model_validate({"ws_port": 0, "rest_port": 0, "control_port": 0})
    async with Sandbox(settings) as sandbox, client_of(sandbox.rest_url) as client:
        now_s = int(time.time())
        markets = (await client.markets(("SPOT", "PERP", "PREDICTION", "EXOTIC"))).body
        for rows in (
            markets,
            (await client.funding_rates("BTC_USDC_PERP", 5)).body,
            (await client.klines("SOL_USDC", "1m", now_s - 600, now_s)).body,
            await trades_of(lambda: client.trades("SOL_USDC", 5)),
            await trades_of(lambda: client.trades_history("SOL_USDC", 5)),
        ):
            assert rows.rows
            assert rows.bad_rows == ()
        assert {"PREDICTION", "EXOTIC"} <= {market.market_type for market in markets.rows}
        depth = (await client.depth("AAPL.US_USDC_PERP", 50)).body
        for side in (depth.bids, depth.asks):
            prices = [Decimal(price) for price, _ in side]
            assert len(prices) == 50
            assert prices == sorted(prices)
        closed = next(market.symbol for market in markets.rows if market.order_book_state == "Closed")
        with pytest.raises(RestError) as caught:
            await client.depth(closed)
        assert (caught.value.status, caught.value.code) == (404, "RESOURCE_NOT_FOUND")
        with pytest.raises(RestError, match="Invalid market symbol"):
            await client.depth("NO_SUCH")
