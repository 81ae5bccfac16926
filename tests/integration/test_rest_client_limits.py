"""The REST client within the rate limits, over real sockets: pauses after a refusal, bounded concurrency, turns in the queue."""

import asyncio
from collections.abc import Callable
from dataclasses import replace

import pytest

from backpack_streams.exchange.limits import LimitClass, Priority, RateLimiter
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError, RestNoAnswerError
from integration.rest_stand_in import DEPTH, PATIENT, Request, always, client_of, in_turn, silence, stand_in


async def until(is_so: Callable[[], bool]) -> None:
    for _ in range(5_000):
        if is_so():
            return
        await asyncio.sleep(0.001)
    pytest.fail("waited too long")


@pytest.mark.parametrize("status", [403, 418, 429])
async def test_retry_after_pauses_all_requests_and_then_the_call_is_repeated(status: int) -> None:
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
    # The two seconds start at the client's receipt, after the request's arrival here.
    assert min(arrivals[1:]) - arrivals[0] >= 1.99


async def test_a_ban_for_longer_than_the_deadline_costs_at_most_the_requests_in_flight() -> None:
    settings = replace(PATIENT, deadline_seconds=0.5, queue_wait_seconds=0.5)
    banned = always(403, b"<html>Request blocked</html>", headers={"Retry-After": "120"})
    async with stand_in(banned) as exchange, client_of(exchange.url, settings) as client:
        results = await asyncio.gather(*(client.depth("A") for _ in range(50)), return_exceptions=True)
        assert all(isinstance(each, RestError) for each in results)
        again = await asyncio.gather(client.klines("A", "1m", 0, 60), client.markets(), return_exceptions=True)
        assert all(isinstance(each, RestNoAnswerError) for each in again)
        assert len(exchange.requests) <= settings.limits.most_in_flight


async def test_a_429_without_retry_after_pauses_its_class_and_is_then_repeated() -> None:
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
    # The minimum pause is a second; it starts at the client's receipt, after the request's arrival here.
    assert min(by_path["/api/v1/klines"], by_path["/api/v1/fundingRates"]) >= 0.99


async def test_endless_429s_end_in_an_error() -> None:
    settings = replace(PATIENT, deadline_seconds=1.5)
    async with stand_in(always(429, b"Too many requests")) as exchange, client_of(exchange.url, settings) as client:
        async with asyncio.timeout(10):
            with pytest.raises(RestError, match=r"429: Too many requests.*lower the share"):
                await client.markets()
        assert 1 <= len(exchange.requests) <= 2


async def test_requests_in_flight_are_bounded_and_gap_snapshots_overtake() -> None:
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


async def test_a_cancelled_call_frees_its_slot_and_its_connection() -> None:
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


async def test_closing_ends_calls_in_flight_and_refuses_new_ones() -> None:
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


async def test_two_clients_share_a_limiter_that_outlives_them() -> None:
    limiter = RateLimiter(PATIENT.limits)
    async with stand_in(always(body=DEPTH)) as exchange:
        for _ in range(2):
            async with RestClient(replace(PATIENT, base_url=exchange.url), limiter=limiter) as client:
                await client.depth("A")
    assert limiter.counters(LimitClass.GENERAL).granted == 2
