"""A session recorded from the wire, replayed at full speed into an empty Kafka, and exported: the same values every time."""

import json
from collections import defaultdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.dataset as ds
import pytest

from backpack_streams.bus.topics import TOPICS
from embedded_kafka import BlockingKafka
from plant import Service, running_plant, wait_until
from reading import Read, read_topic

MARKET = ("--streams", "depth,depth.200ms,bookTicker,trade,ticker,kline.1m")
BOTH = ("--streams", "depth,depth.200ms,bookTicker,trade,ticker,kline.1m,markPrice,openInterest,liquidation")
LIVE, REPLAYED = "recorded-live.", "replayed."
FRAMES = 3000
ENDED = {"market.depth", "market.book_ticker", "market.trade"}
"""Streams that had ended before the recording stopped; the others continue by the clock."""
STREAMED = {"market.depth_200ms", "market.ticker", "market.kline", "perp.mark_price", "perp.open_interest", *ENDED}
ASKED_FOR = {"market.book_snapshot", "perp.funding_rate"}
"""Topics filled from REST, not by a producer."""


class Session(NamedTuple):
    file: Path
    live: dict[str, list[Read]]
    replayed: dict[str, list[Read]]


@pytest.fixture(scope="module")
def session(kafka: BlockingKafka, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("session")
    file = folder / "session.bpr"
    with running_plant(kafka.bootstrap_servers, folder, LIVE) as plant:
        exchange = plant.start_exchange(
            "--symbols", "4", "--rate", "1500", "--frames", str(FRAMES), "--start", "control", "--open-interest-seconds", "1"
        )  # fmt: skip
        record = plant.start_record(file, *BOTH)
        producers = [plant.start("market-producer", *MARKET), plant.start("perp-producer")]
        wait_until("the recorder is ready", record.is_ready)

        def everybody_is_there() -> bool:
            subscriptions = exchange.ask("/state")["subscriptions"]
            return len(subscriptions) == record.metric("streams") and set(subscriptions.values()) == {2}

        wait_until("both are subscribed to everything", everybody_is_there)
        exchange.play()
        for producer in producers:  # subscriptions are confirmed by the first frame
            wait_until("the producer is ready", producer.is_ready)
        exchange.wait_finished()
        sent = exchange.ask("/state")["frames_sent"]
        wait_until("all is recorded", lambda: record.metric("recorded_frames_total") >= sum(sent.values()) / 2)
        assert record.stop() == 0, record.log_tail()
        for producer in producers:
            assert producer.stop() == 0
        live = topics_of(kafka, LIVE)
    with running_plant(kafka.bootstrap_servers, folder, REPLAYED) as plant:
        replay = plant.start_replay(str(file), "--speed", "max", "--start", "all-streams", "--exit-when-done")
        producers = [plant.start("market-producer", *MARKET), plant.start("perp-producer")]
        assert replay.popen.wait(90) == 0, replay.log_tail()
        for producer in producers:
            # A producer that is stopped before it knows what Kafka has publishes nothing.
            wait_until("what came at the start is published", partial(has_published, producer))
            assert producer.stop() == 0
        replayed = topics_of(kafka, REPLAYED)
    return Session(file, live, replayed)


def has_published(producer: Service) -> bool:
    return producer.metric("frames_published_total") > 0


def topics_of(kafka: BlockingKafka, prefix: str) -> dict[str, list[Read]]:
    names = [topic for topic in TOPICS if topic.name.startswith(("market.", "perp."))]
    found = {}
    for topic in names:
        if topic.name in STREAMED or topic.name == "perp.liquidation":
            found[topic.name] = read_topic(kafka.bootstrap_servers, topic.full_name(prefix), topic.record)
    assert not ASKED_FOR & found.keys()
    return found


def without_receive_time(read: Read) -> tuple[str | None, int, bytes]:
    """Key, Kafka's time, and the value's bytes without the received time."""
    assert read.raw is not None
    assert read.value is not None
    micros = (read.value["received_time"] - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds()
    number = 2 * round(micros * 1_000_000)  # zigzag, of a positive number
    varint = bytearray()
    while number >= 0x80:
        varint.append(number & 0x7F | 0x80)
        number >>= 7
    varint.append(number)
    assert read.raw.count(varint) == 1
    return read.key, read.timestamp_ms, read.raw.replace(varint, b"")


def by_key(reads: list[Read]) -> dict[str, list[tuple[str | None, int, bytes]]]:
    found = defaultdict(list)
    for read in reads:
        found[f"{read.key} {(read.value or {}).get('interval')}"].append(without_receive_time(read))
    return found


def test_a_replay_gives_the_same_bytes_as_the_exchange(session: Session) -> None:
    assert {name for name, reads in session.replayed.items() if reads} >= STREAMED
    assert len(session.replayed["market.depth"]) == FRAMES
    for name, replayed in session.replayed.items():
        live, again = by_key(session.live[name]), by_key(replayed)
        if name in ENDED:
            assert again == live, name
        for key, values in again.items():
            assert live[key][: len(values)] == values, f"{name} {key}"


@pytest.mark.parametrize("name", ["market.depth", "perp.mark_price", "market.kline"])
def test_an_export_holds_every_value_of_the_topic_once(
    session: Session, kafka: BlockingKafka, tmp_path: Path, name: str
) -> None:
    reads = session.replayed[name]
    times = sorted(read.timestamp_ms for read in reads)
    start, end = times[0], times[-1]  # the last millisecond is excluded
    wanted = {(read.partition, read.offset): read for read in reads if start <= read.timestamp_ms < end}
    with running_plant(kafka.bootstrap_servers, tmp_path, REPLAYED) as plant:
        for _ in range(2):  # a repeated export replaces the first
            done = plant.run(
                "export", f"{REPLAYED}{name}", "--from", moment(start), "--to", moment(end), "--out", str(tmp_path / "out"),
                "--buffer-mib", "1",
            )  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert f"{len(wanted)} records of {REPLAYED}{name}" in done.stdout
    folder = tmp_path / "out" / f"{REPLAYED}{name}"
    rows = ds.dataset(folder, partitioning="hive").to_table().to_pylist()
    assert len(rows) == len(wanted)
    for row in rows:
        read = wanted[row.pop("kafka_partition"), row.pop("kafka_offset")]
        assert row.pop("kafka_key") == read.key
        assert row.pop("date") == moment(read.timestamp_ms)[:10]
        assert round(row.pop("kafka_timestamp").timestamp() * 1000) == read.timestamp_ms
        assert plain(row) == plain(read.value)
    if name == "market.depth":
        texts = [path.read_bytes() for path in sorted(folder.rglob("*.parquet"))]
        assert len(texts) == len({read.key for read in reads})


def moment(millis: int) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).isoformat(timespec="milliseconds")


def plain(value: Any) -> str:
    """Only values, sorted."""
    return json.dumps(value, sort_keys=True, default=str)
