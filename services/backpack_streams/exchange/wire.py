"""Typed messages of the exchange's public streams, as tolerant as the wire is loose.

The quick way takes what the exchange sends on a normal day. What it does not take goes the patient way: numbers written as strings
and strings written as numbers are one, digits are kept as they were written, an optional number that is empty text is absent, a level
may have more than two parts, unknown fields are named so that they can be counted.
Times are microseconds since the Unix epoch unless a name says otherwise; numbers with decimals stay text, exactly as sent.
"""

import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Generic, TypeVar, cast

import msgspec
from msgspec import Meta, Raw, Struct, field

from backpack_streams.errors import ExchangeError

Number = Annotated[str, Meta(min_length=1)]
"""A number with decimals, as text. Empty text is none, and sends the message the patient way."""
Level = tuple[str, str]
"""Price and absolute quantity, as text."""


class UnreadableMessageError(ExchangeError):
    """A message that cannot be understood even the patient way."""


class Envelope(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """What every data message is wrapped in; `data` stays raw until the stream says what it is."""

    stream: str
    data: Raw


class NewEnvelope(Envelope, kw_only=True, forbid_unknown_fields=False, gc=False):
    """An envelope that may have fields nobody knows yet. With an `error` it is none."""

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
    """`externalTicker.<symbol>`: a ticker of what a data provider says of the market's asset, not of trades made here."""


class StockPrice(Struct, kw_only=True, gc=False):
    """`stockPrice.<ticker>`: a provider's quote of a stock; bid, ask and session are null outside of trading hours.

    Words and not letters, and one time whose unit the documentation does not say: see `micros_of_any_unit`.
    """

    symbol: str
    bid: Number | None = None
    ask: Number | None = None
    mid: Number | None = None
    timestamp: int | str
    session: str | None = None
    event: str | None = field(name="e", default=None)


class Kline(Struct, kw_only=True, gc=False):
    """`kline.<interval>.<symbol>`: `t` and `T` are ISO 8601 without a zone (UTC); prices are null while no trade happened."""

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
    """Reads one kind of message, quickly where it is as always, patiently where it is not.

    `unknown_fields` counts fields that are not known, by name. While there are none a message costs one strict pass. Once one was
    seen, messages are read leniently and one in `SAMPLE` is looked at for unknown names, so a new field costs no speed.
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
        """The message in `data`.

        Raises:
            UnreadableMessageError: it is no JSON, or a field that must be there is missing or senseless.
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
    """The names on the wire of the numbers that a message may lack."""
    fields = msgspec.structs.fields(kind)
    return frozenset(each.encode_name for each in fields if each.type in (Number | None, int | None))


def drop_empty(fields: dict[str, Any], names: Iterable[str]) -> None:
    """Takes those fields for absent that are empty text."""
    for name in names:
        if fields.get(name) == "":
            del fields[name]


def cut_levels(levels: Any) -> bool:
    """Leaves each level its price and its quantity, which come first. Whether there was more in one."""
    if not isinstance(levels, list):
        return False
    long = [level for level in levels if isinstance(level, list) and len(level) > _PARTS_OF_A_LEVEL]
    for level in long:
        del level[_PARTS_OF_A_LEVEL:]
    return bool(long)


_PARTS_OF_A_LEVEL = 2


class NewEnvelopes:
    """Opens envelopes that have fields which were not there yesterday, in one pass; `unknown_fields` counts them in samples.

    Of `SAMPLE` envelopes one is looked at for names, so that a new field costs no speed.
    """

    SAMPLE = 1000

    def __init__(self) -> None:
        self._open = msgspec.json.Decoder(NewEnvelope).decode
        self._until_sample = 0
        self.unknown_fields: dict[str, int] = {}

    def __call__(self, payload: bytes) -> Envelope:
        """The envelope of a data message.

        Raises:
            UnreadableMessageError: it is none: no JSON object with `stream` and `data`, or one with an `error`.
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
"""Opens what `Envelope` refuses for a field that is new."""


def parse_keeping_digits(data: Raw | bytes) -> Any:
    """JSON with every number as the text it was written as, so that no digit is lost.

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
