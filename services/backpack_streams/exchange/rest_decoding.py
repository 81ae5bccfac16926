"""Decodes a REST answer into typed rows; an unreadable row is set apart and does not affect the others."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

from backpack_streams.exchange.rest_wire import DepthSnapshot, FundingRate, Kline, Market, Security, Trade
from backpack_streams.exchange.wire_decoding import LenientDecoder, parse_keeping_digits
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.exchange.wire_values import whole_number

Value = TypeVar("Value")
RowType = TypeVar("RowType")
ReadRow = Callable[[bytes], tuple[RowType, Iterable[str]]]
"""Decodes one row as sent; returns it with the names of its unknown fields."""

_rows_decoder: Final = msgspec.json.Decoder(list[msgspec.Raw])
_fields_decoder: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])


@dataclass(frozen=True, slots=True)
class Shape:
    """The location of the rows in an answer; a top-level array by default.

    Attributes:
        array_in: the field with the array, None for a top-level array.
        is_one_object: whether the answer is one object, which is the only row.
    """

    array_in: str | None = None
    is_one_object: bool = False

    def __str__(self) -> str:
        if self.is_one_object:
            return "a JSON object"
        return "a JSON array" if self.array_in is None else f"a JSON object with an array in `{self.array_in}`"


ARRAY: Final = Shape()
ONE_OBJECT: Final = Shape(is_one_object=True)


class BadRow(msgspec.Struct, frozen=True):
    """An unreadable row of an answer.

    Attributes:
        raw: its bytes as sent.
        reason: why it is unreadable.
    """

    raw: bytes
    reason: str

    def value(self, name: str, read: Callable[[object], Value]) -> Value | None:
        """The value of one of its fields, None if that is unreadable too."""
        try:
            fields = parse_keeping_digits(self.raw)
            return read(fields.get(name)) if isinstance(fields, dict) else None
        except UnreadableMessageError:
            return None


class Rows(msgspec.Struct, Generic[RowType], frozen=True):
    """The rows of one answer in the order sent.

    Attributes:
        rows: the readable rows.
        bad_rows: the unreadable rows.
        unknown_fields: how often each unknown field occurred, by name.
    """

    rows: tuple[RowType, ...]
    bad_rows: tuple[BadRow, ...] = ()
    unknown_fields: Mapping[str, int] = {}


def decode_rows(body: bytes, read_row: ReadRow[RowType], shape: Shape = ARRAY) -> Rows[RowType]:
    """Parse the objects of a body row by row.

    Args:
        body: the JSON text.
        read_row: parses one row; a row that it refuses with `UnreadableMessageError` is returned among the bad rows.
        shape: the location of the rows.

    Raises:
        UnreadableMessageError: the body has another shape.
    """
    try:
        raw_rows = _raw_rows(body, shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UnreadableMessageError(f"not {shape}: {error}") from error
    except RecursionError as error:
        raise UnreadableMessageError(f"not {shape}: nested too deeply") from error
    rows: list[RowType] = []
    bad_rows: list[BadRow] = []
    unknown_fields: Counter[str] = Counter()
    for raw in raw_rows:
        raw_bytes = bytes(raw)
        try:
            row, unknown = read_row(raw_bytes)
            rows.append(row)
            unknown_fields.update(unknown)
        except UnreadableMessageError as error:
            bad_rows.append(BadRow(raw_bytes, str(error)))
    return Rows(tuple(rows), tuple(bad_rows), dict(unknown_fields))


def _raw_rows(body: bytes, shape: Shape) -> list[msgspec.Raw]:
    if shape.is_one_object:
        return [msgspec.json.decode(body, type=msgspec.Raw)]
    if shape.array_in is None:
        return _rows_decoder.decode(body)
    fields = _fields_decoder.decode(body)
    if shape.array_in not in fields:
        raise UnreadableMessageError(f"not {shape}: there is no such field")
    return _rows_decoder.decode(fields[shape.array_in])


def decode_depth(body: bytes, symbol: str) -> DepthSnapshot:
    """Parse a `/depth` answer; if one level is unreadable, the whole book is unusable.

    Raises:
        UnreadableMessageError: anything that the book needs is missing or unreadable.
    """
    return _depth(body, {"symbol": symbol})[0]


def decode_time_ms(body: bytes) -> int:
    """Parse a `/time` answer, a bare integer of milliseconds since the Unix epoch.

    Raises:
        UnreadableMessageError: it is not an integer.
    """
    return whole_number(parse_keeping_digits(body))


_depth: Final = LenientDecoder(DepthSnapshot)
_market: Final = LenientDecoder(
    Market, ("imfFunction", "mmfFunction", "positionLimitWeight", "filters.price.meanMarkPriceBand")
)
_kline: Final = LenientDecoder(Kline)
_trade: Final = LenientDecoder(Trade)
read_funding_rate: Final[ReadRow[FundingRate]] = LenientDecoder(FundingRate)
"""Decodes a row of `/fundingRates`."""
read_security: Final[ReadRow[Security]] = LenientDecoder(Security)
"""Decodes a row of `/securities`."""


def read_market(raw: bytes) -> tuple[Market, Iterable[str]]:
    """Decode a row of `/markets`; raises UnreadableMessageError."""
    return _market(raw, {"raw": raw.decode("utf-8", "replace")})


def kline_reader(symbol: str, interval: str) -> ReadRow[Kline]:
    """Make the decoder of `/klines` rows, which contain neither symbol nor interval."""
    return lambda raw: _kline(raw, {"symbol": symbol, "interval": interval})


def trade_reader(symbol: str) -> ReadRow[Trade]:
    """Make the decoder of `/trades` rows, which do not contain their symbol."""
    return lambda raw: _trade(raw, {"symbol": symbol})
