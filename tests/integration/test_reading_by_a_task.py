"""Programs that read books from a real Kafka leave their loops and come back, and get an error at once if the reading ends."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from backpack_streams.books import BookStream, Status
from backpack_streams.books.sync import Books
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.errors import BookError, BusError, UsageError
from embedded_kafka import BlockingKafka, EmbeddedKafka
from kafka_faults import RIGHTS_CAN_BE_DENIED, deny_reading
from plant import Plant, running_plant, wait_until
from reading import read_topic
from stub_producer import StubExchange, StubProducer

SYMBOLS = ("BTC_USDC_PERP", "SOL_USDC")
BUSY, QUIET = SYMBOLS
MARKETS = 5
MAX_AGE = 2.0


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[BlockingKafka]:
    """A broker that a test may stop, and whose topics may be forbidden."""
    with BlockingKafka(EmbeddedKafka(tmp_path / "kafka", port=0, properties=RIGHTS_CAN_BE_DENIED)) as broker:
        yield broker


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


class Playing:
    """A producer on its own loop and thread, which moves the busy market on demand and vouches all the time."""

    def __init__(self, servers: str, prefix: str, exchange: StubExchange | None = None) -> None:
        self.exchange = exchange or StubExchange(SYMBOLS)
        self._servers, self._prefix = servers, prefix
        self._moves = 0
        self._ends = False
        self._is_ready = False
        self._thread: Any = None

    @property
    def last_id(self) -> int:
        return self.exchange.last_ids[BUSY] + self._moves

    def play(self, moves: int) -> None:
        self._moves += moves

    def __enter__(self) -> "Playing":
        import threading

        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        wait_until("it produces", lambda: self._is_ready)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._thread.join(30)

    async def _run(self) -> None:
        async with live_producer(self._servers, self._prefix, self.exchange) as producer:
            self._is_ready = True
            while not self._ends:
                while self._moves:
                    await producer.update(BUSY)
                    self._moves -= 1
                await producer.watermark()
                await asyncio.sleep(0.1)


@asynccontextmanager
async def live_producer(
    servers: str, prefix: str, exchange: StubExchange, instance: str = "first"
) -> AsyncIterator[StubProducer]:
    """Every market has a snapshot, proven by an update after the producer's start."""
    async with StubProducer(servers, prefix, exchange, instance) as producer:
        await begin(producer)
        yield producer


async def begin(producer: StubProducer) -> None:
    for symbol in producer.exchange.last_ids:
        await producer.update(symbol)
    await producer.watermark()  # it names its offsets, so that later updates are proof
    for symbol in producer.exchange.last_ids:
        await producer.snapshot(symbol, 1)
        await producer.update(symbol)
    await producer.watermark()


@asynccontextmanager
async def vouching(producer: StubProducer) -> AsyncIterator[None]:
    async def publish() -> None:
        while True:
            await producer.watermark()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


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


def test_a_lost_permission_ends_live_at_once_and_raises(own_kafka: BlockingKafka) -> None:
    servers, prefix = own_kafka.bootstrap_servers, "denied."
    with (
        Playing(servers, prefix),
        Books(servers, SYMBOLS, topic_prefix=prefix, max_age=None) as conflated,
        Books(servers, SYMBOLS, topic_prefix=prefix, max_age=None, conflate=False) as each,
    ):
        for books in (conflated, each):
            assert books.until_live(30)
        deny_reading(own_kafka, prefix + "market.depth")
        for books in (conflated, each):
            inner = books._stream.books[QUIET]
            wait_until("the book is not LIVE", lambda inner=inner: inner.status is not Status.LIVE)  # type: ignore[misc]
            assert inner.reason.startswith("reading has failed: ")
            for ask in (lambda: books[QUIET], lambda: next(iter(books)), lambda: books.until_live(1)):  # noqa: B023
                with pytest.raises(BusError, match=r"market\.depth"):
                    ask()


def test_the_end_of_the_reading_thread_ends_live_at_once_and_raises(kafka: BlockingKafka) -> None:
    servers, prefix = kafka.bootstrap_servers, "thread."
    with Playing(servers, prefix):
        with Books(servers, SYMBOLS, topic_prefix=prefix, max_age=None) as books:
            assert books.until_live(30)
            market, loop, thread = books._stream.books[QUIET], books._loop, books._thread
            assert loop is not None
            assert thread is not None
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            assert market.status is Status.SYNCING
            assert market.reason == "reading has failed: the thread that reads the books has ended"
            for ask in (lambda: books[QUIET], lambda: next(iter(books)), lambda: books.until_live(1)):
                with pytest.raises(BookError, match="thread that reads the books has ended"):
                    ask()
        with pytest.raises(BookError):
            books[QUIET]


def test_a_reader_without_kafka_has_no_live_book_and_recovers(own_kafka: BlockingKafka) -> None:
    servers, prefix = own_kafka.bootstrap_servers, "cut-off."
    with Playing(servers, prefix) as playing, Books(servers, SYMBOLS, topic_prefix=prefix, max_age=MAX_AGE) as books:
        assert books.until_live(30)
        own_kafka.stop_broker(0)
        stopped = time.monotonic()
        wait_until("no longer LIVE", lambda: {books[each].status for each in SYMBOLS} == {Status.STALE}, 15)
        assert time.monotonic() - stopped < MAX_AGE + 2
        assert books[QUIET].reason.startswith(f"no producer has vouched for depth.{QUIET} since ")
        own_kafka.start_broker(0)
        playing.play(5)
        assert books.until_live(60)
        wait_until("it goes on", lambda: books[BUSY].last_update_id == playing.last_id)


def test_added_partitions_are_followed(kafka: BlockingKafka) -> None:
    asyncio.run(asyncio.wait_for(_partitions_are_added(kafka.bootstrap_servers, "more-partitions."), 180))


async def _partitions_are_added(servers: str, prefix: str) -> None:
    before, after = 8, 13
    moved = next(
        f"M{number}_USDC" for number in range(1000) if partition_of(f"M{number}_USDC".encode(), after) >= before
    )
    into_old = next(
        name
        for name in (f"N{number}_USDC" for number in range(1000))
        if partition_of(name.encode(), before) != partition_of(name.encode(), after) < before
    )
    exchange = StubExchange((moved, into_old))
    async with (
        StubProducer(servers, prefix, exchange) as first,
        _two_readers(servers, prefix, (moved, into_old)) as readers,
    ):
        await begin(first)
        async with vouching(first):
            for books in readers:
                assert await books.until_live(20)
            await asyncio.to_thread(_add_partitions, servers, prefix + "market.depth", after)
            # This producer keeps its partitions; a new one uses the new count.
            await first.update(moved)
            async with StubProducer(servers, prefix, exchange, "second") as second:
                assert second._partitions("market.depth") == after
                second.goes_on_from(first)
                await second.watermark()
                await first.update(into_old)
            for books in readers:
                await _all_at(books, exchange)
        async with StubProducer(servers, prefix, exchange, "third") as third:
            third.goes_on_from(first)
            async with vouching(third):
                for books in readers:
                    await _all_at(books, exchange, third)
                    assert {market.breaks for market in books.books.values()} <= {0, 1}


@asynccontextmanager
async def _two_readers(servers: str, prefix: str, names: tuple[str, ...]) -> AsyncIterator[list[BookStream]]:
    async with (
        BookStream(servers, names, topic_prefix=prefix, max_age=MAX_AGE) as by_name,
        BookStream(servers, topic_prefix=prefix, max_age=MAX_AGE) as of_all,
    ):
        yield [by_name, of_all]


async def _all_at(books: BookStream, exchange: StubExchange, producer: StubProducer | None = None) -> None:
    """Read until every book is LIVE at the exchange's id; `producer` writes updates in this time."""
    deadline = time.monotonic() + 30
    while not (
        await books.until_live(1)
        and {symbol: market.last_update_id for symbol, market in books.books.items()} == exchange.last_ids
    ):
        assert time.monotonic() < deadline, [(market, market.reason) for market in books.books.values()]
        for symbol in exchange.last_ids if producer is not None else ():
            await producer.update(symbol)


def _add_partitions(servers: str, topic: str, count: int) -> None:
    admin = AdminClient({"bootstrap.servers": servers})
    for done in admin.create_partitions([NewPartitions(topic, count)]).values():
        done.result(30)


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
