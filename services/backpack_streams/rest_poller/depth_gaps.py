"""Derives from a gap record what the next snapshot of the book must include. Sans I/O."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from backpack_streams.exchange.streams import split_stream
from backpack_streams.publishing import reports


class DepthGap(NamedTuple):
    """The requirement on a book's next snapshot: past `last_id`, and up to `next_id` if that is known.

    Attributes:
        symbol: the market.
        last_id: the last update id before the gap, None if unknown.
        next_id: the first update id after the gap, None if unknown.
        is_wrong_at: the update id that a book had reached when an audit found it wrong, otherwise None.
        not_before_us: set if the topic was ahead of the exchange: when an audit found that (µs since the Unix epoch,
            our clock).
    """

    symbol: str
    last_id: int | None
    next_id: int | None
    is_wrong_at: int | None = None
    not_before_us: int | None = None


def depth_gaps(gap: Mapping[str, Any]) -> Iterator[DepthGap]:
    """Yield the requirement of a gap in a realtime depth stream; nothing for other streams."""
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
        # The stream was not covered for a time. If nothing was lost, the book is still at the last id, and only a later
        # snapshot can show that.
        yield DepthGap(symbol, before, None)
    else:
        yield DepthGap(symbol, last_id, next_id)
