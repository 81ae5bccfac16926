"""RecordStream on a real Kafka: left and resumed at any point, read to partitions' ends with transaction markers, merged, synchronous."""

import asyncio
import contextlib
import json
import random
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from backpack_streams.books.record_stream import Gap, RecordStream, StreamedRecord
from backpack_streams.books.sync_records import Records
from embedded_kafka import BlockingKafka
from plant import PROGRAM
from topics_in_memory import SECOND, T0, Topics

PREFIX = "recordstream."
TRADES, BEHIND = 3_000, 2_500
SYMBOLS = ("A", "B", "C")


def history() -> Topics:
    """Trades and updates of three markets, all from two producers, one of them 2,500 records behind."""
    topics = Topics({"market.depth": 4, "market.trade": 4})
    behind: list[tuple[int, str, float]] = []
    for number in range(TRADES):
        symbol, at = SYMBOLS[number % 3], number / 100
        for trade in ((number // 3, symbol, at), *(behind[:1] if len(behind) > BEHIND else ())):
            topics.trade(*trade)
            topics.update(*trade)
        behind = [*behind[len(behind) > BEHIND :], (number // 3, symbol, at)]
    for trade in behind:
        topics.trade(*trade)
        topics.update(*trade)
    return topics


@pytest.fixture(scope="module")
def servers(kafka: BlockingKafka) -> str:
    topics = history()
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap_servers})
    named = {f"{PREFIX}{name}": count for name, count in topics.partitions.items()} | {f"{PREFIX}reference.market": 1}
    config = {"message.timestamp.after.max.ms": str(2**63 - 1), "retention.ms": "-1"}
    made = admin.create_topics([NewTopic(name, count, 1, config=config) for name, count in named.items()])
    for done in made.values():
        done.result(30)
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers, "transactional.id": PREFIX})
    producer.init_transactions(30)
    for log in topics.logs.values():  # each partition ends with a transaction marker
        if log:
            producer.begin_transaction()
            for record in log:
                name = PREFIX + record.topic.partition(".")[2]
                producer.produce(name, record.value, record.key, record.partition, timestamp=record.timestamp)
                producer.poll(0)
            producer.commit_transaction(60)
    return kafka.bootstrap_servers


def stream_of(servers: str, *names: str, **options: Any) -> RecordStream[Any]:
    return RecordStream(servers, names, topic_prefix=PREFIX, start="beginning", until="end", **options)


def ids_by_market(items: list[Any]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for item in items:
        assert isinstance(item, StreamedRecord), item
        found.setdefault(f"{item.topic} {item.symbol}", []).append(
            item.value.get("trade_id") or item.value.get("last_update_id") or 0
        )
    return found


EXPECTED = {
    f"{topic} {symbol}": list(range(TRADES // 3)) for topic in ("market.trade", "market.depth") for symbol in SYMBOLS
}


async def test_a_loop_left_by_break_error_timeout_and_cancellation_loses_nothing(servers: str) -> None:
    found: list[Any] = []
    chance = random.Random(13)
    is_over = False

    async def read(stream: RecordStream[Any], most: int, how: str) -> None:
        nonlocal is_over
        async for item in stream:
            found.append(item)
            most -= 1
            if most <= 0:
                if how == "error":
                    raise ZeroDivisionError
                if how == "break":
                    return
                await asyncio.sleep(chance.choice([0.0, 0.001]))
        is_over = True

    async with stream_of(servers, "market.trade", "market.depth") as stream:
        while not is_over:
            how = chance.choice(["break", "error", "timeout", "cancel"])
            most = chance.randrange(3_000)
            if how in ("break", "error"):
                with contextlib.suppress(ZeroDivisionError):
                    await read(stream, most, how)
            elif how == "timeout":
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(chance.random() / 10):
                        await read(stream, most, how)
            else:
                task = asyncio.create_task(read(stream, most, how))
                await asyncio.sleep(chance.random() / 10)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
    assert ids_by_market(found) == EXPECTED
    assert stream.duplicates == 2 * TRADES


async def test_merged_is_in_order_of_time(servers: str) -> None:
    async with stream_of(servers, "market.trade", "market.depth", merged=True) as stream:
        found = [item async for item in stream]
    assert ids_by_market(found) == EXPECTED
    times = [item.time for item in found]
    assert times == sorted(times)


async def test_until_a_moment(servers: str) -> None:
    moment = datetime.fromtimestamp(T0 / SECOND, UTC)
    stream = RecordStream(
        servers,
        "market.trade",
        topic_prefix=PREFIX,
        start=moment + timedelta(seconds=10),
        until=moment + timedelta(seconds=20),
    )
    async with stream:
        found = [item async for item in stream]
    times = sorted(item.time for item in found if not isinstance(item, Gap))
    assert times == [T0 + number * SECOND // 100 for number in range(1_000, 2_000)]


async def test_an_empty_topic_ends(servers: str) -> None:
    async with asyncio.timeout(30), stream_of(servers, "reference.market", "market.book_snapshot") as stream:
        assert [item async for item in stream] == []


def test_without_asyncio(servers: str) -> None:
    options: dict[str, Any] = {"topic_prefix": PREFIX, "start": "beginning", "until": "end"}
    with Records(servers, ["market.trade", "market.depth"], **options) as records:
        first = next(records)
        assert ids_by_market([first, *records]) == EXPECTED


def run(*arguments: str) -> str:
    done = subprocess.run([*PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_tail_stops_at_the_end_of_the_topic(servers: str) -> None:
    asked = (
        "tail",
        f"{PREFIX}market.trade",
        "--json",
        "--from-beginning",
        "--bootstrap-servers",
        servers,
        "--topic-prefix",
        PREFIX,
    )
    lines = run(*asked, "--exit-at-end").splitlines()
    assert len(lines) == 2 * TRADES  # all records in Kafka, with copies
    assert {json.loads(line)["topic"] for line in lines} == {f"{PREFIX}market.trade"}
    assert len(run(*asked, "--exit-at-end", "-n", "7").splitlines()) == 7
    assert (
        run(
            "tail",
            f"{PREFIX}reference.market",
            "--exit-at-end",
            "--bootstrap-servers",
            servers,
            "--topic-prefix",
            PREFIX,
        )
        == ""
    )


@pytest.mark.parametrize("name", ["market.trade", "market.depth"])
def test_an_export_has_each_record_once_if_requested(servers: str, name: str, tmp_path: Path) -> None:
    start = datetime.fromtimestamp(T0 / SECOND, UTC)
    asked: tuple[str, ...] = (
        "export",
        f"{PREFIX}{name}",
        "--from",
        start.isoformat(),
        "--to",
        (start + timedelta(hours=1)).isoformat(),
    )
    asked = (*asked, "--bootstrap-servers", servers, "--topic-prefix", PREFIX)
    assert f"{2 * TRADES} records" in run(*asked, "--out", str(tmp_path / "all"))
    told = run(*asked, "--out", str(tmp_path / "once"), "--distinct")
    assert f"{TRADES} records" in told
    assert f"{TRADES} copies left out" in told
    rows = pq.read_table(tmp_path / "once").to_pylist()
    assert len({(row["symbol"], row.get("trade_id", row.get("last_update_id"))) for row in rows}) == len(rows) == TRADES
