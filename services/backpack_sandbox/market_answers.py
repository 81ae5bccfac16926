"""Faulty answers of `/api/v1/markets`: empty, partial or old ones, rows that cannot be read, a market type refused."""

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from backpack_sandbox.faults import Fault, FaultBox
from backpack_sandbox.http_port import JsonResponse, answer_like, target_of

Row = dict[str, Any]


class MarketAnswers:
    """Alters answers according to the faults.

    Args:
        faults: the active faults.
        now_us: returns the wall clock, µs since the Unix epoch.
    """

    def __init__(self, faults: FaultBox, now_us: Callable[[], int]) -> None:
        self._faults = faults
        self._now_us = now_us
        self._first: dict[str, tuple[int, Response]] = {}

    def altered(self, request: Request, response: Response) -> Response:
        """Return the answer to give in place of a correct one.

        For `markets-old`, the first answer to each target is kept, and returned with an `age` header (seconds, at least
        600 unless the fault says otherwise).

        Args:
            request: a request of `/api/v1/markets`.
            response: the correct answer to it.
        """
        now_us = self._now_us()
        first_us, first = self._first.setdefault(target_of(request), (now_us, response))
        refused = self._faults.take_any("markets-refused", now_us)
        if refused is not None and refused.kind() in (request.query_params.getlist("marketType") or [refused.kind()]):
            text = 'failed to parse parameter `marketType`: failed to parse "MarketType": Expect a valid enumeration value.'
            return PlainTextResponse(text, 400)
        old = self._faults.take_any("markets-old", now_us)
        if old is not None:
            age = int(old.number_of("age", max(600, (now_us - first_us) // 1_000_000)))
            return answer_like(first, {"age": str(age)})
        rows: list[Row] = json.loads(bytes(response.body))
        changed = self._changed(rows, now_us)
        return response if changed is None else answer_like(response, {}, JsonResponse(changed).body)

    def _changed(self, rows: list[Row], now_us: int) -> list[Row] | None:
        if self._faults.take_any("markets-empty", now_us) is not None:
            return []
        partial = self._faults.take_any("markets-partial", now_us)
        if partial is not None:
            lost = _chosen(partial, rows, len(rows) // 2)
            rows = [row for row in rows if not any(row is each for each in lost)]
        unreadable = self._faults.take_any("markets-unreadable", now_us)
        if unreadable is not None:
            for row in _chosen(unreadable, rows, 1):
                row |= _UNREADABLE[unreadable.kind()]
        return rows if partial is not None or unreadable is not None else None


_UNREADABLE: dict[str, Row] = {
    "state": {"orderBookState": None},
    "filters": {"filters": {"price": "0.1"}},
    "symbol": {"symbol": None},
}


def _chosen(fault: Fault, rows: list[Row], count: int) -> list[Row]:
    """Return the row of the fault's symbol, or the first rows, as many as the fault says (default: `count`)."""
    symbol = fault.text("symbol")
    if symbol is not None:
        return [row for row in rows if row["symbol"] == symbol]
    return rows[: int(fault.number_of("rows", count))]
