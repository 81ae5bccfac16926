"""Converts order books of the REST API to records."""

from typing import Any

from backpack_streams.bus.decimals import bytes_from_unscaled, unscaled_from_text
from backpack_streams.exchange import rest_wire
from backpack_streams.feed.stream_spec import DECIMALS
from backpack_streams.publishing.sources import REST

Row = dict[str, Any]

SEED = "SEED"
"""The `origin` of a BookSnapshot that is the exchange's answer (wire value). Any other origin is derived from Kafka."""


def snapshot_record(
    snapshot: rest_wire.DepthSnapshot,
    received_us: int,
    depth_limit: int,
    delta_topic: str,
    delta_partition: int,
    delta_offset: int,
    watermark_offset: int | None = None,
) -> Row:
    """Return a BookSnapshot record, best levels first. A side with as many levels as the limit may be truncated.

    Args:
        snapshot: the exchange's answer.
        received_us: when it was received (µs since the Unix epoch).
        depth_limit: the requested number of levels per side.
        delta_topic: the full name of the topic with the updates.
        delta_partition: the partition of the market's updates.
        delta_offset: the offset from which to read updates.
        watermark_offset: the end of the watermark topic before the request, None if the topic does not exist.

    Raises:
        DecimalDoesNotFit: a value is not a decimal, or has too many digits.
    """
    return {
        "symbol": snapshot.symbol,
        "source": REST,
        "event_time": None,
        "engine_time": snapshot.timestamp_us,
        "received_time": received_us,
        "origin": SEED,
        "last_update_id": snapshot.last_update_id,
        "bids": _levels(snapshot.bids, descending=True),
        "asks": _levels(snapshot.asks, descending=False),
        "bids_complete": len(snapshot.bids) < depth_limit,
        "asks_complete": len(snapshot.asks) < depth_limit,
        "depth_limit": depth_limit,
        "delta_topic": delta_topic,
        "delta_partition": delta_partition,
        "delta_offset": delta_offset,
        "seed_update_id": None,
        "seed_engine_time": None,
        "seed_received_time": None,
        "watermark_offset": watermark_offset,
        "covered_by": [],
    }


def _levels(levels: tuple[tuple[str, str], ...], descending: bool) -> list[dict[str, bytes]]:
    ordered = sorted(((unscaled_from_text(price), quantity) for price, quantity in levels), reverse=descending)
    return [{"price": bytes_from_unscaled(price), "quantity": DECIMALS[quantity]} for price, quantity in ordered]


def is_crossed(snapshot: rest_wire.DepthSnapshot) -> bool:
    """Whether the best bid reaches the best ask, which means that the snapshot is wrong."""
    if not snapshot.bids or not snapshot.asks:
        return False
    best_bid = max(unscaled_from_text(price) for price, _ in snapshot.bids)
    return best_bid >= min(unscaled_from_text(price) for price, _ in snapshot.asks)
