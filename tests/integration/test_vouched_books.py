"""Readers of a real Kafka trust only watermarks: a plant whose producer is played by the test."""

import asyncio
import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from backpack_streams.books import BookStream, Status
from backpack_streams.books.sync import Books
from backpack_streams.errors import BusError
from backpack_streams.sequencing.runs import watermarks_to_outlast_an_answer
from embedded_kafka import BlockingKafka
from plant import PROGRAM, running_plant, wait_until
from reading import read_topic
from stub_producer import StubExchange, StubProducer

SYMBOLS = ("BTC_USDC_PERP", "SOL_USDC")
QUIET = SYMBOLS[1]
MAX_AGE = 2.0


async def once(what: str, books: BookStream, holds: Callable[[], bool], seconds: float = 30.0) -> None:
    """Read until it holds."""
    deadline = time.monotonic() + seconds
    async with contextlib.aclosing(books.rounds()) as rounds:
        async for updates in rounds:
            for _ in updates:
                pass
            if holds():
                return
            assert time.monotonic() < deadline, f"{what}: {[(m, m.reason) for m in books.books.values()]}"


@asynccontextmanager
async def vouching(*producers: StubProducer) -> AsyncIterator[None]:
    """These publish a watermark every 0.3 s."""

    async def publish() -> None:
        while True:
            for producer in producers:
                await producer.watermark()
            await asyncio.sleep(0.3)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def vouching_beside(servers: str, prefix: str) -> Iterator[None]:
    """A live plant whose producer vouches on its own thread."""
    is_there, is_over = threading.Event(), threading.Event()

    async def vouch() -> None:
        producer = await a_live_plant(servers, prefix)
        async with vouching(producer):
            is_there.set()
            await asyncio.to_thread(is_over.wait)
        await producer.__aexit__(None, None, None)

    thread = threading.Thread(target=lambda: asyncio.run(vouch()), daemon=True)
    thread.start()
    assert is_there.wait(120)
    try:
        yield
    finally:
        is_over.set()
        thread.join(30)


def statuses(books: BookStream) -> set[Status]:
    return {market.status for market in books.books.values()}


async def a_live_plant(servers: str, prefix: str) -> StubProducer:
    producer = await StubProducer(servers, prefix, StubExchange(SYMBOLS)).__aenter__()
    await outlast_answers(producer)
    for symbol in SYMBOLS:
        await producer.snapshot(symbol, producer.watermarks_written)
    await producer.update(SYMBOLS[0])
    await producer.watermark()
    return producer


async def outlast_answers(producer: StubProducer) -> None:
    """Write so many watermarks that, at their interval, no answer of the exchange from now on is older than the first."""
    for _ in range(watermarks_to_outlast_an_answer(1000) + 1):
        await producer.watermark()


def test_books_are_live_while_a_producer_vouches(kafka: BlockingKafka) -> None:
    asyncio.run(asyncio.wait_for(_while_a_producer_vouches(kafka.bootstrap_servers, "vouched."), 180))


async def _while_a_producer_vouches(servers: str, prefix: str) -> None:
    first = await a_live_plant(servers, prefix)
    async with BookStream(servers, SYMBOLS, topic_prefix=prefix, max_age=MAX_AGE) as books:
        async with vouching(first):
            await once("live", books, books.all_live)
            assert all((market.as_of or 0) > first.since for market in books.books.values())
            # A new reader also finds a quiet market LIVE, at once.
            async with BookStream(servers, QUIET, topic_prefix=prefix) as other:
                assert await other.until_live(60)
        # Nobody publishes any more, as if all were killed.
        quiet = books.books[QUIET]
        await once("stale", books, lambda: statuses(books) == {Status.STALE})
        assert quiet.reason.startswith(f"no producer has vouched for depth.{QUIET} since ")
        assert quiet.is_whole
        # The same instance continues: nothing was missed.
        await first.watermark()
        await once("live again", books, books.all_live)
        await first.__aexit__(None, None, None)
        await _it_is_killed(servers, prefix, first, books)


async def _it_is_killed(servers: str, prefix: str, first: StubProducer, books: BookStream) -> None:
    """The quiet market moves once, unseen, and never again; a new instance starts."""
    quiet, busy = books.books[QUIET], books.books[SYMBOLS[0]]
    first.exchange.move(QUIET)
    async with StubProducer(servers, prefix, first.exchange, "second") as second:
        second.goes_on_from(first)
        await once("stale", books, lambda: statuses(books) == {Status.STALE})
        async with vouching(second):
            await once("told why", books, lambda: quiet.reason.startswith(f"coverage of depth.{QUIET} broke after "))
            await second.update(SYMBOLS[0])
            await once("the busy one live", books, lambda: busy.status is Status.LIVE)
            assert quiet.status is Status.STALE
            await outlast_answers(second)
            await second.snapshot(QUIET, second.watermarks_written)
            await once("the quiet one live", books, books.all_live)
            assert quiet.last_update_id == first.exchange.last_ids[QUIET]


def test_a_poller_started_before_any_producer_fetches_provable_snapshots(kafka: BlockingKafka, tmp_path: Path) -> None:
    """Its first snapshots are from before the streams were covered, and the markets are quiet."""
    with running_plant(kafka.bootstrap_servers, tmp_path, "poller-first.") as plant:
        plant.start_exchange("--symbols", "2", "--start", "control")
        plant.start_ready("rest-poller")

        def partitions_of_proof() -> dict[str, int | None]:
            snapshots = read_topic(plant.bootstrap_servers, plant.prefix + "market.book_snapshot", "BookSnapshot")
            return {each.value["symbol"]: each.value["watermark_offset"] for each in snapshots if each.value}

        wait_until("books are there", lambda: len(partitions_of_proof()) == len(SYMBOLS))
        assert set(partitions_of_proof().values()) == {None}
        asyncio.run(_watermarks_of_a_while(plant.bootstrap_servers, plant.prefix))
        least = watermarks_to_outlast_an_answer(1000)
        wait_until("they were fetched again", lambda: all((end or 0) > least for end in partitions_of_proof().values()))


async def _watermarks_of_a_while(servers: str, prefix: str) -> None:
    async with StubProducer(servers, prefix, StubExchange(SYMBOLS)) as producer:
        await outlast_answers(producer)


def book(servers: str, prefix: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [*PROGRAM, "book", "all", "--once", "--json", "--bootstrap-servers", servers, "--topic-prefix", prefix]
    return subprocess.run(
        [*command, *arguments], check=False, capture_output=True, text=True, timeout=60, env=dict(os.environ)
    )


def test_the_command_reports_that_nobody_vouches(kafka: BlockingKafka) -> None:
    servers, prefix = kafka.bootstrap_servers, "vouched-command."
    producer = asyncio.run(_written(servers, prefix))
    wait_until("its watermark is too old", lambda: time.time() - producer.last_watermark > 1.0)
    ended = book(servers, prefix, "--timeout", "4", "--max-age", "1")
    assert ended.returncode == 1
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {row["status"] for row in rows} == {"STALE"}
    assert all(
        list(row) == ["symbol", "status", "last_update_id", "engine_time", "as_of", "bids", "asks"] for row in rows
    )
    assert "no producer has vouched for depth." in ended.stderr
    assert "check that market-producer runs and covers these markets" in ended.stderr
    ended = book(servers, prefix, "--timeout", "20", "--max-age", "inf")
    assert ended.returncode == 0, ended.stderr
    assert {json.loads(line)["status"] for line in ended.stdout.splitlines()} == {"LIVE"}


async def _written(servers: str, prefix: str) -> StubProducer:
    producer = await a_live_plant(servers, prefix)
    await producer.__aexit__(None, None, None)
    return producer


def test_without_any_watermark_no_book_is_live(kafka: BlockingKafka) -> None:
    async def go() -> None:
        servers, prefix = kafka.bootstrap_servers, "vouched-never."
        async with StubProducer(servers, prefix, StubExchange(SYMBOLS)) as producer:
            for symbol in SYMBOLS:
                await producer.snapshot(symbol, None)
            async with BookStream(servers, SYMBOLS, topic_prefix=prefix) as books:
                await once("whole", books, lambda: all(market.is_whole for market in books.books.values()))
                assert statuses(books) == {Status.STALE}
                assert {market.reason for market in books.books.values()} == {"no producer publishes watermarks"}
                assert not await books.until_live(0.5)
                async with vouching(producer):
                    quiet = books.books[QUIET]
                    await once("covered", books, lambda: quiet.reason.startswith("market-producer-0 covers"))
                    await outlast_answers(producer)
                    await producer.snapshot(QUIET, producer.watermarks_written)
                    await once("live", books, lambda: quiet.status is Status.LIVE)

    asyncio.run(asyncio.wait_for(go(), 120))


def test_synchronous_books_age_and_fail_visibly(kafka: BlockingKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    servers, prefix = kafka.bootstrap_servers, "vouched-sync."
    with vouching_beside(servers, prefix), Books(servers, SYMBOLS, topic_prefix=prefix, max_age=30.0) as books:
        assert books.until_live(60)
        assert books[QUIET].as_of is not None
        inner = books._stream
        market = inner.books[QUIET]
        has_failed = threading.Event()

        async def refuse(*_: object, **__: object) -> None:
            has_failed.set()
            raise BusError("not allowed any more")

        monkeypatch.setattr(inner._reader, "poll", refuse)
        assert has_failed.wait(60)
        wait_until("no longer live", lambda: market.status is Status.SYNCING)
        assert market.reason == "reading has failed: not allowed any more"
        for ask in (lambda: books[QUIET], lambda: next(iter(books)), lambda: books.until_live(1), lambda: books[QUIET]):
            with pytest.raises(BusError, match="not allowed any more"):
                ask()


def test_the_builder_writes_no_live_top_without_a_watermark(kafka: BlockingKafka, tmp_path: Path) -> None:
    servers, prefix = kafka.bootstrap_servers, "vouched-builder."

    def tops() -> list[str]:
        rows = read_topic(servers, prefix + "market.book_top", "BookTop")
        return [each.value["status"] for each in rows if each.value and each.value["symbol"] == QUIET]

    async def go(plant_has_started: Callable[[], None]) -> None:
        producer = await a_live_plant(servers, prefix)
        async with vouching(producer):
            await asyncio.to_thread(plant_has_started)
            await asyncio.to_thread(wait_until, "its top is LIVE", lambda: tops()[-1:] == ["LIVE"])
            snapshots = prefix + "market.book_snapshot"
            rows = await asyncio.to_thread(read_topic, servers, snapshots, "BookSnapshot")
            assert rows
        await asyncio.to_thread(wait_until, "its top is STALE", lambda: tops()[-1:] == ["STALE"])
        await producer.__aexit__(None, None, None)

    with running_plant(servers, tmp_path, prefix) as plant:
        asyncio.run(asyncio.wait_for(go(lambda: plant.start_ready("book-builder")), 150))
