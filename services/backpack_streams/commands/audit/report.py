"""Formats audits for people and for programs."""

import json
from collections.abc import Mapping

from backpack_streams.audits.auditing import Audit
from backpack_streams.audits.comparison import Difference
from backpack_streams.books.units import plain

DIFFERENCES_FOR_PEOPLE = 10


def as_json(audit: Audit) -> str:
    """Return one line of JSON. Decimals are plain strings; a quantity of 0 means that there is no level.

    `bids_compared_to` and `asks_compared_to` are the deepest prices that both books know, null for the whole side.
    """
    found = audit.comparison
    return json.dumps(
        {
            "symbol": audit.symbol,
            "result": audit.result.value,
            "reason": audit.reason,
            "update_id": audit.update_id,
            "compared_levels": 0 if found is None else found.compared_levels,
            "different_levels": len(audit.differences),
            "bids_compared_to": None if found is None or found.bids_to is None else plain(found.bids_to),
            "asks_compared_to": None if found is None or found.asks_to is None else plain(found.asks_to),
            "differences": [_difference(each) for each in audit.differences],
        }
    )


def not_compared_as_json(symbol: str, reason: str) -> str:
    """Return one line of JSON for a book that could not be compared. Its result is `NOT_COMPARABLE`.

    Args:
        symbol: the market.
        reason: why it could not be compared.
    """
    row = {"symbol": symbol, "result": "NOT_COMPARABLE", "reason": reason, "update_id": None}
    return json.dumps(row | {"compared_levels": 0, "different_levels": 0, "differences": []})


def as_table(audits: Mapping[str, Audit], not_compared: Mapping[str, str]) -> str:
    """Return a row per book, by symbol; below a differing one, its first ten differences.

    Args:
        audits: the final results by symbol.
        not_compared: the reason by symbol of each book that was not compared.
    """
    width = max((len(symbol) for symbol in (*audits, *not_compared)), default=6)
    lines = [f"{'symbol':<{width}}  {'result':<14} {'levels':>7} {'differ':>7}  at update"]
    for symbol in sorted({*audits, *not_compared}):
        audit = audits.get(symbol)
        if audit is None or audit.comparison is None:
            lines.append(f"{symbol:<{width}}  {'NOT_COMPARABLE':<14} {'':>7} {'':>7}  {not_compared.get(symbol, '')}")
            continue
        compared, different = audit.comparison.compared_levels, len(audit.differences)
        where = (
            f"{audit.reached_id}, and the exchange at {audit.snapshot.last_update_id}"
            if audit.is_ahead
            else f"{audit.update_id}"
        )
        lines.append(f"{symbol:<{width}}  {audit.result.value:<14} {compared:>7} {different:>7}  {where}")
        lines += [f"{'':<{width}}    {each}" for each in audit.differences[:DIFFERENCES_FOR_PEOPLE]]
        if different > DIFFERENCES_FOR_PEOPLE:
            lines.append(f"{'':<{width}}    and {different - DIFFERENCES_FOR_PEOPLE} more; --json has them all")
    return "\n".join(lines)


def _difference(each: Difference) -> dict[str, str]:
    return {
        "side": each.side.value,
        "price": plain(each.price),
        "ours": plain(each.ours),
        "exchange": plain(each.theirs),
    }
