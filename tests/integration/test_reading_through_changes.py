"""Books are read while Kafka or the reading thread changes: they recover, or their reader gets an error at once."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, NewPartitions

from backpack_streams.books import BookStream, Status
from backpack_streams.books.sync import Books
from backpack_streams.bus.partitioner import partition_of
from backpack_streams.errors import BookError, BusError
from embedded_kafka import BlockingKafka, EmbeddedKafka
from integration.live_producers import BUSY, MAX_AGE, QUIET, SYMBOLS, Playing, begin, vouching
from kafka_faults import RIGHTS_CAN_BE_DENIED, deny_reading
from plant import wait_until
from stub_producer import StubExchange, StubProducer


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[BlockingKafka]:
    """A broker that a test may stop, and whose topics may be forbidden."""
    with BlockingKafka(EmbeddedKafka(tmp_path / "kafka", port=0, properties=RIGHTS_CAN_BE_DENIED)) as broker:
        yield broker


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
