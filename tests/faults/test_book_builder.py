"""Builders share the work; one is killed, one suspended: tops continue, checkpoints are exact, a late reader needs nothing else."""

import asyncio
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete

from embedded_kafka import BlockingKafka
from plant import Plant, Service, running_plant, same_book, wait_until
from reading import Read, read_topic

SYMBOLS = 8
BUILDER = ("book-builder", "--session-timeout", "6", "--checkpoint-seconds", "1", "--checkpoint-updates", "100")

Sides = tuple[dict[Decimal, Decimal], dict[Decimal, Decimal]]


class Replayed:
    """One market with dict and Decimal: its book after each update, from the first snapshot on."""

    def __init__(self, snapshot: dict[str, Any], updates: list[Read]) -> None:
        self.ids = [snapshot["last_update_id"]]
        self.books = [(self._side(snapshot["bids"]), self._side(snapshot["asks"]))]
        self.offsets = [-1]
        for update in updates:
            value = update.value
            assert value is not None
            if value["last_update_id"] <= self.ids[-1]:
                continue
            assert value["first_update_id"] <= self.ids[-1] + 1
            bids, asks = self.books[-1]
            self.books.append((self._side(value["bids"], bids), self._side(value["asks"], asks)))
            self.ids.append(value["last_update_id"])
            self.offsets.append(update.offset)

    @staticmethod
    def _side(levels: list[dict[str, Decimal]], before: dict[Decimal, Decimal] | None = None) -> dict[Decimal, Decimal]:
        side = (before or {}) | {level["price"]: level["quantity"] for level in levels}
        return {price: quantity for price, quantity in side.items() if quantity}

    def before(self, offset: int) -> tuple[int, Sides]:
        """Update id and book of all records before an offset."""
        at = bisect_left(self.offsets, offset) - 1
        return self.ids[at], self.books[at]

    def at(self, last_update_id: int) -> Sides:
        return self.books[self.ids.index(last_update_id)]


def as_dict(levels: list[dict[str, Decimal]]) -> dict[Decimal, Decimal]:
    return {level["price"]: level["quantity"] for level in levels}


def by_key(records: list[Read]) -> dict[str, list[Read]]:
    sorted_out: dict[str, list[Read]] = defaultdict(list)
    for record in records:
        if record.key is not None and record.value is not None:
            sorted_out[record.key].append(record)
    return sorted_out


async def _trim(plant: Plant, offsets: dict[int, int]) -> None:
    """Delete the updates before these offsets, like retention."""
    admin = AIOKafkaAdminClient(bootstrap_servers=plant.bootstrap_servers)
    await admin.start()
    try:
        topic = plant.prefix + "market.depth"
        await admin.delete_records(
            {TopicPartition(topic, number): RecordsToDelete(offset) for number, offset in offsets.items()}
        )
    finally:
        await admin.close()


def have_all(*builders: Service) -> bool:
    return sum(int(builder.metric("builder_partitions")) for builder in builders) == 8


def traffic_goes_on(plant: Plant, *builders: Service) -> None:
    """Wait until these builders have written new tops and checkpoints."""
    names = ("book_tops_total", "checkpoints_total")

    def written() -> list[float]:
        return [sum(builder.metric(name) for builder in builders) for name in names]

    enough = [count + SYMBOLS for count in written()]
    wait_until("tops and checkpoints go on", lambda: all(a > b for a, b in zip(written(), enough, strict=True)))
    assert not plant.exchange.ask("/state")["finished"]


def test_a_killed_and_a_suspended_builder_cost_nothing(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "builders.") as plant:
        flow = ("--symbols", str(SYMBOLS), "--rate", "300", "--start", "control")
        exchange = plant.start_exchange(*flow)
        poller = plant.start("rest-poller")
        producer = plant.start("market-producer", "--streams", "depth")
        wait_until("poller and producer are ready", lambda: poller.is_ready() and producer.is_ready())
        first = plant.start_ready(*BUILDER)
        exchange.play()
        second = plant.start_ready(*BUILDER)
        wait_until(
            "they share the partitions", lambda: have_all(first, second) and first.metric("builder_partitions") == 4
        )
        traffic_goes_on(plant, first)
        traffic_goes_on(plant, second)
        first.kill()
        wait_until("the second one has all", lambda: have_all(second) and second.is_ready())
        traffic_goes_on(plant, second)
        third = plant.start_ready(*BUILDER)
        wait_until("they share the partitions again", lambda: have_all(second, third))
        # A suspended builder does not know that it has lost its partitions: it must not write to them when it resumes.
        second.suspend()
        suspended_at = datetime.now(UTC)
        wait_until("the third one has all", lambda: have_all(third) and third.is_ready())
        traffic_goes_on(plant, third)
        second.resume()
        wait_until("they share the partitions once more", lambda: have_all(second, third))
        exchange.finish()
        exchange.wait_finished()
        wait_until("all updates are in Kafka", lambda: _has_come_to(plant, "market.depth", "DepthUpdate"))
        assert second.stop() == 0
        wait_until("the third one has all", lambda: have_all(third) and third.is_ready())
        # It writes a book only after a watermark vouches for it, which it may not have read yet.
        wait_until("all books are in checkpoints", lambda: _has_come_to(plant, "market.book_snapshot", "BookSnapshot"))
        assert third.stop() == 0
        newest = _checkpoints_are_exact(plant, suspended_at)
        _tops_are_exact(plant, suspended_at)
        _a_late_reader_needs_only_checkpoints(plant, newest)


def _has_come_to(plant: Plant, topic: str, record: str) -> bool:
    """Whether the newest record of every market has the exchange's last update."""
    found = by_key(read_topic(plant.bootstrap_servers, plant.prefix + topic, record))
    return len(found) == SYMBOLS and all(
        max(row.value["last_update_id"] for row in rows if row.value)
        == plant.exchange.ask(f"/books/{symbol}")["last_update_id"]
        for symbol, rows in found.items()
    )


def _replays(plant: Plant) -> Iterator[tuple[str, Replayed, list[Read]]]:
    snapshots = by_key(read_topic(plant.bootstrap_servers, plant.prefix + "market.book_snapshot", "BookSnapshot"))
    updates = by_key(read_topic(plant.bootstrap_servers, plant.prefix + "market.depth", "DepthUpdate"))
    assert len(snapshots) == SYMBOLS
    for symbol, found in snapshots.items():
        first = found[0].value
        assert first is not None
        assert (first["origin"], first["bids_complete"], first["asks_complete"]) == ("SEED", True, True)
        yield symbol, Replayed(first, updates[symbol]), found


def _not_late(rows: list[dict[str, Any]], suspended_at: datetime) -> list[dict[str, Any]]:
    """Without the records that the suspended builder made before and sent when it resumed: they are correct, but older."""
    kept: list[dict[str, Any]] = []
    for row in rows:
        if not kept or row["received_time"] >= kept[-1]["received_time"]:
            kept.append(row)
        else:
            assert row["received_time"] < suspended_at, (kept[-1], row)
    return kept


def _checkpoints_are_exact(plant: Plant, suspended_at: datetime) -> dict[str, dict[str, Any]]:
    """Each is the book of all updates before its offset. Returns the newest of each market."""
    newest: dict[str, dict[str, Any]] = {}
    for symbol, replayed, snapshots in _replays(plant):
        checkpoints = [each.value for each in snapshots if each.value and each.value["origin"] == "CHECKPOINT"]
        assert len(checkpoints) > 10
        for row in checkpoints:
            last_id, (bids, asks) = replayed.before(row["delta_offset"])
            assert row["last_update_id"] == last_id
            assert (as_dict(row["bids"]), as_dict(row["asks"])) == (bids, asks)
            assert (row["bids_complete"], row["asks_complete"]) == (True, True)
        offsets = [row["delta_offset"] for row in _not_late(checkpoints, suspended_at)]
        assert sorted(offsets) == offsets
        newest[symbol] = checkpoints[-1]
        assert newest[symbol]["last_update_id"] == replayed.ids[-1]
    return newest


def _short(*rows: dict[str, Any]) -> str:
    names = ("status", "reason", "last_update_id", "engine_time", "received_time")
    return "; ".join(", ".join(f"{name} {row[name]}" for name in names) for row in rows)


def _tops_are_exact(plant: Plant, suspended_at: datetime) -> None:
    """From any builder: never the same twice in a row, never going back, and each equal to the book."""
    tops = by_key(read_topic(plant.bootstrap_servers, plant.prefix + "market.book_top", "BookTop"))
    for symbol, replayed, _ in _replays(plant):
        rows = _not_late([each.value for each in tops[symbol] if each.value], suspended_at)
        live = [row for row in rows if row["status"] == "LIVE"]
        assert len(live) > 20
        for row in live:
            bids, asks = replayed.at(row["last_update_id"])
            assert as_dict(row["bids"]) == {price: bids[price] for price in sorted(bids, reverse=True)[:20]}
            assert as_dict(row["asks"]) == {price: asks[price] for price in sorted(asks)[:20]}
        seen = ("status", "reason", "bids", "asks")
        for a, b in pairwise(live):
            assert a["last_update_id"] < b["last_update_id"], _short(*rows[rows.index(a) - 1 : rows.index(b) + 2])
        for a, b in pairwise(rows):
            assert any(a[name] != b[name] for name in seen), _short(a, b)


def _a_late_reader_needs_only_checkpoints(plant: Plant, newest: dict[str, dict[str, Any]]) -> None:
    """All updates before the checkpoints are deleted."""
    kept: dict[int, int] = {}
    for row in newest.values():
        kept[row["delta_partition"]] = min(row["delta_offset"], kept.get(row["delta_partition"], row["delta_offset"]))
    asyncio.run(_trim(plant, kept))
    books = plant.books(*newest)
    for symbol in newest:
        assert same_book(books[symbol], plant.exchange.ask(f"/books/{symbol}"))
