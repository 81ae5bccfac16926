"""Typed messages of the exchange's public streams, as tolerant as the wire is loose.

The quick parser takes what the exchange normally sends. Everything else goes to the lenient parser: numbers may be strings and strings
numbers, digits are kept as written, an optional number that is empty text is absent, a level may have more than two parts, and unknown
fields are named so that they can be counted. Times are microseconds since the Unix epoch unless a name says otherwise; numbers with
decimals stay text, exactly as sent.
"""

import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, TypeVar, cast

import msgspec
from msgspec import Meta, Raw, Struct, field

from backpack_streams.errors import ExchangeError

Number = Annotated[str, Meta(min_length=1)]
"""A number with decimals, as text. Empty text is no number, and sends the message to the lenient parser."""
Level = tuple[str, str]
"""Price and absolute quantity, as text."""


class UnreadableMessageError(ExchangeError):
    """Even the lenient parser cannot parse the message."""


class Envelope(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """The envelope of every data message; `data` stays raw until the stream is known."""

    stream: str
    data: Raw


class NewEnvelope(Envelope, kw_only=True, forbid_unknown_fields=False, gc=False):
    """An envelope that may have unknown fields. With an `error` it is no envelope."""

    error: Raw | None = None


class ErrorBody(Struct, kw_only=True):
    """The error inside an error frame, e.g. 4006 `Invalid stream`."""

    code: int
    message: str = ""


class Depth(Struct, kw_only=True, gc=False):
    """`depth.<symbol>` and `depth.<window>.<symbol>`: absolute quantities of changed levels; zero deletes."""

    event_time: int = field(name="E")
    engine_time: int | None = field(name="T", default=None)
    symbol: str = field(name="s")
    first_update_id: int = field(name="U")
    last_update_id: int = field(name="u")
    asks: list[Level] | None = field(name="a", default=None)
    bids: list[Level] | None = field(name="b", default=None)
    event: str | None = field(name="e", default=None)


class BookTicker(Struct, kw_only=True, gc=False):
    """`bookTicker.<symbol>`: a side is null while it is empty; `u` is the depth update id."""

    event_time: int = field(name="E")
    engine_time: int | None = field(name="T", default=None)
    symbol: str = field(name="s")
    update_id: int = field(name="u")
    ask_price: Number | None = field(name="a", default=None)
    ask_quantity: Number | None = field(name="A", default=None)
    bid_price: Number | None = field(name="b", default=None)
    bid_quantity: Number | None = field(name="B", default=None)
    event: str | None = field(name="e", default=None)


class Trade(Struct, kw_only=True, gc=False):
    """`trade.<symbol>`: `t` is sequential per market; `m` true says that the buyer was the maker."""

    event_time: int = field(name="E")
    engine_time: int | None = field(name="T", default=None)
    symbol: str = field(name="s")
    trade_id: int = field(name="t")
    price: Number = field(name="p")
    quantity: Number = field(name="q")
    buyer_order_id: str | None = field(name="b", default=None)
    seller_order_id: str | None = field(name="a", default=None)
    is_buyer_maker: bool = field(name="m")
    event: str | None = field(name="e", default=None)


class Ticker(Struct, kw_only=True, gc=False):
    """`ticker.<symbol>`: 24 hour statistics, once a second."""

    event_time: int = field(name="E")
    engine_time: int | None = field(name="T", default=None)
    symbol: str = field(name="s")
    first_price: Number | None = field(name="o", default=None)
    last_price: Number | None = field(name="c", default=None)
    high: Number | None = field(name="h", default=None)
    low: Number | None = field(name="l", default=None)
    base_volume: Number | None = field(name="v", default=None)
    quote_volume: Number | None = field(name="V", default=None)
    trades: int | None = field(name="n", default=None)
    event: str | None = field(name="e", default=None)


class ExternalTicker(Ticker, kw_only=True, gc=False):
    """`externalTicker.<symbol>`: a data provider's ticker of the market's asset, not of trades on the exchange."""


class StockPrice(Struct, kw_only=True, gc=False):
    """`stockPrice.<ticker>`: a provider's quote of a stock; bid, ask and session are null outside trading hours.

    Its fields are words, not letters, and the documentation does not state the unit of its time: see `micros_of_any_unit`.
    """

    symbol: str
    bid: Number | None = None
    ask: Number | None = None
    mid: Number | None = None
    timestamp: int | str
    session: str | None = None
    event: str | None = field(name="e", default=None)


class Kline(Struct, kw_only=True, gc=False):
    """`kline.<interval>.<symbol>`: `t` and `T` are ISO 8601 without a zone (UTC); prices are null if there was no trade."""

    event_time: int = field(name="E")
    symbol: str = field(name="s")
    start: str = field(name="t")
    end: str = field(name="T")
    open: Number | None = field(name="o", default=None)
    high: Number | None = field(name="h", default=None)
    low: Number | None = field(name="l", default=None)
    close: Number | None = field(name="c", default=None)
    base_volume: Number | None = field(name="v", default=None)
    trades: int | None = field(name="n", default=None)
    is_closed: bool = field(name="X")
    event: str | None = field(name="e", default=None)


class MarkPrice(Struct, kw_only=True, gc=False):
    """`markPrice.<symbol>`: `f`, `i` and `n` (milliseconds) are absent on markets without funding."""

    event_time: int = field(name="E")
    engine_time: int | None = field(name="T", default=None)
    symbol: str = field(name="s")
    mark_price: Number = field(name="p")
    funding_rate: Number | None = field(name="f", default=None)
    index_price: Number | None = field(name="i", default=None)
    next_funding_time_ms: int | None = field(name="n", default=None)
    event: str | None = field(name="e", default=None)


class OpenInterest(Struct, kw_only=True, gc=False):
    """`openInterest.<symbol>`: once in 60 s, in contracts."""

    event_time: int = field(name="E")
    engine_time: int | None = field(name="T", default=None)
    symbol: str = field(name="s")
    open_interest: Number | None = field(name="o", default=None)
    event: str | None = field(name="e", default=None)


class Liquidation(Struct, kw_only=True, gc=False):
    """`liquidation` (all markets) and `liquidation.<symbol>`."""

    event_time: int = field(name="E")
    engine_time: int | None = field(name="T", default=None)
    symbol: str = field(name="s")
    side: str = field(name="S")
    price: Number = field(name="p")
    quantity: Number = field(name="q")
    event: str | None = field(name="e", default=None)


M = TypeVar("M", bound=Struct)


class Decoder(Generic[M]):
    """Parses one kind of message: quickly if it is in the usual form, leniently if not.

    `unknown_fields` counts unknown fields by name. As long as there are none, a message takes one strict pass. After the first one,
    messages are parsed leniently and one in `SAMPLE` is checked for unknown names, so a new field does not cost speed.
    """

    SAMPLE = 1000

    def __init__(self, kind: type[M]) -> None:
        strict = msgspec.defstruct(
            kind.__name__, [], bases=(kind,), kw_only=True, gc=False, forbid_unknown_fields=True, module=__name__
        )
        self._kind = kind
        fields = msgspec.structs.fields(kind)
        self._known = {each.encode_name for each in fields}
        self._sides = [each.encode_name for each in fields if each.type == (list[Level] | None)]
        self._optional_numbers = optional_numbers(kind)
        self._lenient: Callable[[Any], M] = msgspec.json.Decoder(kind).decode
        self._quick = cast("Callable[[Any], M]", msgspec.json.Decoder(strict).decode)
        self._until_sample = 0
        self.unknown_fields: dict[str, int] = {}

    def __call__(self, data: Raw | bytes) -> M:
        """Parse the message in `data`.

        Raises:
            UnreadableMessageError: it is no JSON, or a required field is missing or has an impossible value.
        """
        try:
            message = self._quick(data)
        except msgspec.MsgspecError:
            return self._patiently(data)
        if self._until_sample:
            self._until_sample -= 1
            if not self._until_sample:
                return self._patiently(data)
        return message

    def _patiently(self, data: Raw | bytes) -> M:
        fields = parse_keeping_digits(data)
        if not isinstance(fields, dict):
            raise UnreadableMessageError(f"the message is no object: {_shown(data)}")
        unknown = fields.keys() - self._known
        if unknown:
            self._quick = self._lenient
        drop_empty(fields, self._optional_numbers)
        for name in [*unknown, *(f"{side}[]" for side in self._sides if cut_levels(fields.get(side)))]:
            self.unknown_fields[name] = self.unknown_fields.get(name, 0) + 1
        if self._quick is self._lenient:
            self._until_sample = self.SAMPLE
        try:
            return msgspec.convert(fields, self._kind, strict=False)
        except msgspec.ValidationError as error:
            raise UnreadableMessageError(
                f"the {self._kind.__name__} message cannot be understood ({error}): {_shown(data)}"
            ) from error


def optional_numbers(kind: type[Struct]) -> frozenset[str]:
    """The wire names of the numbers that a message may lack."""
    fields = msgspec.structs.fields(kind)
    return frozenset(each.encode_name for each in fields if each.type in (Number | None, int | None))


def drop_empty(fields: dict[str, Any], names: Iterable[str]) -> None:
    """Remove those of these fields that are empty text: they count as absent."""
    for name in names:
        if fields.get(name) == "":
            del fields[name]


def cut_levels(levels: Any) -> bool:
    """Cut each level to its price and quantity, which come first; return whether one had more parts."""
    if not isinstance(levels, list):
        return False
    long = [level for level in levels if isinstance(level, list) and len(level) > _PARTS_OF_A_LEVEL]
    for level in long:
        del level[_PARTS_OF_A_LEVEL:]
    return bool(long)


_PARTS_OF_A_LEVEL = 2


class NewEnvelopes:
    """Opens envelopes with fields that are new, in one pass; `unknown_fields` counts these in samples.

    One of `SAMPLE` envelopes is checked for names, so that a new field does not cost speed.
    """

    SAMPLE = 1000

    def __init__(self) -> None:
        self._open = msgspec.json.Decoder(NewEnvelope).decode
        self._until_sample = 0
        self.unknown_fields: dict[str, int] = {}

    def __call__(self, payload: bytes) -> Envelope:
        """Open the envelope of a data message.

        Raises:
            UnreadableMessageError: it is no JSON object with `stream` and `data`, or it has an `error`.
        """
        try:
            envelope = self._open(payload)
            if not self._until_sample:
                self._until_sample = self.SAMPLE
                for name in msgspec.json.decode(payload, type=dict[str, Raw]).keys() - _OF_AN_ENVELOPE:
                    self.unknown_fields[name] = self.unknown_fields.get(name, 0) + 1
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableMessageError(
                f"the message carries no data of a stream ({error}): {_shown(payload)}"
            ) from error
        if envelope.error is not None:
            raise UnreadableMessageError(f"the message is an error: {_shown(payload)}")
        self._until_sample -= 1
        return envelope


_OF_AN_ENVELOPE = {"stream", "data", "error"}
open_new_envelope = NewEnvelopes()
"""Opens what `Envelope` refuses because of a new field."""


def parse_keeping_digits(data: Raw | bytes) -> Any:
    """Parse JSON with every number as its original text, so that no digit is lost.

    Raises:
        UnreadableMessageError: the bytes are no JSON.
    """
    try:
        return json.loads(bytes(data), parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError) as error:
        raise UnreadableMessageError(f"not JSON ({error}): {_shown(data)}") from error


def _shown(data: Raw | bytes) -> str:
    text = bytes(data)
    return repr(text if len(text) <= 80 else text[:80] + b"...")
