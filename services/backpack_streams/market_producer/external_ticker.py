"""A data provider's tickers as ExternalTicker records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import ExternalTicker
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.feed.stream_spec import Message, StreamSpec
from backpack_streams.market_producer.ticker import message_of

_decode = Decoder(ExternalTicker)


def read(data: Any, kind: StreamKind) -> Message:
    """Parse a data provider's ticker of the market's asset. It is not about trades on the exchange.

    Args:
        data: the JSON text of the message's `data`, with the same fields as a ticker.
        kind: not used.

    Raises:
        UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
    """
    return message_of(_decode(data))


EXTERNAL_TICKER = StreamSpec(
    channel="externalTicker",
    record="ExternalTicker",
    read=read,
    topics={None: "market.external_ticker"},
    unknown_fields=lambda: _decode.unknown_fields,
)
