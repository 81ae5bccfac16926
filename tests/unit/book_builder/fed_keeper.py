"""A book keeper that a test feeds with encoded records, as Kafka holds them, and what it would write at a given time."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from aiokafka import TopicPartition

from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.kept_book import CheckpointRules, KeptBook
from backpack_streams.book_builder.records import top_record
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import bytes_from_unscaled
from backpack_streams.bus.partitioner import partition_of

CODEC = Codec()
PARTITIONS = 8
ONE = 10**18
SYMBOL, OTHER = "BTC_USDC_PERP", "SOL_USDC"
KEY = SYMBOL.encode()
HOME = partition_of(KEY, PARTITIONS)
TOPIC_PARTITION = ("backpack.market.depth", HOME)
RULES = CheckpointRules(updates=10, seconds=5.0, reach=100)
Levels = Sequence[tuple[int, int]]


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


def levels(pairs: Levels) -> list[dict[str, bytes]]:
    return [{"price": bytes_from_unscaled(p * ONE), "quantity": bytes_from_unscaled(q * ONE)} for p, q in pairs]


def update(offset: int, first: int, last: int, bids: Levels = (), asks: Levels = (), key: bytes = KEY) -> Record:
    row: dict[str, Any] = {
        "symbol": key.decode(),
        "source": "WEBSOCKET",
        "event_time": last * 1000,
        "engine_time": last * 1000,
        "received_time": last * 1000,
        "first_update_id": first,
        "last_update_id": last,
        "bids": levels(bids),
        "asks": levels(asks),
    }
    return Record("backpack.market.depth", HOME, offset, key, CODEC.encoder("DepthUpdate", "t")(row))


def snapshot(last: int, offset: int = 0, origin: str = "SEED", **fields: Any) -> Record:
    row: dict[str, Any] = {
        "symbol": SYMBOL,
        "source": "REST",
        "engine_time": last * 1000,
        "received_time": last * 1000,
        "origin": origin,
        "last_update_id": last,
        "bids": levels([(99, 1), (98, 2)]),
        "asks": levels([(101, 1), (102, 2)]),
        "bids_complete": True,
        "asks_complete": True,
        "delta_topic": TOPIC_PARTITION[0],
        "delta_partition": HOME,
        "delta_offset": offset,
    } | fields
    return Record("backpack.market.book_snapshot", 0, 0, KEY, CODEC.encoder("BookSnapshot", "t")(row))


def gap(offset: int, last_id: int, next_id: int | None = None) -> Record:
    row = {
        "stream": f"depth.{SYMBOL}",
        "symbol": SYMBOL,
        "topic": "market.depth",
        "reason": "UNREADABLE_FRAME",
        "detail": "",
        "service": "test",
        "detected_time": 1,
        "last_id": last_id,
        "next_id": next_id,
    }
    return Record("backpack.ops.gap", 0, offset, KEY, CODEC.encoder("Gap", "t")(row))


def new_keeper(start: int = 0, end: int = 0, gaps: tuple[int, int] = (0, 0)) -> BookKeeper:
    keeper = BookKeeper(CODEC, "backpack.", RULES, top_levels=2, top_interval_seconds=0.1)
    keeper.intake.depth_partitions = PARTITIONS
    keeper.open(HOME, start, end, gaps)
    return keeper


def take(keeper: BookKeeper, now: float, *records: Record) -> None:
    """Takes the records of one fetch from Kafka."""
    by_topic_partition: dict[TopicPartition, list[Any]] = {}
    for each in records:
        by_topic_partition.setdefault(TopicPartition(each.topic, each.partition), []).append(each)
    keeper.take(by_topic_partition, now)


def due(keeper: BookKeeper, now: float) -> list[tuple[int | None, int]]:
    return [(kept.market.last_update_id, offset) for kept, offset in keeper.checkpoints(now)]


def write_tops(keeper: BookKeeper, now: float) -> list[dict[str, Any]]:
    """Writes the tops, as the shell does."""
    rows = []
    for kept, top in keeper.tops(now):
        rows.append(top_record(kept, top, 2, 0))
        kept.on_top(top)
    return rows


def only_book(keeper: BookKeeper) -> KeptBook:
    [kept] = keeper._kept.values()
    return kept
