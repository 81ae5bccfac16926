"""The markets and the plant at one moment: what is drawn, and what `--json` prints. Sans I/O."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from backpack_streams.bus.decimals import plain
from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant_view import PlantView
from backpack_streams.gateway.topic_names import DEPTH_TOPIC
from backpack_streams.screen.market_rows import MarketRow, market_rows

__all__ = ["View", "as_json", "view_of"]

_SILENT_MS: Final = 3_000
"""Kafka is asked every second; after this long without an answer, the figures are not current."""


@dataclass(frozen=True, slots=True)
class View:
    """The markets and the plant at one moment."""

    time_us: int
    """The wall clock's time (µs since the Unix epoch)."""
    trouble: str
    """Why Kafka cannot be read; empty while it can."""
    answered_ms: int | None
    """Time since Kafka's last answer (ms); None before the first one."""
    books_age_ms: int | None
    """Age of the time up to which all books are complete (ms); None while that is unknown."""
    rows: Sequence[MarketRow]
    """One row for each listed market."""
    plant: Row
    """The fields of `/v1/plant`."""

    @property
    def live_books(self) -> int:
        """Number of books that may be used."""
        return sum(row.is_live for row in self.rows)

    @property
    def expected_books(self) -> int:
        """Number of books of markets that are not closed."""
        return sum(row.status not in ("", "CLOSED") for row in self.rows)

    @property
    def is_current(self) -> bool:
        """Whether Kafka has answered within the last three seconds."""
        return self.answered_ms is not None and self.answered_ms < _SILENT_MS


def view_of(data: MarketData, plant: PlantView, answered_at: float | None, now: float) -> View:
    """Return what is known now.

    Args:
        data: the read model of the markets.
        plant: the state of the plant, with the wall clock.
        answered_at: when Kafka answered last (monotonic seconds); None if it has not.
        now: the time (monotonic seconds).
    """
    now_us = plant.now_us()
    through = data.complete_through()[DEPTH_TOPIC]
    return View(
        time_us=now_us,
        trouble=data.unavailable(),
        answered_ms=None if answered_at is None else round((now - answered_at) * 1000),
        books_age_ms=None if through is None else data.watermark_age_ms(through),
        rows=market_rows(data),
        plant=plant.row(now_us),
    )


def as_json(view: View, rows: Sequence[MarketRow]) -> str:
    """Return the view as one line of JSON. Decimals are plain strings, times µs since the Unix epoch, ages ms.

    Args:
        view: the view.
        rows: those of its rows to include.

    Raises:
        TypeError: a value has no form in JSON.
    """
    return json.dumps(
        {
            "time": view.time_us,
            "kafka_answered_ms": view.answered_ms,
            "books_age_ms": view.books_age_ms,
            "markets": [_market(row) for row in rows],
            "plant": view.plant,
        },
        default=_plain,
    )


def _market(row: MarketRow) -> dict[str, Any]:
    return {
        "symbol": row.symbol,
        "market_type": row.market_type,
        "last_price": row.price,
        "price_change_percent": row.change,
        "volume": row.volume,
        "quote_volume": row.quote_volume,
        "mark_price": row.mark_price,
        "funding_rate": row.funding_rate,
        "open_interest": row.open_interest,
        "bid": row.bid,
        "ask": row.ask,
        "book_status": row.status or None,
        "reason": row.reason,
        "as_of": row.as_of,
        "age_ms": row.age_ms,
    }


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return plain(value)
    raise TypeError(f"{type(value).__name__} is not for JSON")
