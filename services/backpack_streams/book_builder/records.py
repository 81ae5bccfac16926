"""Converts kept books to records, and reads a top of book back."""

from collections.abc import Iterable
from typing import Any

from backpack_streams.book_builder.kept_book import KeptBook, Top
from backpack_streams.books.units import to_units
from backpack_streams.bus.decimals import bytes_from_unscaled
from backpack_streams.bus.depth_reader import Levels
from backpack_streams.sequencing.runs import RunKey
from backpack_streams.topic_partition import TopicPartition

Row = dict[str, Any]

CHECKPOINT = "CHECKPOINT"
WEBSOCKET = "WEBSOCKET"


def checkpoint_record(
    kept: KeptBook, topic_partition: TopicPartition, offset: int, now_us: int, covered_by: Iterable[RunKey] = ()
) -> Row:
    """Return the BookSnapshot record of a LIVE book, best levels first. It includes exactly the updates before `offset` in
    its partition.

    A truncated side includes the levels within its coverage only: readers take the last level for the limit of what is
    known.

    Args:
        kept: the book.
        topic_partition: the partition of its updates.
        offset: the offset of the first update that is not in the book.
        now_us: the time of writing (µs since the Unix epoch).
        covered_by: the coverage that proves the book.
    """
    market = kept.market
    coverage = market.book.coverage
    bids, asks = market.book.depth_units()
    if coverage.bids is not None:
        lowest = to_units(coverage.bids)
        bids = [level for level in bids if level[0] >= lowest]
    if coverage.asks is not None:
        highest = to_units(coverage.asks)
        asks = [level for level in asks if level[0] <= highest]
    topic, partition = topic_partition
    return {
        "symbol": market.symbol,
        "source": WEBSOCKET,
        "event_time": None,
        "engine_time": market.engine_time,
        "received_time": now_us,
        "origin": CHECKPOINT,
        "last_update_id": market.last_update_id,
        "bids": _levels(bids),
        "asks": _levels(asks),
        "bids_complete": coverage.bids is None,
        "asks_complete": coverage.asks is None,
        "depth_limit": None,
        "delta_topic": topic,
        "delta_partition": partition,
        "delta_offset": offset,
        "seed_update_id": None if market.base is None else market.base.last_update_id,
        "seed_engine_time": None if market.base is None else market.base.engine_time,
        "seed_received_time": None if market.base is None else market.base.received_time,
        "watermark_offset": None,
        "covered_by": [run._asdict() for run in sorted(covered_by)],
    }


def top_record(kept: KeptBook, top: Top, levels: int, now_us: int) -> Row:
    """Return a BookTop record.

    Args:
        kept: the book.
        top: the levels and the status to write.
        levels: the maximum number of levels per side.
        now_us: the time of writing (µs since the Unix epoch).
    """
    market = kept.market
    return {
        "symbol": market.symbol,
        "source": WEBSOCKET,
        "event_time": None,
        "engine_time": market.engine_time,
        "received_time": now_us,
        "status": top.status,
        "reason": top.reason,
        "status_since": market.since,
        "last_update_id": market.last_update_id,
        "bids": _levels(top.bids),
        "asks": _levels(top.asks),
        "levels_limit": levels,
        "as_of": market.as_of,
    }


def recalled_top(row: Row) -> Top:
    """Return the content of a BookTop record.

    Raises:
        KeyError: it is not a BookTop record.
    """
    return Top(row["status"], row["reason"], _units(row["bids"]), _units(row["asks"]))


def _units(levels: list[dict[str, bytes]]) -> Levels:
    return [
        (int.from_bytes(level["price"], "big", signed=True), int.from_bytes(level["quantity"], "big", signed=True))
        for level in levels
    ]


def _levels(levels: Levels) -> list[dict[str, bytes]]:
    return [
        {"price": bytes_from_unscaled(price), "quantity": bytes_from_unscaled(quantity)} for price, quantity in levels
    ]
