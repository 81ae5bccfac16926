"""Encodes DepthUpdate, nearly all of the traffic, directly to bytes.

The schema's engine needs a dict for the record and for each level, which costs more than the encoding itself. This
encoder produces the same bytes without them. `quick_depth_encoder` compares both before use, so a changed schema falls
back to the engine instead of being encoded wrongly.

If a C compiler was available at installation, `_quick_depth.c` encodes usual updates and this module the rest;
otherwise this module encodes everything. Long numbers are encoded by tables of 14 bits (Avro specification, "zigzag"
and "variable-length").
"""

import importlib
from collections.abc import Callable, Iterable
from itertools import chain
from types import ModuleType
from typing import TYPE_CHECKING, Protocol

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.decimals import SCALE, DecimalBytes
from backpack_streams.errors import CodecError

__all__ = ["DepthValues", "QuickEncoder", "compiled", "quick_depth_encoder", "sample_rows"]

compiled: ModuleType | None
"""The module compiled from `_quick_depth.c`, None if there was no compiler. Results are the same without it, only slower."""
try:
    compiled = importlib.import_module("backpack_streams.bus._quick_depth")
except ImportError:
    compiled = None
if TYPE_CHECKING:
    from backpack_streams.bus import _quick_depth as _typed  # typed by its stub
else:
    _typed = compiled

_PAIR = [bytes((low & 0x7F | 0x80, low >> 7 | 0x80)) for low in range(1 << 14)]
"""The two non-final bytes of each 14-bit group."""
_MASK = (1 << 14) - 1
_HIGH_PARTS_AT_MOST = 1 << 14
_HIGH_PARTS_END = 1 << (64 - 28)


class DepthValues(Protocol):
    """The content of a depth update. Times are microseconds since the Unix epoch; prices and quantities are text."""

    event_time: int
    engine_time: int | None
    symbol: str
    first_update_id: int
    last_update_id: int
    bids: list[tuple[str, str]] | None
    asks: list[tuple[str, str]] | None


QuickEncoder = Callable[[DepthValues, int], bytes]


class _HighParts(dict[int, bytes]):
    """A cache of the bytes of a number above its lowest 28 bits, which times and ids share for long."""

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


_COUNTS_AT_MOST = 4096
_COUNTS = [_varint(count << 1) for count in range(_COUNTS_AT_MOST)]
_SHORT = 1 << 28
_PRESENT, _ABSENT, _END = b"\x02", b"\x00", b"\x00"
"""The union branch with a value, the branch with null, the end of an array."""


def quick_depth_encoder(engine: Encoder, source: str) -> QuickEncoder | None:
    """Return a function that encodes depth updates, None if the schema is not the one known here.

    The function takes an update and its received time (µs since the Unix epoch) and returns the same Kafka value as
    `engine`. It raises `CodecError` as `engine` does.

    Args:
        engine: the reference encoder, from `Codec.encoder`.
        source: the value of the record's field `source`.
    """
    bare = _encoder(b"", source)
    first = _SAMPLES[0]
    value, body = engine(_row(first, 3, source)), bare(first, 3)
    if not value.endswith(body):
        return None
    encode = _encoder(value[: len(value) - len(body)], source)
    moments = (3, first.event_time + 70_000)
    known = all(encode(each, now) == engine(_row(each, now, source)) for each in _SAMPLES for now in moments)
    return encode if known else None


class _Heads(dict[str, bytes]):
    """A cache of what comes before the first number of a record: header, symbol and source."""

    __slots__ = ("_header", "_source")

    def __init__(self, header: bytes, source: str) -> None:
        super().__init__()
        self._header, self._source = header, source

    def __missing__(self, symbol: str) -> bytes:
        try:
            text, origin = symbol.encode(), self._source.encode()
        except UnicodeEncodeError as error:
            raise CodecError(f"the symbol {symbol!r} cannot be encoded as UTF-8") from error
        data = self._header + _varint(len(text) << 1) + text + _varint(len(origin) << 1) + origin
        self[symbol] = data
        return data


def _encoder(header: bytes, source: str) -> QuickEncoder:
    heads = _Heads(header, source)
    encode = _portable_encoder(heads)
    return encode if compiled is None else _compiled_encoder(heads, encode)


def _portable_encoder(heads: _Heads) -> QuickEncoder:
    number = DecimalBytes(SCALE, with_length=True).__getitem__
    high = _HighParts()
    pair, mask, counts, texts = _PAIR, _MASK, _COUNTS, chain.from_iterable

    def long(value: int) -> bytes:
        zigzag = value << 1 if value >= 0 else (-value << 1) - 1
        if zigzag < _SHORT:
            return _varint(zigzag)
        return pair[zigzag & mask] + pair[zigzag >> 14 & mask] + high[zigzag >> 28]

    def encode(update: DepthValues, received_us: int) -> bytes:
        event_time, engine_time = update.event_time, update.engine_time
        first_id, last_id = update.first_update_id, update.last_update_id
        if engine_time is None or event_time < _SHORT or engine_time < _SHORT or received_us < _SHORT:
            times = long(event_time) + (_ABSENT if engine_time is None else _PRESENT + long(engine_time))
            parts = [heads[update.symbol], _PRESENT, times, long(received_us)]
        else:  # `long` inlined: a call for each number would cost as much as the rest
            event_time <<= 1
            engine_time <<= 1
            received_us <<= 1
            parts = [
                heads[update.symbol],
                _PRESENT,
                pair[event_time & mask],
                pair[event_time >> 14 & mask],
                high[event_time >> 28],
                _PRESENT,
                pair[engine_time & mask],
                pair[engine_time >> 14 & mask],
                high[engine_time >> 28],
                pair[received_us & mask],
                pair[received_us >> 14 & mask],
                high[received_us >> 28],
            ]
        last = long(last_id)
        parts.append(last if first_id == last_id else long(first_id))
        parts.append(last)
        for levels in (update.bids, update.asks):
            if levels:
                count = len(levels)
                parts.append(counts[count] if count < _COUNTS_AT_MOST else _varint(count << 1))
                parts.extend(map(number, texts(levels)))
            parts.append(_END)
        return b"".join(parts)

    return encode


def _compiled_encoder(heads: _Heads, encode: QuickEncoder) -> QuickEncoder:
    """Return an encoder that leaves to `encode` only the updates that the compiled one does not know."""
    encode_usual = _typed.encode

    def encode_compiled(update: DepthValues, received_us: int) -> bytes:
        value = encode_usual(
            heads[update.symbol],
            update.event_time,
            update.engine_time,
            received_us,
            update.first_update_id,
            update.last_update_id,
            update.bids,
            update.asks,
        )
        return value or encode(update, received_us)

    return encode_compiled


class _Sample:
    """A depth update for comparing encoders."""

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


def sample_rows() -> list[dict[str, object]]:
    """Return records of typical depth updates, for comparing encoders or decoders."""
    return [_row(sample, 3, "WEBSOCKET") for sample in _SAMPLES]


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
