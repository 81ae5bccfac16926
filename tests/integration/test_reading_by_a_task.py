"""Programs that read books from a real Kafka leave their loops and come back, and miss nothing."""

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import pytest

from backpack_streams.books import BookStream, Status
from backpack_streams.books.sync import Books
from backpack_streams.errors import BookError, UsageError
from embedded_kafka import BlockingKafka
from integration.live_producers import BUSY, MAX_AGE, SYMBOLS, Playing, live_producer, vouching
from plant import Plant, running_plant
from reading import read_topic
from stub_producer import StubExchange

MARKETS = 5


class LeftError(Exception):
    """An error of the program itself."""


class Follower:
    """Takes three updates at a time and leaves, each time in another way; records the ids."""

    def __init__(self, books: BookStream) -> None:
        self._books = books
        self.ids: dict[str, list[int]] = {}
        self.visits = 0

    async def visit(self) -> None:
        self.visits += 1
        leave = (self._break, self._raise, self._are_cancelled, self._run_out_of_time, self._run)[self.visits % 5]
        with contextlib.suppress(LeftError, TimeoutError):
            await leave()

    async def _take(self, most: int = 3) -> None:
        async for update in self._books:
            self._note(update.symbol, update.last_update_id)
            most -= 1
            if not most:
                return

    def _note(self, symbol: str, last_id: int | None) -> None:
        ids = self.ids.setdefault(symbol, [])
        if last_id is not None and last_id not in ids[-1:]:
            ids.append(last_id)

    async def _break(self) -> None:
        async with asyncio.timeout(5):
            await self._take()

    async def _raise(self) -> None:
        async with asyncio.timeout(5):
            await self._take()
            raise LeftError

    async def _are_cancelled(self) -> None:
        task = asyncio.create_task(self._take(10_000))
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def _run_out_of_time(self) -> None:
        async with asyncio.timeout(0.01):
            await self._take(10_000)

    async def _run(self) -> None:
        left = 3

        async def on_update(update: Any) -> None:
            nonlocal left
            self._note(update.symbol, update.last_update_id)
            await asyncio.sleep(0)
            left -= 1
            if not left:
                raise LeftError

        async with asyncio.timeout(5):
            await self._books.run(on_update)

    def is_complete(self, truth: dict[str, Any]) -> bool:
        return all(self.ids.get(symbol, [0])[-1:] == [book["last_update_id"]] for symbol, book in truth.items())


def test_a_program_that_leaves_its_loop_every_three_updates_misses_nothing(
    kafka: BlockingKafka, tmp_path: Path
) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "leaves.") as plant:
        flow = ("--symbols", str(MARKETS), "--rate", "400", "--frames", "4000", "--start", "control")
        exchange = plant.start_exchange(*flow)
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer", "--streams", "depth")
        asyncio.run(asyncio.wait_for(_leave_and_come_back(plant), 150))
        exchange.wait_finished()


async def _leave_and_come_back(plant: Plant) -> None:
    exchange = plant.exchange
    async with BookStream(plant.bootstrap_servers, topic_prefix=plant.prefix) as books:
        assert await books.until_live(60)
        follower = Follower(books)
        await asyncio.to_thread(exchange.play)
        finished = asyncio.create_task(asyncio.to_thread(exchange.wait_finished))
        while not finished.done():
            await follower.visit()
        truth = await asyncio.to_thread(exchange.ask, "/books")
        deadline = time.monotonic() + 30
        while not follower.is_complete(truth) and time.monotonic() < deadline:
            await follower.visit()
        assert {symbol: ids[-1] for symbol, ids in follower.ids.items()} == {
            symbol: book["last_update_id"] for symbol, book in truth.items()
        }
        updates = await asyncio.to_thread(
            read_topic, plant.bootstrap_servers, plant.prefix + "market.depth", "DepthUpdate"
        )
        rows = [each.value for each in updates if each.value]
        for symbol, ids in follower.ids.items():
            written = [row["last_update_id"] for row in rows if row["symbol"] == symbol]
            assert ids[1:] == [last_id for last_id in written if last_id > ids[0]]  # the first may be from a snapshot
        assert await books.until_live(10)
        assert {market.breaks for market in books.books.values()} == {0}
        assert {symbol: market.last_update_id for symbol, market in books.books.items()} == {
            symbol: book["last_update_id"] for symbol, book in truth.items()
        }
        assert follower.visits > 100


def test_programs_without_asyncio_leave_and_come_back(kafka: BlockingKafka) -> None:
    servers, prefix = kafka.bootstrap_servers, "leaves-sync."
    with Playing(servers, prefix) as playing, Books(servers, SYMBOLS, topic_prefix=prefix, conflate=False) as books:
        assert books.until_live(30)
        ids: list[int] = []
        last_id = playing.last_id + 60
        playing.play(60)
        while not ids or ids[-1] < last_id:
            for taken, book in enumerate(books):
                if book.symbol == BUSY and book.last_update_id not in ids[-1:]:
                    ids.append(book.last_update_id or 0)
                if taken == 2 or ids[-1:] == [last_id]:
                    break
                with pytest.raises(BookError, match="iterated over already"):
                    next(iter(books))
        assert ids == list(range(ids[0], last_id + 1))
        assert books.until_live(10)


def test_two_iterations_at_once_are_refused(kafka: BlockingKafka) -> None:
    async def go() -> None:
        servers, prefix = kafka.bootstrap_servers, "twice."
        async with (
            live_producer(servers, prefix, StubExchange(SYMBOLS)) as producer,
            vouching(producer),
            BookStream(servers, SYMBOLS, topic_prefix=prefix) as books,
        ):
            first = asyncio.create_task(books.run(lambda _: None))
            assert await books.until_live(20)  # this is not an iteration
            for refused in (books.run(lambda _: None), anext(books.rounds()), anext(books.events())):
                with pytest.raises(BookError, match="iterated over already"):
                    await refused
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await producer.update(BUSY)
            async for update in books:
                if update.last_update_id == producer.exchange.last_ids[BUSY]:
                    break

    asyncio.run(asyncio.wait_for(go(), 90))


def test_books_stay_current_until_a_program_iterates_and_each_starts_with_its_current_state(
    kafka: BlockingKafka,
) -> None:
    async def go() -> None:
        servers, prefix = kafka.bootstrap_servers, "current."
        async with live_producer(servers, prefix, StubExchange(SYMBOLS)) as producer, vouching(producer):
            async with BookStream(servers, "all", topic_prefix=prefix, max_age=MAX_AGE) as books:
                assert await books.until_live(20)
                for _ in range(5):
                    await producer.update(BUSY)
                async with asyncio.timeout(10):
                    while books.books[BUSY].last_update_id != producer.exchange.last_ids[BUSY]:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                updates = books.events()
                first = [await anext(updates) for _ in SYMBOLS]
                assert {update.symbol: update.last_update_id for update in first} == producer.exchange.last_ids
                # From now on changes are applied only when the program takes them; meanwhile books stand still and age.
                last_id = first[-1].market.last_update_id
                await producer.update(BUSY)
                async with asyncio.timeout(10):
                    while books.books[BUSY].status is Status.LIVE:  # noqa: ASYNC110
                        await asyncio.sleep(0.02)
                assert books.waiting_records > 0
                assert books.books[BUSY].last_update_id in (last_id, producer.exchange.last_ids[BUSY] - 1)
                await updates.aclose()
                assert await books.until_live(10)
                assert books.books[BUSY].last_update_id == producer.exchange.last_ids[BUSY]
            assert {market.status for market in books.books.values()} == {Status.SYNCING}
            assert {market.reason for market in books.books.values()} == {"the book stream is closed"}

    asyncio.run(asyncio.wait_for(go(), 90))


def test_an_unknown_symbol_is_refused_and_all_means_all(kafka: BlockingKafka, tmp_path: Path) -> None:
    async def go(plant: Plant) -> None:
        servers, prefix = plant.bootstrap_servers, plant.prefix
        for given in ("BTC_USDC_PREP", ["BTC_USDC_PERP", "NONE*"], "kind:FUTURE"):
            with pytest.raises(UsageError, match=r"unknown symbol|fits no market"):
                async with BookStream(servers, given, topic_prefix=prefix):
                    pass
        with (
            pytest.raises(UsageError, match="did you mean BTC_USDC_PERP"),
            Books(servers, "BTC_USDC_PREP", topic_prefix=prefix),
        ):
            pass
        async with BookStream(servers, "all", topic_prefix=prefix) as books:
            assert await books.until_live(60)
            assert len(books.books) == MARKETS

    with running_plant(kafka.bootstrap_servers, tmp_path, "misspelt.") as plant:
        plant.start_exchange("--symbols", str(MARKETS), "--rate", "50")
        plant.start_ready("rest-poller")
        plant.start_ready("market-producer", "--streams", "depth")
        asyncio.run(asyncio.wait_for(go(plant), 90))
