"""The sandbox's REST API answers in the exchange's odd forms."""

import asyncio
import contextlib
import time
from decimal import Decimal
from typing import Any

import httpx
import pytest

from backpack_sandbox.server import PortInUseError, Sandbox
from backpack_sandbox.settings import SandboxSettings
from backpack_streams.runtime.listening import listening_sockets
from plant import free_port


def sandbox_with(**settings: Any) -> Sandbox:
    return Sandbox(SandboxSettings(**{"ws_port": 0, "rest_port": 0, "control_port": 0, **settings}))


def rest(sandbox: Sandbox) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{sandbox.rest_url}/api/v1", timeout=20)


async def test_status_ping_and_time():
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        assert (await api.get("/status")).json()["status"] == "Ok"
        ping, clock = await api.get("/ping"), await api.get("/time")
        assert (ping.text, ping.headers["content-type"].split(";")[0]) == ("pong", "text/plain")
        assert clock.headers["content-type"].startswith("text/plain")
        assert abs(int(clock.text) - time.time() * 1000) < 5000


async def test_markets():
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        answer = await api.get("/markets")
        rows = {row["symbol"]: row for row in answer.json()}
        assert int(answer.headers["age"]) >= 0
        assert {row["marketType"] for row in rows.values()} == {"SPOT", "PERP"}
        assert rows["WIF_USDC"]["orderBookState"] == "Closed"
        assert rows["AAPL.US_USDC_PERP"]["rwaMarketType"] == "STOCK"
        assert rows["BTC_USDC_PERP"]["fundingInterval"] == 3_600_000
        assert rows["ETH_USDC_PERP"]["fundingInterval"] == "3600000"
        assert rows["SOL_USDC"]["fundingInterval"] is not None
        assert "settlementHint" in rows["ETH_USDC"]
        assert rows["BTC_USDC_PERP"]["filters"]["price"]["tickSize"] == "0.1"
        assert not rows["BTC_USDC_PERP"]["createdAt"].endswith("Z")
        wider = (await api.get("/markets", params={"marketType": ["PREDICTION", "EXOTIC"]})).json()
        assert [row["marketType"] for row in wider] == ["PREDICTION", "EXOTIC"]
        refused = await api.get("/markets", params={"marketType": "SOUP"})
        assert (refused.status_code, refused.text[:41]) == (400, "failed to parse parameter `marketType`: f"[:41])
        assert (await api.get("/market", params={"symbol": "SOL_USDC"})).json() == rows["SOL_USDC"]
        assets = (await api.get("/assets")).json()
        assert {"BTC", "USDC", "kSHIB"} <= {row["symbol"] for row in assets}


async def test_depth():
    async with sandbox_with(start="control") as sandbox, rest(sandbox) as api:
        whole = (await api.get("/depth", params={"symbol": "SOL_USDC"})).json()
        top = (await api.get("/depth", params={"symbol": "SOL_USDC", "limit": 5})).json()
        truth = sandbox.venue.book("SOL_USDC")
        assert [tuple(level) for level in whole["bids"]] == truth.bids[::-1]
        assert [tuple(level) for level in whole["asks"]] == truth.asks
        assert top["bids"] == whole["bids"][-5:]
        assert top["asks"] == whole["asks"][:5]
        assert whole["lastUpdateId"] == str(truth.last_update_id)
        assert abs(whole["timestamp"] - time.time() * 1e6) < 60e6
        texts = [text for level in whole["bids"] + whole["asks"] for text in level]
        assert not any("." in text and text.endswith("0") for text in texts)


@pytest.mark.parametrize(
    ("path", "status", "start"),
    [
        ("/depth?symbol=SOL_USDC&limit=7", 400, "failed to parse parameter `limit`:"),
        ("/depth?limit=5", 400, "failed to parse parameter `symbol`:"),
        ("/depth?symbol=NOPE", 400, '{"code":"INVALID_CLIENT_REQUEST","message":"Invalid market symbol"}'),
        ("/depth?symbol=WIF_USDC", 404, '{"code":"RESOURCE_NOT_FOUND"'),
        ("/klines?symbol=SOL_USDC&interval=7m&startTime=1", 400, "failed to parse parameter `interval`:"),
        ("/klines?symbol=SOL_USDC&interval=1m&startTime=x", 400, "failed to parse parameter `startTime`:"),
        ("/trades?symbol=SOL_USDC&limit=-1", 400, "failed to parse parameter `limit`:"),
        ("/trades/history?symbol=SOL_USDC&offset=9950&limit=51", 400, '{"code":"INVALID_CLIENT_REQUEST"'),
        ("/nowhere", 404, "not found"),
    ],
)
async def test_errors(path, status, start):
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        answer = await api.get(path)
        assert (answer.status_code, answer.text[: len(start)]) == (status, start)
        assert answer.headers["content-type"].startswith("application/json" if start[0] == "{" else "text/plain")


async def test_tickers():
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        nothing = await api.get("/ticker", params={"symbol": "QUIET_USDC"})
        assert (nothing.status_code, nothing.content) == (204, b"")
        rows = {row["symbol"]: row for row in (await api.get("/tickers")).json()}
        assert rows["QUIET_USDC"]["priceChangePercent"] == "N/A"
        assert isinstance(rows["BTC_USDC"]["trades"], str)
        assert (await api.get("/ticker", params={"symbol": "BTC_USDC"})).json()["symbol"] == "BTC_USDC"


async def test_mark_prices_and_open_interest():
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        rows = {row["symbol"]: row for row in (await api.get("/markPrices")).json()}
        assert "SOL_USDC" not in rows
        assert "fundingRate" not in rows["kSHIB_USDC_PERP"]
        assert "indexPrice" not in rows["kSHIB_USDC_PERP"]
        assert rows["BTC_USDC_PERP"]["nextFundingTimestamp"] % 3_600_000 == 0
        (one,) = (await api.get("/openInterest", params={"symbol": "BTC_USDC_PERP"})).json()
        assert abs(one["timestamp"] - time.time() * 1000) < 5000
        assert isinstance(one["openInterest"], str)


async def test_funding_rates_page_with_headers():
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        first = await api.get("/fundingRates", params={"symbol": "BTC_USDC_PERP", "limit": 3})
        second = await api.get("/fundingRates", params={"symbol": "BTC_USDC_PERP", "limit": 3, "offset": 2})
        assert first.json()[2] == second.json()[0]
        assert first.headers["x-page-size"] == "3"
        assert int(first.headers["x-total"]) > 700


async def test_klines_and_trades():
    async with sandbox_with(rate=2000) as sandbox, rest(sandbox) as api:
        await asyncio.sleep(0.5)
        now = int(time.time())
        params = {"symbol": "BTC_USDC", "interval": "15m", "startTime": now - 7200, "endTime": now}
        rows = (await api.get("/klines", params=params)).json()
        assert 8 <= len(rows) <= 9
        assert rows[0]["start"][10] == " "
        assert isinstance(rows[0]["trades"], str)
        trades = (await api.get("/trades", params={"symbol": "BTC_USDC", "limit": 5000})).json()
        assert len(trades) == 1000
        ids = [row["id"] for row in trades]
        assert ids == sorted(ids, reverse=True)
        assert Decimal(trades[0]["price"]) > 0
        last = (await api.get("/trades/history?symbol=BTC_USDC&offset=9900&limit=100")).json()
        assert len(last) == 100


async def test_rate_limits():
    async with sandbox_with(requests_per_minute=8, historical_requests_per_minute=2) as sandbox, rest(sandbox) as api:
        history = [(await api.get("/fundingRates?symbol=BTC_USDC_PERP")).status_code for _ in range(3)]
        general = [(await api.get("/ping")).status_code for _ in range(6)]
        assert history == [200, 200, 429]
        assert general == [200] * 5 + [429]
        assert (await api.get("/time")).headers["content-type"].startswith("text/plain")


async def test_bytes_that_are_not_http_do_not_stop_the_server():
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        host, port = sandbox.rest_url.removeprefix("http://").split(":")
        for nonsense in (b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: x\r\n\r\n", b"x" * 70_000):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(nonsense)
            writer.write_eof()
            with contextlib.suppress(ConnectionResetError):  # a reset is fine too
                answer = await asyncio.wait_for(reader.read(), 5)
                assert answer == b"" or answer.startswith(b"HTTP/1.1 400 ")
            writer.close()
        assert (await api.get("/ping")).text == "pong"


async def test_the_sandbox_is_reached_over_ipv4_and_ipv6():
    async with sandbox_with(host="*", symbols=1) as sandbox:
        ports = [int(url.rpartition(":")[2]) for url in (sandbox.ws_url, sandbox.rest_url, sandbox.control_url)]
        for port in ports:
            for address in ("127.0.0.1", "::1"):
                _, writer = await asyncio.open_connection(address, port)
                writer.close()
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://[::1]:{ports[1]}/api/v1/ping")).text == "pong"


async def test_a_cut_gives_no_answer_and_the_next_request_has_one(caplog: pytest.LogCaptureFixture):
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        sandbox.order_fault({"fault": "rest-cut", "count": 1})
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await api.get("/ping")
        assert (await api.get("/ping")).text == "pong"
    assert "ERROR" not in caplog.text


async def test_an_answer_delayed_by_a_fault_does_not_delay_the_shutdown(caplog: pytest.LogCaptureFixture):
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        sandbox.order_fault({"fault": "rest-slow", "delay": 600})
        asking = asyncio.create_task(api.get("/ping"))
        while not sandbox.state()["rest_requests"]:  # noqa: ASYNC110  # the sandbox has no event for it
            await asyncio.sleep(0.01)
        await asyncio.wait_for(sandbox.stop(), 5)
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await asking
    assert "ERROR" not in caplog.text


async def test_a_port_that_refuses_for_a_while_drops_its_connections_and_recovers():
    async with sandbox_with() as sandbox, rest(sandbox) as api:
        assert (await api.get("/ping")).text == "pong"
        sandbox.order_fault({"fault": "refuse", "on": "rest", "seconds": 2})
        await asyncio.sleep(0)
        with pytest.raises(httpx.TransportError):
            await api.get("/ping")
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(httpx.TransportError):
                    if (await api.get("/ping")).text == "pong":
                        break
                await asyncio.sleep(0.05)


async def test_a_taken_control_port_frees_the_others():
    async with sandbox_with() as first:
        taken = int(first.control_url.rpartition(":")[2])
        second = sandbox_with(rest_port=free_port(), control_port=taken)
        with pytest.raises(PortInUseError, match="--control-port"):
            await second.start()
        listening_sockets("127.0.0.1", second.settings.rest_port)[0].close()
