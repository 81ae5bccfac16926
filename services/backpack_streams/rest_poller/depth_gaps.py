"""What a record of the gap topic asks of the snapshots of a book. Sans I/O."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from backpack_streams.exchange.streams import split_stream
from backpack_streams.feed import reports


class DepthGap(NamedTuple):
    """What a seed is to reach: past `last_id`, and up to `next_id` where that is known."""

    symbol: str
    last_id: int | None
    next_id: int | None
    is_wrong_at: int | None = None
    """The update id that a book had reached when an audit found it wrong."""
    not_before_us: int | None = None
    """What the topic held when an audit found this (µs, our clock) goes past what the exchange ever sent."""


def depth_gaps(gap: Mapping[str, Any]) -> Iterator[DepthGap]:
    """A gap in a realtime depth stream; nothing for others."""
    kind, symbol = split_stream(gap.get("stream", ""))
    if not symbol or kind.channel != "depth" or kind.parameter is not None:
        return
    last_id, next_id = gap["last_id"], gap["next_id"]
    before = None if last_id is None else last_id - 1
    if gap["reason"] == reports.AUDIT_MISMATCH and next_id is not None:
        yield DepthGap(symbol, None, None, not_before_us=gap["detected_time"])
    elif gap["reason"] == reports.AUDIT_MISMATCH:
        yield DepthGap(symbol, before, None, is_wrong_at=last_id)
    elif next_id is None and gap["lost_records"] is None:
        # Nobody covered the stream for a time. Perhaps nothing was lost: then the book is still at the last id, and only a
        # snapshot from after that time tells.
        yield DepthGap(symbol, before, None)
    else:
        yield DepthGap(symbol, last_id, next_id)
