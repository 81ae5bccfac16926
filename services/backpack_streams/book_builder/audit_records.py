"""Converts audits to BookAudit records. The field `service` is set when the record is written."""

from typing import Any

from backpack_streams.audits.auditing import Audit
from backpack_streams.audits.comparison import Difference
from backpack_streams.books.order_book import OrderBook
from backpack_streams.bus.decimals import bytes_from_unscaled

Row = dict[str, Any]

WANTED = "WANTED"
"""The result of a record that requests an audit (wire value)."""
DIFFERENCES_LISTED = 20


def audit_record(audit: Audit, now_us: int) -> Row:
    """Return the BookAudit record of an audit. If the books differ, it includes both completely.

    Args:
        audit: the audit.
        now_us: the time of the audit (µs since the Unix epoch).
    """
    found = audit.comparison
    row = _row(audit.symbol, audit.result.value, audit.reason, audit.reached_id, now_us)
    row |= {
        "update_id": audit.update_id,
        "snapshot_update_id": audit.snapshot.last_update_id,
        "engine_time": audit.snapshot.engine_time,
    }
    if found is not None:
        row |= {
            "compared_levels": found.compared_levels,
            "different_levels": len(found.differences),
            "differences": [_difference(each) for each in found.differences[:DIFFERENCES_LISTED]],
            "bids_compared_to": None if found.bids_to is None else bytes_from_unscaled(found.bids_to),
            "asks_compared_to": None if found.asks_to is None else bytes_from_unscaled(found.asks_to),
        }
    if audit.ours is not None and audit.theirs is not None:
        row["our_bids"], row["our_asks"] = _sides(audit.ours)
        row["exchange_bids"], row["exchange_asks"] = _sides(audit.theirs)
    return row


def audit_request_record(symbol: str, reached_id: int | None, why: str, now_us: int) -> Row:
    """Return a BookAudit record that requests an audit.

    Args:
        symbol: the market.
        reached_id: the update id that the book has reached, None if unknown.
        why: what is suspicious about the book.
        now_us: the time of the request (µs since the Unix epoch).
    """
    return _row(symbol, WANTED, why, reached_id, now_us)


def _row(symbol: str, result: str, reason: str, reached_id: int | None, now_us: int) -> Row:
    return {
        "symbol": symbol,
        "result": result,
        "reason": reason,
        "update_id": None,
        "snapshot_update_id": None,
        "book_update_id": reached_id,
        "engine_time": None,
        "compared_levels": 0,
        "different_levels": 0,
        "differences": [],
        "bids_compared_to": None,
        "asks_compared_to": None,
        "our_bids": [],
        "our_asks": [],
        "exchange_bids": [],
        "exchange_asks": [],
        "service": "",
        "audited_time": now_us,
    }


def _difference(each: Difference) -> Row:
    return {
        "side": each.side.value,
        "price": bytes_from_unscaled(each.price),
        "our_quantity": bytes_from_unscaled(each.ours),
        "exchange_quantity": bytes_from_unscaled(each.theirs),
    }


def _sides(book: OrderBook) -> tuple[list[Row], list[Row]]:
    bids, asks = book.depth_units()
    return _levels(bids), _levels(asks)


def _levels(levels: list[tuple[int, int]]) -> list[Row]:
    return [
        {"price": bytes_from_unscaled(price), "quantity": bytes_from_unscaled(quantity)} for price, quantity in levels
    ]
