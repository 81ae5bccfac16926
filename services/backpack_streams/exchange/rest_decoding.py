"""Decodes a REST answer into typed rows; an unreadable row is set apart and does not affect the others."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from backpack_streams.exchange.rest_fields import FieldError, Row, decode_exact, integer
from backpack_streams.exchange.rest_wire import (
    DepthSnapshot,
    FundingRate,
    Kline,
    Market,
    Trade,
)

RowType = TypeVar("RowType")
ReadRow = Callable[[Row, str], RowType]
"""Parses one row; the second argument is the row's text as sent."""

_rows_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_fields_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Shape:
    """The location of the rows in an answer: a top-level array, the array in one field, or one object that is the only row."""

    array_in: str | None = None
    is_one_object: bool = False

    def __str__(self) -> str:
        if self.is_one_object:
            return "a JSON object"
        return "a JSON array" if self.array_in is None else f"a JSON object with an array in `{self.array_in}`"


ARRAY: Final = Shape()
ONE_OBJECT: Final = Shape(is_one_object=True)


class BadRow(msgspec.Struct, frozen=True):
    """An unreadable row of an answer: its bytes as sent, and the reason."""

    raw: bytes
    reason: str


class Rows(msgspec.Struct, Generic[RowType], frozen=True):
    """The rows of one answer in the order sent, the unreadable ones, and the number of occurrences of each new field."""

    rows: tuple[RowType, ...]
    bad_rows: tuple[BadRow, ...] = ()
    unknown_fields: Mapping[str, int] = {}


def decode_rows(body: bytes, read_row: ReadRow[RowType], shape: Shape = ARRAY) -> Rows[RowType]:
    """Parse the objects of a body row by row.

    Raises:
        FieldError: the body has another shape.
    """
    try:
        raw_rows = _raw_rows(body, shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise FieldError(f"not {shape}: {error}") from error
    except RecursionError as error:
        raise FieldError(f"not {shape}: nested too deeply") from error
    rows: list[RowType] = []
    bad_rows: list[BadRow] = []
    unknown_fields: Counter[str] = Counter()
    for raw in raw_rows:
        raw_bytes = bytes(raw)
        try:
            row = Row(decode_exact(raw_bytes))
            rows.append(read_row(row, raw_bytes.decode()))
            unknown_fields.update(row.unknown())
        except FieldError as error:
            bad_rows.append(BadRow(raw_bytes, str(error)))
    return Rows(tuple(rows), tuple(bad_rows), dict(unknown_fields))


def _raw_rows(body: bytes, shape: Shape) -> list[msgspec.Raw]:
    if shape.is_one_object:
        return [msgspec.json.decode(body, type=msgspec.Raw)]
    if shape.array_in is None:
        return _rows_decoder.decode(body)
    fields = _fields_decoder.decode(body)
    if shape.array_in not in fields:
        raise FieldError(f"not {shape}: there is no such field")
    return _rows_decoder.decode(fields[shape.array_in])


def decode_depth(body: bytes, symbol: str) -> DepthSnapshot:
    """Parse a `/depth` answer; if one level is unreadable, the whole book is unusable.

    Raises:
        FieldError: anything that the book needs is missing or unreadable.
    """
    row = Row(decode_exact(body))
    return DepthSnapshot(
        symbol=symbol,
        bids=row.levels("bids"),
        asks=row.levels("asks"),
        last_update_id=row.integer("lastUpdateId"),
        timestamp_us=row.integer("timestamp"),
    )


def decode_time_ms(body: bytes) -> int:
    """Parse a `/time` answer, a bare integer of milliseconds since the Unix epoch.

    Raises:
        FieldError: it is no integer.
    """
    return integer(decode_exact(body.strip()))


def read_market(row: Row, raw: str) -> Market:
    """Parse a row of `/markets`; raises FieldError."""
    row.leave("imfFunction", "mmfFunction", "positionLimitWeight")
    filters = row.nested("filters")
    price, quantity = filters.nested("price"), filters.nested("quantity")
    return Market(
        symbol=row.text("symbol"),
        base=row.text("baseSymbol"),
        quote=row.text("quoteSymbol"),
        market_type=row.text("marketType"),
        order_book_state=row.text("orderBookState"),
        created_at_us=row.optional_time_us("createdAt"),
        visible=row.optional_boolean("visible"),
        tick_size=price.optional_decimal("tickSize"),
        min_price=price.optional_decimal("minPrice"),
        max_price=price.optional_decimal("maxPrice"),
        step_size=quantity.optional_decimal("stepSize"),
        min_quantity=quantity.optional_decimal("minQuantity"),
        max_quantity=quantity.optional_decimal("maxQuantity"),
        funding_interval_ms=row.optional_integer("fundingInterval"),
        funding_rate_upper_bound=row.optional_decimal("fundingRateUpperBound"),
        funding_rate_lower_bound=row.optional_decimal("fundingRateLowerBound"),
        open_interest_limit=row.optional_decimal("openInterestLimit"),
        rwa_market_type=row.optional_text("rwaMarketType"),
        raw=raw,
    )


def read_funding_rate(row: Row, _raw: str) -> FundingRate:
    """Parse a row of `/fundingRates`; raises FieldError."""
    return FundingRate(
        symbol=row.text("symbol"),
        funding_rate=row.decimal("fundingRate"),
        interval_end_us=row.time_us("intervalEndTimestamp"),
    )


def kline_reader(symbol: str, interval: str) -> ReadRow[Kline]:
    """Make the parser of `/klines` rows, which contain neither symbol nor interval; it raises FieldError."""

    def read_kline(row: Row, _raw: str) -> Kline:
        return Kline(
            symbol=symbol,
            interval=interval,
            start_us=row.time_us("start"),
            end_us=row.time_us("end"),
            open=row.optional_decimal("open"),
            high=row.optional_decimal("high"),
            low=row.optional_decimal("low"),
            close=row.optional_decimal("close"),
            volume=row.decimal("volume"),
            quote_volume=row.decimal("quoteVolume"),
            trades=row.integer("trades"),
        )

    return read_kline


def trade_reader(symbol: str) -> ReadRow[Trade]:
    """Make the parser of `/trades` rows, which do not contain their symbol; it raises FieldError."""

    def read_trade(row: Row, _raw: str) -> Trade:
        return Trade(
            symbol=symbol,
            trade_id=row.optional_integer("id"),
            price=row.decimal("price"),
            quantity=row.decimal("quantity"),
            quote_quantity=row.optional_decimal("quoteQuantity"),
            timestamp_ms=row.integer("timestamp"),
            is_buyer_maker=row.boolean("isBuyerMaker"),
        )

    return read_trade
