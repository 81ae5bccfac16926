"""Typed messages of the exchange's public streams.

Times are microseconds since the Unix epoch unless a name says otherwise; numbers with decimals stay text, exactly as sent.
"""

import msgspec
from msgspec import Raw, Struct, field

from backpack_streams.exchange.unknown_fields import UnknownFields
from backpack_streams.exchange.wire_decoding import start_of
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.exchange.wire_values import Number

Level = tuple[str, str]
"""Price and absolute quantity, as text."""


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


class NewEnvelopes:
    """Opens envelopes with fields that are new, in one pass; `unknown_fields` counts these in samples.

    One of `SAMPLE` envelopes is checked for names, so that a new field does not cost speed.
    """

    SAMPLE = 1000

    def __init__(self) -> None:
        self._open = msgspec.json.Decoder(NewEnvelope).decode
        self._until_sample = 0
        self.unknown_fields = UnknownFields()

    def __call__(self, payload: bytes) -> Envelope:
        """Open the envelope of a data message.

        Raises:
            UnreadableMessageError: not a JSON object with `stream` and `data`, or it has an `error`.
        """
        try:
            envelope = self._open(payload)
            if not self._until_sample:
                self._until_sample = self.SAMPLE
                for name in msgspec.json.decode(payload, type=dict[str, Raw]).keys() - _OF_AN_ENVELOPE:
                    self.unknown_fields.count(name)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise UnreadableMessageError(
                f"the message carries no data of a stream ({error}): {start_of(payload)}"
            ) from error
        if envelope.error is not None:
            raise UnreadableMessageError(f"the message is an error: {start_of(payload)}")
        self._until_sample -= 1
        return envelope


_OF_AN_ENVELOPE = {"stream", "data", "error"}
open_new_envelope = NewEnvelopes()
"""Opens what `Envelope` refuses because of a new field."""
