"""pandas and Polars: tops of books as a frame, one row each. Needs `pandas` or `polars` (extras of the same names)."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from backpack_streams.books.market_view import MarketView
from backpack_streams.books.optional import library
from backpack_streams.errors import BookError

__all__ = ["Tops"]

_PRECISION, _SCALE = 38, 18
_NUMBERS = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
_FIXED = ("symbol", "status", "last_update_id", "engine_time")


class Tops:
    """Collects tops of books and returns them as a frame: exact, with null for missing values.

    Columns: `symbol`, `status`, `last_update_id`, `engine_time` (µs, UTC), then for each level from 1 on `bid_price_1`,
    `bid_quantity_1`, `ask_price_1`, `ask_quantity_1`. Numbers are `Decimal` objects in pandas and `Decimal(38, 18)` in Polars.
    """

    def __init__(self, levels: int = 1) -> None:
        """Prepare for this many levels per side.

        Raises:
            BookError: `levels` is below 1.

        """
        if levels < 1:
            raise BookError(f"a top of {levels} levels cannot be; ask for 1 or more")
        self._levels = levels
        self._number_columns = [f"{name}_{level}" for level in range(1, levels + 1) for name in _NUMBERS]
        self._columns: dict[str, list[Any]] = {name: [] for name in (*_FIXED, *self._number_columns)}

    def __len__(self) -> int:
        return len(self._columns["symbol"])

    def add(self, market: MarketView) -> None:
        """Add the current top of a book in any status; the status has its own column."""
        bids, asks = market.book.depth(self._levels)
        self._add((market.symbol, market.status.value, market.last_update_id, market.engine_time), bids, asks)

    def add_record(self, value: Mapping[str, Any]) -> None:
        """Add the value of a BookTop record, as `RecordStream` gives it.

        Raises:
            BookError: the record lacks a field of a BookTop.

        """
        try:
            fixed = tuple(value[name] for name in _FIXED)
            bids, asks = (
                [(level["price"], level["quantity"]) for level in value[side][: self._levels]]
                for side in ("bids", "asks")
            )
        except (KeyError, TypeError) as error:
            raise BookError(f"the record is no BookTop: {error!r}") from error
        self._add(fixed, bids, asks)

    def pandas(self) -> Any:
        """Return a `pandas.DataFrame`.

        Raises:
            UsageError: pandas is not installed.

        """
        pandas = library("pandas", "pandas")
        columns: dict[str, Any] = {
            name: pandas.Series(values, dtype="object") for name, values in self._columns.items()
        }
        columns["last_update_id"] = columns["last_update_id"].astype("Int64")
        times = pandas.Series(self._columns["engine_time"], dtype="Int64")
        columns["engine_time"] = pandas.to_datetime(times, unit="us", utc=True)
        return pandas.DataFrame(columns)

    def polars(self) -> Any:
        """Return a `polars.DataFrame`.

        Raises:
            UsageError: Polars is not installed.

        """
        polars = library("polars", "polars")
        schema = {
            "symbol": polars.String,
            "status": polars.String,
            "last_update_id": polars.Int64,
            "engine_time": polars.Int64,
        }
        schema |= dict.fromkeys(self._number_columns, polars.Decimal(_PRECISION, _SCALE))
        frame = polars.DataFrame(self._columns, schema=schema)
        return frame.with_columns(polars.from_epoch("engine_time", time_unit="us").dt.replace_time_zone("UTC"))

    def _add(
        self,
        fixed: tuple[Any, ...],
        bids: list[Any],
        asks: list[Any],
    ) -> None:
        numbers: list[Decimal | None] = []
        for level in range(self._levels):
            for side in (bids, asks):
                numbers.extend(side[level] if level < len(side) else (None, None))
        for column, value in zip(self._columns.values(), (*fixed, *numbers), strict=True):
            column.append(value)
