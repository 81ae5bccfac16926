"""Books as of past moments equal the exchange's of that time: its own updates, replayed with dicts and decimals."""

import asyncio
import json
import random
import time
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from backpack_streams.books import BookStream, BookUpdate, Status
from backpack_streams.books.sync import Books
from embedded_kafka import BlockingKafka
from plant import Plant, running_plant, wait_until
from reading import Read, decimals, read_topic

FRAMES = 3_000
SYMBOLS = 5
MOMENTS = 10

Sides = dict[str, dict[Decimal, Decimal]]


def micros(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


class Truth:
    """The exchange's books before the first update, and its updates."""

    def __init__(self, before: dict[str, Any], records: list[Read]) -> None:
        self._before = before
        self._updates = [record.value for record in records if record.value]
        self.times = sorted(micros(update["engine_time"]) for update in self._updates)

    def at(self, moment_us: int) -> dict[str, tuple[int, Sides]]:
        books = {
            symbol: (book["last_update_id"], {side: decimals(book[side]) for side in ("bids", "asks")})
            for symbol, book in self._before.items()
        }
        for update in self._updates:
            if micros(update["engine_time"]) <= moment_us:
                _, sides = books[update["symbol"]]
                for side, levels in sides.items():
                    for level in update[side]:
                        if level["quantity"]:
                            levels[level["price"]] = level["quantity"]
                        else:
                            levels.pop(level["price"], None)
                books[update["symbol"]] = update["last_update_id"], sides
        return books


def shown(stream: BookStream | Books, symbol: str) -> tuple[int | None, Sides]:
    view = stream[symbol] if isinstance(stream, Books) else stream.books[symbol]
    bids, asks = view.book.to_lines()
    return view.last_update_id, {"bids": decimals([list(x) for x in bids]), "asks": decimals([list(x) for x in asks])}


def play(plant: Plant) -> Truth:
    exchange = plant.start_exchange(
        *("--symbols", str(SYMBOLS), "--rate", "500", "--frames", str(FRAMES), "--start", "control")
    )
    plant.start_ready("rest-poller")
    plant.start_ready("market-producer", "--streams", "depth")
    snapshots = plant.prefix + "market.book_snapshot"
    wait_until("all are seeded", lambda: len(read_topic(plant.bootstrap_servers, snapshots, None)) >= SYMBOLS)
    before = exchange.ask("/books")
    exchange.play()
    exchange.wait_finished()
    topic = plant.prefix + "market.depth"
    wait_until("all is in Kafka", lambda: len(read_topic(plant.bootstrap_servers, topic, None)) == FRAMES)
    truth = Truth(before, read_topic(plant.bootstrap_servers, topic, "DepthUpdate"))
    after = exchange.ask("/books")
    assert truth.at(truth.times[-1]) == {
        symbol: (book["last_update_id"], {side: decimals(book[side]) for side in ("bids", "asks")})
        for symbol, book in after.items()
    }
    return truth


async def as_of(plant: Plant, truth: Truth, moment_us: int) -> None:
    stream = BookStream(
        plant.bootstrap_servers, "*_USDC*", from_time=moment_us, until=moment_us, topic_prefix=plant.prefix
    )
    async with stream:
        assert await stream.until_moment(60)
        expected = truth.at(moment_us)
        assert stream.books.keys() == expected.keys()
        for symbol, market in stream.books.items():
            assert market.status is Status.LIVE, market.reason
            assert shown(stream, symbol) == expected[symbol]


async def forward(plant: Plant, truth: Truth, from_us: int, until_us: int) -> None:
    """Read every update after the moment, each once and in order of its market, and none past the end."""
    expected, symbols = truth.at(until_us), list(truth.at(until_us))[:2]
    ids: dict[str, list[int]] = {symbol: [] for symbol in symbols}
    stream = BookStream(plant.bootstrap_servers, symbols, from_time=from_us, until=until_us, topic_prefix=plant.prefix)
    async with stream:
        async for update in stream:
            assert update.status is Status.LIVE, update.market.reason
            ids[update.symbol].append(update.last_update_id or 0)
        for symbol in symbols:
            assert shown(stream, symbol) == expected[symbol]
            assert ids[symbol] == sorted(ids[symbol])
            assert len(set(ids[symbol])) > 10


def test_books_as_of_past_moments_equal_the_exchanges(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "past.") as plant:
        truth = play(plant)
        chosen = random.Random(5)
        moments = [chosen.randrange(truth.times[0], truth.times[-1]) for _ in range(MOMENTS)]
        for moment in [*moments, truth.times[FRAMES // 2]]:
            asyncio.run(asyncio.wait_for(as_of(plant, truth, moment), 90))
        first, last = min(moments), max(moments)
        asyncio.run(asyncio.wait_for(forward(plant, truth, first, last), 90))
        the_command_prints_them(plant, truth, moments[0])
        before_everything_there_is_nothing(plant, truth.times[0] - 10**9)
        a_program_without_asyncio_reads_them(plant, truth, first, last)
        second = truth.times[0] + 1_000_000
        asyncio.run(asyncio.wait_for(in_real_time(plant, truth, second, second + 2_000_000), 90))
        asyncio.run(asyncio.wait_for(callbacks_of_a_slow_reader(plant, truth, first, last), 90))


async def in_real_time(plant: Plant, truth: Truth, from_us: int, until_us: int) -> None:
    """Read at the original pace: no update is given before its time."""
    symbol = "BTC_USDC_PERP"
    stream = BookStream(
        *(plant.bootstrap_servers, symbol), from_time=from_us, until=until_us, pace="real", topic_prefix=plant.prefix
    )
    async with stream:
        assert await stream.until_moment(60)
        began, given = time.monotonic(), 0
        async for update in stream:
            given += 1
            passed_us = (time.monotonic() - began) * 1_000_000
            assert passed_us > (update.market.engine_time or 0) - from_us - 200_000
        assert given > 10
        assert time.monotonic() - began > 1.5
        assert shown(stream, symbol) == truth.at(until_us)[symbol]


async def callbacks_of_a_slow_reader(plant: Plant, truth: Truth, from_us: int, until_us: int) -> None:
    """A slow reader is given the latest updates, in order, including the last one; the skipped ones are counted."""
    symbol = "BTC_USDC_PERP"
    ids: list[int] = []
    statuses: list[Status] = []

    async def on_update(update: BookUpdate) -> None:
        ids.append(update.last_update_id or 0)
        await asyncio.sleep(0.02)

    async with BookStream(
        *(plant.bootstrap_servers, symbol), from_time=from_us, until=until_us, conflate=True, topic_prefix=plant.prefix
    ) as stream:
        await stream.run(on_update, on_status=lambda update: statuses.append(update.status))
        assert shown(stream, symbol) == truth.at(until_us)[symbol]
        assert stream.conflated_updates > 0
    assert ids == sorted(ids)
    assert ids[-1] == truth.at(until_us)[symbol][0]
    assert statuses[-1] is Status.LIVE


def the_command_prints_them(plant: Plant, truth: Truth, moment_us: int) -> None:
    at = datetime.fromtimestamp(moment_us // 1_000_000).astimezone().replace(microsecond=moment_us % 1_000_000)
    done = plant.run("book", "kind:PERP", "--at", at.isoformat(), "--json")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows
    assert all(row["symbol"].endswith("_PERP") for row in rows)
    expected = truth.at(moment_us)
    for row in rows:
        assert (row["last_update_id"], {side: decimals(row[side]) for side in ("bids", "asks")}) == expected[
            row["symbol"]
        ]


def before_everything_there_is_nothing(plant: Plant, moment_us: int) -> None:
    at = datetime.fromtimestamp(moment_us / 1_000_000).astimezone()
    done = plant.run("book", "BTC_USDC_PERP", "--at", at.isoformat())
    assert done.returncode == 1
    assert "Kafka holds no snapshot from the day before" in done.stderr
    assert "Traceback" not in done.stderr


def a_program_without_asyncio_reads_them(plant: Plant, truth: Truth, first_us: int, last_us: int) -> None:
    symbol = "BTC_USDC_PERP"
    with Books(plant.bootstrap_servers, symbol, topic_prefix=plant.prefix) as books:
        assert books.until_live(60)
        assert books[symbol].status is Status.LIVE
        assert shown(books, symbol) == truth.at(truth.times[-1])[symbol]
        assert books.lag_records == 0
    with Books(
        *(plant.bootstrap_servers, symbol), from_time=first_us, until=last_us, conflate=False, topic_prefix=plant.prefix
    ) as books:
        copies = list(books)
    ids = [copy.last_update_id or 0 for copy in copies]
    assert ids == sorted(ids)
    assert len(set(ids)) > 10
    assert copies[-1].last_update_id == truth.at(last_us)[symbol][0]
