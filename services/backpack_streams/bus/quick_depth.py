"""Writes DepthUpdate, the record that makes up nearly all traffic, straight into bytes.

The schema's engine needs a dict for the record and one for each level, which costs more than writing them. This writes the same
bytes without them; `quick_depth_encoder` checks that against the engine before it is used, so a changed schema falls back to the
engine instead of being written wrongly. Long numbers are written by tables of 14 bits (Avro specification, "zigzag" and
"variable-length").
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.decimals import SCALE, DecimalBytes
from backpack_streams.errors import CodecError

_PAIR = [bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(1 << 14)]
"""Two bytes with more to come, by their 14 bits."""
_MASK = (1 << 14) - 1
_HIGH_PARTS_AT_MOST = 1 << 14
_HIGH_PARTS_END = 1 << (64 - 28)


class DepthValues(Protocol):
    """What a depth update says. Times are microseconds since the Unix epoch; prices and quantities are text."""

    event_time: int
    engine_time: int | None
    symbol: str
    first_update_id: int
    last_update_id: int
    bids: list[tuple[str, str]] | None
    asks: list[tuple[str, str]] | None


QuickEncoder = Callable[[DepthValues, int], bytes]


class _HighParts(dict[int, bytes]):
    """The bytes of a number's part above 28 bits: times and ids share it for long."""

    __slots__ = ()

    def __missing__(self, high: int) -> bytes:
        if high >= _HIGH_PARTS_END:
            raise CodecError("a number has more than the 64 bits of an Avro long")
        if len(self) >= _HIGH_PARTS_AT_MOST:
            self.clear()
        data = self[high] = _varint(high)
        return data


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_COUNTS = [_varint(count << 1) for count in range(4096)]


def quick_depth_encoder(engine: Encoder, source: str) -> QuickEncoder | None:
    """From a depth update and its received time (microseconds) to the Kafka value that `engine` makes of the same.

    None where the schema is not the one known here.
    """
    bare = _encoder(b"", source)
    first = _SAMPLES[0]
    value, body = engine(_row(first, 3, source)), bare(first, 3)
    if not value.endswith(body):
        return None
    encode = _encoder(value[: len(value) - len(body)], source)
    return encode if all(encode(sample, 3) == engine(_row(sample, 3, source)) for sample in _SAMPLES) else None


def _encoder(header: bytes, source: str) -> QuickEncoder:
    number = DecimalBytes(SCALE, with_length=True)
    high = _HighParts()
    heads: dict[str, bytes] = {}
    pair, mask = _PAIR, _MASK

    def head(symbol: str) -> bytes:
        try:
            text, origin = symbol.encode(), source.encode()
        except UnicodeEncodeError as error:
            raise CodecError(f"the symbol {symbol!r} is no text that UTF-8 can carry") from error
        heads[symbol] = header + _varint(len(text) << 1) + text + _varint(len(origin) << 1) + origin
        return heads[symbol]

    def long(value: int) -> bytes:
        zigzag = value << 1 if value >= 0 else (-value << 1) - 1
        if zigzag < 1 << 28:
            return _varint(zigzag)
        return pair[zigzag & mask] + pair[zigzag >> 14 & mask] + high[zigzag >> 28]

    def side(parts: list[bytes], levels: Sequence[tuple[str, str]]) -> None:
        count = len(levels)
        parts.append(_COUNTS[count] if count < len(_COUNTS) else _varint(count << 1))
        for price, quantity in levels:
            parts.append(number[price])
            parts.append(number[quantity])

    def encode(update: DepthValues, received_us: int) -> bytes:
        symbol, engine_time = update.symbol, update.engine_time
        first_id, last_id = update.first_update_id, update.last_update_id
        last = long(last_id)
        parts = [
            heads.get(symbol) or head(symbol),
            b"\x02",
            long(update.event_time),
            b"\x00" if engine_time is None else b"\x02" + long(engine_time),
            long(received_us),
            last if first_id == last_id else long(first_id),
            last,
        ]
        if update.bids:
            side(parts, update.bids)
        parts.append(b"\x00")
        if update.asks:
            side(parts, update.asks)
        parts.append(b"\x00")
        return b"".join(parts)

    return encode


class _Sample:
    """A depth update to compare the two ways of writing by."""

    def __init__(self, engine_time: int | None, ids: tuple[int, int], bids: Iterable[tuple[str, str]]) -> None:
        self.event_time = 1_790_134_357_267_289
        self.engine_time = engine_time
        self.symbol = "AAPL.US_USDC_PERP"
        self.first_update_id, self.last_update_id = ids
        self.bids: list[tuple[str, str]] | None = list(bids)
        self.asks: list[tuple[str, str]] | None = [("86656.10", "0.000")]


_SAMPLES = (
    _Sample(1_790_134_357_267_074, (6_730_019_257, 6_730_019_258), [("86655.9", "1.94230"), ("1", "2")]),
    _Sample(None, (5, 5), []),
)


def _row(update: DepthValues, received_us: int, source: str) -> dict[str, object]:
    number = DecimalBytes()
    return {
        "symbol": update.symbol,
        "source": source,
        "event_time": update.event_time,
        "engine_time": update.engine_time,
        "received_time": received_us,
        "first_update_id": update.first_update_id,
        "last_update_id": update.last_update_id,
        "bids": [{"price": number[price], "quantity": number[quantity]} for price, quantity in update.bids or ()],
        "asks": [{"price": number[price], "quantity": number[quantity]} for price, quantity in update.asks or ()],
    }
