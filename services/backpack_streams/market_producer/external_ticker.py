"""A data provider's tickers as ExternalTicker records."""

from typing import Any

from backpack_streams.exchange.streams import StreamKind
from backpack_streams.exchange.wire import Decoder, ExternalTicker
from backpack_streams.feed.family import Family, Reading
from backpack_streams.market_producer.ticker import reading_of

_decode = Decoder(ExternalTicker)


def read(data: Any, kind: StreamKind) -> Reading:
    """Read one ticker of a provider."""
    return reading_of(_decode(data))


EXTERNAL_TICKER = Family(
    channel="externalTicker",
    record="ExternalTicker",
    read=read,
    topics={None: "market.external_ticker"},
    unknown_fields=lambda: _decode.unknown_fields,
)
