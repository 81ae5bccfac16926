"""Service `market-producer`: the streams of single markets into Kafka."""

from backpack_streams.feed.listed_streams import listed_producer
from backpack_streams.market_producer.book_ticker import BOOK_TICKER
from backpack_streams.market_producer.depth import DEPTH
from backpack_streams.market_producer.external_ticker import EXTERNAL_TICKER
from backpack_streams.market_producer.kline import KLINE
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.market_producer.stock_price import STOCK_PRICE
from backpack_streams.market_producer.ticker import TICKER
from backpack_streams.market_producer.trade import TRADE
from backpack_streams.markets.selection import check_streams
from backpack_streams.runtime.service import run_service

NAME = "market-producer"
STREAM_SPECS = (DEPTH, BOOK_TICKER, TRADE, TICKER, KLINE, EXTERNAL_TICKER, STOCK_PRICE)


def main(settings: MarketProducerSettings) -> int:
    """Run the service until a signal; return the process's exit code.

    Args:
        settings: the service's settings.

    Raises:
        UsageError: the settings name a stream of another service.
    """
    check_streams(NAME, settings.streams, (spec.channel for spec in STREAM_SPECS))
    return run_service(NAME, lambda: listed_producer(NAME, settings, STREAM_SPECS), settings, settings)
