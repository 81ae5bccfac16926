"""The REST client when the exchange fails or refuses, over real sockets: retries only if safe, and never beyond the deadline."""

import asyncio
from dataclasses import replace

import pytest

from backpack_streams.exchange.rest_errors import RestError, RestNoAnswerError
from integration.rest_stand_in import DEPTH, PATIENT, Handler, Request, always, client_of, in_turn, silence, stand_in


async def cut(request: Request) -> None:
    request.cut()


async def cut_inside_the_body(request: Request) -> None:
    request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + DEPTH[:20])
    await request.writer.drain()
    request.writer.close()


async def trickle(request: Request) -> None:
    request.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while True:
        request.writer.write(b" ")
        await request.writer.drain()
        await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    "failing",
    [cut, cut_inside_the_body, always(500, b"oops"), always(502, b"<html>bad gateway</html>"), always(503), silence],
)
async def test_transient_failures_are_retried_until_an_answer_comes(failing: Handler) -> None:
    async with (
        stand_in(in_turn(failing, failing, always(body=DEPTH))) as exchange,
        client_of(exchange.url, replace(PATIENT, read_timeout_seconds=0.2)) as client,
    ):
        assert (await client.depth("A")).body.last_update_id == 7
        assert len(exchange.requests) == 3
        assert (client.counters.attempts, client.counters.retries, client.counters.answers) == (3, 2, 1)


async def test_a_kept_connection_that_the_server_closed_is_replaced() -> None:
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


async def test_a_plain_text_refusal_is_reported_too() -> None:
    text = b"failed to parse parameter `limit`: Expect a valid enumeration value."
    async with stand_in(always(400, text, "text/plain; charset=utf-8")) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestError, match="failed to parse parameter `limit`") as caught:
            await client.depth("A")
    assert (caught.value.code, caught.value.attempts) == (None, 1)


async def test_attempts_are_bounded_and_the_last_failure_is_raised() -> None:
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
async def test_the_deadline_ends_a_call_with_a_slow_answer(slow: Handler) -> None:
    async with (
        stand_in(slow) as exchange,
        client_of(exchange.url, replace(PATIENT, deadline_seconds=0.5)) as client,
    ):
        async with asyncio.timeout(10):
            with pytest.raises(RestNoAnswerError, match=r"no complete answer within the deadline of 0\.5 s"):
                await client.markets()
        assert len(exchange.requests) == 1
        assert client.limiter.in_flight == 0


async def test_the_deadline_includes_the_waits_between_attempts() -> None:
    settings = replace(PATIENT, deadline_seconds=0.5, most_attempts=1_000)
    async with stand_in(always(503, b"down")) as exchange, client_of(exchange.url, settings) as client:
        async with asyncio.timeout(10):
            with pytest.raises(RestError, match="503: down") as caught:
                await client.markets()
        # The last attempt may be given up before its request is sent.
        assert caught.value.attempts - len(exchange.requests) in (0, 1)
        assert 1 < caught.value.attempts < 1_000


async def test_a_retry_after_of_a_server_error_beyond_the_deadline_ends_the_call_at_once() -> None:
    handler = always(503, b"down", headers={"Retry-After": "3600"})
    async with stand_in(handler) as exchange, client_of(exchange.url) as client:
        with pytest.raises(RestError) as caught:
            await asyncio.wait_for(client.markets(), 10)
        assert len(exchange.requests) == 1
    assert caught.value.retry_after_seconds == 3_600
