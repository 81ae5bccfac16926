"""Service `market-producer`: the streams of single markets into Kafka."""

from backpack_streams.feed.markets import check_streams
from backpack_streams.feed.producer import Producer
from backpack_streams.market_producer.book_ticker import BOOK_TICKER
from backpack_streams.market_producer.depth import DEPTH
from backpack_streams.market_producer.external_ticker import EXTERNAL_TICKER
from backpack_streams.market_producer.kline import KLINE
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.market_producer.stock_price import STOCK_PRICE
from backpack_streams.market_producer.ticker import TICKER
from backpack_streams.market_producer.trade import TRADE
from backpack_streams.runtime.service import run_service

NAME = "market-producer"
FAMILIES = (DEPTH, BOOK_TICKER, TRADE, TICKER, KLINE, EXTERNAL_TICKER, STOCK_PRICE)


def main(settings: MarketProducerSettings) -> int:
    """Run the service until a signal; return the exit code."""
    check_streams(NAME, settings.streams, (family.channel for family in FAMILIES))
    return run_service(NAME, lambda: Producer(NAME, settings, FAMILIES), settings, settings)
