"""The REST client over real sockets: retries only where safe, deadlines, bounds, exact answers, useful errors."""

import asyncio
import gzip
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest

from backpack_sandbox.server import Sandbox
from backpack_sandbox.settings import SandboxSettings
from backpack_streams.errors import ExchangeError, UsageError
from backpack_streams.exchange.limits import LimitClass, LimitSettings, Priority, RateLimiter
from backpack_streams.exchange.rest import Answer, RestClient, RestSettings, Rows
from backpack_streams.exchange.rest_errors import (
    RestError,
    RestNoAnswerError,
    RestRedirectError,
    RestUnusableAnswerError,
)
from backpack_streams.exchange.rest_wire import Trade

DEPTH = b'{"asks":[["1.10","2"]],"bids":[["1.0","3"]],"lastUpdateId":"7","timestamp":1790134357267074}'
JSON = "application/json; charset=utf-8"


@dataclass
class Request:
    path: str
    parameters: list[tuple[str, str]]
    headers: dict[str, str]
    writer: asyncio.StreamWriter

    async def answer(
        self, status: int = 200, body: bytes = b"", content_type: str = JSON, headers: dict[str, str] | None = None
    ) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
        if status != 204:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    def cut(self) -> None:
        self.writer.transport.abort()


Handler = Callable[[Request], Awaitable[None]]


@dataclass
class StandIn:
    """A tiny HTTP server whose answers a test writes itself, byte for byte if it likes."""

    handler: Handler
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                target = urlsplit(first.split(" ")[1])
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if line)}
                request = Request(target.path, parse_qsl(target.query), headers, writer)
                self.requests.append(request)
                await self.handler(request)
        except (asyncio.IncompleteReadError, ConnectionError):  # the client went away, as a test may want
            pass
        except asyncio.CancelledError:  # the test is over
            pass
        finally:
            self.tasks.discard(task)
            writer.transport.abort()


@asynccontextmanager
async def stand_in(handler: Handler) -> AsyncIterator[StandIn]:
    here = StandIn(handler)
    server = await asyncio.start_server(here.serve, "127.0.0.1", 0)
    here.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield here
    finally:
        server.close()
        ending = list(here.tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending)


PATIENT = RestSettings(
    deadline_seconds=20,
    retry_base_seconds=0.01,
    retry_cap_seconds=0.05,
    limits=LimitSettings(share=1.0, general_per_minute=60_000, historical_per_minute=60_000),
)


@asynccontextmanager
async def client_of(url: str, settings: RestSettings = PATIENT) -> AsyncIterator[RestClient]:
    async with RestClient(replace(settings, base_url=url), rng=random.Random(1)) as client:
        yield client


def in_turn(*handlers: Handler) -> Handler:
    """Answer each request by the next handler, and the last one again and again."""
    remaining = list(handlers)

    async def handle(request: Request) -> None:
        await (remaining.pop(0) if len(remaining) > 1 else remaining[0])(request)

    return handle


def always(
    status: int = 200, body: bytes = b"", content_type: str = JSON, headers: dict[str, str] | None = None
) -> Handler:
    return lambda request: request.answer(status, body, content_type, headers)


async def cut(request: Request) -> None:
    request.cut()


async def cut_inside_the_body(request: Request) -> None:
    request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + DEPTH[:20])
    await request.writer.drain()
    request.writer.close()


async def silence(_request: Request) -> None:
    await asyncio.sleep(60)


async def trickle(request: Request) -> None:
    request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        request.writer.write(b" ")
        await request.writer.drain()
        await asyncio.sleep(0.02)


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if is_so():
            return
        await asyncio.sleep(0.001)
    pytest.fail("waited too long")


async def test_a_depth_answer_is_exact_and_says_when_it_came_and_how_old_it_is() -> None:
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


async def test_every_call_asks_the_documented_path_with_its_parameters() -> None:
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


@pytest.mark.parametrize(
    "failing",
    [cut, cut_inside_the_body, always(500, b"oops"), always(502, b"<html>bad gateway</html>"), always(503), silence],
)
async def test_passing_trouble_is_retried_until_an_answer_comes(failing: Handler) -> None:
    async with (
        stand_in(in_turn(failing, failing, always(body=DEPTH))) as exchange,
        client_of(exchange.url, replace(PATIENT, read_timeout_seconds=0.2)) as client,
    ):
        assert (await client.depth("A")).body.last_update_id == 7
        assert len(exchange.requests) == 3
        assert (client.counters.attempts, client.counters.retries, client.counters.answers) == (3, 2, 1)


async def test_a_kept_connection_that_was_closed_meanwhile_is_replaced() -> None:
    async def answer_and_close(request: Request) -> None:
        await request.answer(body=DEPTH)
        request.writer.close()

    async with stand_in(answer_and_close) as exchange, client_of(exchange.url) as client:
        for _ in range(5):
            assert (await client.depth("A")).body.last_update_id == 7


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 451])
async def test_a_refusal_is_never_retried(status: int) -> None:
    body = b'{"code":"RESOURCE_NOT_FOUND","message":"Market closed"}'
    async with stand_in(always(status, body)) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestError) as caught:
            await client.depth("A")
        assert len(exchange.requests) == 1
    assert (caught.value.status, caught.value.code, caught.value.message) == (
        status,
        "RESOURCE_NOT_FOUND",
        "Market closed",
    )
    assert (caught.value.request.path, caught.value.request.symbol) == ("/api/v1/depth", "A")


async def test_a_plain_text_refusal_is_as_good() -> None:
    text = b"failed to parse parameter `limit`: Expect a valid enumeration value."
    async with stand_in(always(400, text, "text/plain; charset=utf-8")) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestError, match="failed to parse parameter `limit`") as caught:
            await client.depth("A")
    assert (caught.value.code, caught.value.attempts) == (None, 1)


async def test_attempts_are_bounded_and_the_last_failure_is_told() -> None:
    async with (
        stand_in(always(500, b'{"code":"INTERNAL","message":"down"}')) as exchange,
        client_of(exchange.url) as client,
    ):
        with pytest.raises(RestError, match=r"500 INTERNAL: down \(4 attempts\)") as caught:
            await client.markets()
        assert len(exchange.requests) == caught.value.attempts == 4
        assert client.counters.failures == 1


async def test_nobody_listening_is_an_error_after_all_attempts() -> None:
    async with stand_in(always()) as exchange:
        url = exchange.url
    async with client_of(url) as client:
        with pytest.raises(RestNoAnswerError, match=r"ConnectError.*4 attempts") as caught:
            await client.time_ms()
    assert caught.value.status is None


@pytest.mark.parametrize("slow", [silence, trickle])
async def test_the_deadline_ends_a_call_however_the_answer_dawdles(slow: Handler) -> None:
    async with (
        stand_in(slow) as exchange,
        client_of(exchange.url, replace(PATIENT, deadline_seconds=0.5)) as client,
    ):
        async with asyncio.timeout(10):
            with pytest.raises(RestNoAnswerError, match=r"no complete answer within the deadline of 0\.5 s"):
                await client.markets()
        assert len(exchange.requests) == 1
        assert client.limiter.in_flight == 0


async def test_the_deadline_counts_the_waits_between_attempts() -> None:
    settings = replace(PATIENT, deadline_seconds=0.5, most_attempts=1_000)
    async with stand_in(always(503, b"down")) as exchange, client_of(exchange.url, settings) as client:
        async with asyncio.timeout(10):
            with pytest.raises(RestError, match="503: down") as caught:
                await client.markets()
        # The last attempt may be given up before its request is out.
        assert caught.value.attempts - len(exchange.requests) in (0, 1)
        assert 1 < caught.value.attempts < 1_000


async def test_a_retry_after_of_a_server_error_beyond_the_deadline_ends_the_call_at_once() -> None:
    handler = always(503, b"down", headers={"Retry-After": "3600"})
    async with stand_in(handler) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestError) as caught:
            await asyncio.wait_for(client.markets(), 10)
        assert len(exchange.requests) == 1
    assert caught.value.retry_after_seconds == 3_600


@pytest.mark.parametrize("status", [403, 418, 429])
async def test_retry_after_pauses_everything_and_then_the_call_is_made_again(status: int) -> None:
    loop = asyncio.get_running_loop()
    arrivals: list[float] = []

    async def handle(request: Request) -> None:
        arrivals.append(loop.time())
        if len(arrivals) == 1:
            await request.answer(status, b"<html>Request blocked</html>", "text/html", {"Retry-After": "2"})
        else:
            await request.answer(body=b"[]")

    async with stand_in(handle) as exchange, client_of(exchange.url) as client:
        first = asyncio.create_task(client.markets())
        await until(lambda: client.limiter.counters(LimitClass.GENERAL).refused == 1)
        await asyncio.gather(first, *(client.klines("A", "1m", 0, 60) for _ in range(3)), client.trades("A"))
    # The two seconds are counted from the client's receipt, after the request's arrival here.
    assert min(arrivals[1:]) - arrivals[0] >= 1.99


async def test_a_ban_for_longer_than_the_deadline_costs_one_request_in_all() -> None:
    settings = replace(PATIENT, deadline_seconds=0.5, queue_wait_seconds=0.5)
    banned = always(403, b"<html>Request blocked</html>", headers={"Retry-After": "120"})
    async with stand_in(banned) as exchange, client_of(exchange.url, settings) as client:
        results = await asyncio.gather(*(client.depth("A") for _ in range(50)), return_exceptions=True)
        assert all(isinstance(each, RestError) for each in results)
        again = await asyncio.gather(client.klines("A", "1m", 0, 60), client.markets(), return_exceptions=True)
        assert all(isinstance(each, RestNoAnswerError) for each in again)
        assert len(exchange.requests) <= settings.limits.most_in_flight


async def test_a_429_without_retry_after_pauses_everybody_of_its_class_and_is_then_asked_again() -> None:
    loop = asyncio.get_running_loop()
    arrivals: list[tuple[str, float]] = []
    refused = False

    async def handle(request: Request) -> None:
        nonlocal refused
        arrivals.append((request.path, loop.time()))
        if not refused:
            refused = True
            await request.answer(429, b"Too many requests", "text/plain")
        else:
            await request.answer(body=b"[]")

    async with stand_in(handle) as exchange, client_of(exchange.url) as client:
        first = asyncio.create_task(client.klines("A", "1m", 0, 60))
        await until(lambda: client.limiter.counters(LimitClass.HISTORICAL).refused == 1)
        await asyncio.gather(first, client.funding_rates("A"), client.markets())
        assert client.limiter.counters(LimitClass.HISTORICAL).refused == 1
        assert client.limiter.counters(LimitClass.GENERAL).refused == 0
    refused_at = arrivals[0][1]
    by_path = {path: seconds - refused_at for path, seconds in arrivals}
    assert by_path["/api/v1/markets"] < by_path["/api/v1/klines"]
    # A second is the shortest pause; it is counted from the client's receipt, after the request's arrival here.
    assert min(by_path["/api/v1/klines"], by_path["/api/v1/fundingRates"]) >= 0.99


async def test_endless_429s_end_in_an_error() -> None:
    settings = replace(PATIENT, deadline_seconds=1.5)
    async with stand_in(always(429, b"Too many requests")) as exchange, client_of(exchange.url, settings) as client:
        async with asyncio.timeout(10):
            with pytest.raises(RestError, match=r"429: Too many requests.*lower the share"):
                await client.markets()
        assert 1 <= len(exchange.requests) <= 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_refused_and_told(status: int) -> None:
    handler = always(status, headers={"Location": "http://127.0.0.1:9/elsewhere"})
    async with stand_in(handler) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestRedirectError, match=r"redirected to http://127\.0\.0\.1:9/elsewhere") as caught:
            await client.markets()
        assert len(exchange.requests) == 1
    assert isinstance(caught.value, ExchangeError)
    assert caught.value.status == status


async def test_204_is_no_body_an_empty_list_or_unusable_by_what_was_asked() -> None:
    async with stand_in(always(204)) as exchange, client_of(exchange.url) as client:
        assert (await client.fetch("/api/v1/ticker")).body is None
        assert (await client.klines("A", "1m", 0, 1)).body.rows == ()
        with pytest.raises(RestUnusableAnswerError, match="without a body"):
            await client.depth("A")


async def test_a_good_status_with_a_wrong_body_is_told_with_the_body_and_not_retried() -> None:
    async with stand_in(always(body=b"<html>hello</html>")) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestUnusableAnswerError, match="not a JSON array") as caught:
            await client.markets()
        assert caught.value.body == b"<html>hello</html>"
        assert len(exchange.requests) == 1


async def test_gzip_is_read_and_broken_gzip_is_told() -> None:
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
async def test_a_body_over_the_bound_is_refused_compressed_or_not(compressed: bool) -> None:
    big = b"[" + b" " * 2_000_000 + b"]"
    body = gzip.compress(big) if compressed else big
    handler = always(body=body, headers={"Content-Encoding": "gzip"} if compressed else {})
    settings = replace(PATIENT, largest_answer_bytes=1_000_000)
    async with stand_in(handler) as exchange, client_of(exchange.url, settings) as client:
        with pytest.raises(RestUnusableAnswerError, match="larger than 1000000 bytes"):
            await client.markets()
        assert len(exchange.requests) == 1


async def test_a_huge_error_body_is_cut_not_kept() -> None:
    async with stand_in(always(400, b"x" * 1_000_000)) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestError) as caught:
            await client.markets()
    assert len(caught.value.message) <= 300


async def test_requests_under_way_are_bounded_and_gap_seeds_overtake() -> None:
    under_way = most_under_way = 0
    order: list[str] = []

    async def handle(request: Request) -> None:
        nonlocal under_way, most_under_way
        under_way += 1
        most_under_way = max(most_under_way, under_way)
        order.append(dict(request.parameters)["symbol"])
        await asyncio.sleep(0.02)
        under_way -= 1
        await request.answer(body=DEPTH)

    settings = replace(PATIENT, limits=replace(PATIENT.limits, most_in_flight=2))
    async with stand_in(handle) as exchange, client_of(exchange.url, settings) as client:
        seeds = [asyncio.create_task(client.depth(f"S{number}")) for number in range(8)]
        await until(lambda: len(order) == 2)
        await asyncio.gather(client.depth("GAP", priority=Priority.GAP_SNAPSHOT), *seeds)
        assert exchange.connections <= 2
    assert most_under_way == 2
    assert order.index("GAP") <= 4
    assert [symbol for symbol in order if symbol != "GAP"] == sorted(symbol for symbol in order if symbol != "GAP")


async def test_a_cancelled_call_frees_its_place_and_its_connection() -> None:
    async with (
        stand_in(in_turn(silence, always(body=DEPTH))) as exchange,
        client_of(exchange.url, replace(PATIENT, limits=replace(PATIENT.limits, most_in_flight=1))) as client,
    ):
        stuck = asyncio.create_task(client.depth("A"))
        await until(lambda: bool(exchange.requests))
        stuck.cancel()
        with pytest.raises(asyncio.CancelledError):
            await stuck
        assert (await asyncio.wait_for(client.depth("A"), 5)).body.last_update_id == 7


async def test_a_call_that_never_gets_its_turn_says_so() -> None:
    settings = replace(PATIENT, queue_wait_seconds=0.1)
    async with stand_in(always(body=DEPTH)) as exchange, client_of(exchange.url, settings) as client:
        client.limiter.refused(LimitClass.GENERAL, 60)
        with pytest.raises(RestNoAnswerError, match=r"no turn in the rate limiter's queue within 0\.1 s"):
            await client.depth("A")
        assert exchange.requests == []


async def test_closing_ends_calls_under_way_and_refuses_new_ones() -> None:
    async with stand_in(silence) as exchange:
        client = RestClient(replace(PATIENT, base_url=exchange.url, limits=replace(PATIENT.limits, most_in_flight=1)))
        under_way, waiting = (asyncio.create_task(client.depth(symbol)) for symbol in "AB")
        await until(lambda: bool(exchange.requests))
        await client.close()
        await client.close()
        results = await asyncio.wait_for(asyncio.gather(under_way, waiting, return_exceptions=True), 10)
        assert [isinstance(result, RestNoAnswerError) for result in results] == [True, True]
        with pytest.raises(RestNoAnswerError, match="closed"):
            await client.depth("C")
        assert len(exchange.requests) == 1


async def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with stand_in(always(body=DEPTH)) as exchange, client_of(exchange.url) as client:
        assert (await client.depth("A")).status == 200


async def test_two_clients_share_one_limiter_which_outlives_them() -> None:
    limiter = RateLimiter(PATIENT.limits)
    async with stand_in(always(body=DEPTH)) as exchange:
        for _ in range(2):
            async with RestClient(replace(PATIENT, base_url=exchange.url), limiter=limiter) as client:
                await client.depth("A")
    assert limiter.counters(LimitClass.GENERAL).granted == 2


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
    """Ask until the market has traded."""
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
