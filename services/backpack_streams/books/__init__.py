"""Order books rebuilt from Kafka alone: right, or saying that they are not."""

from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.order_book import Coverage, Fill, Level, OrderBook, Side
from backpack_streams.books.sequencer import Sequencer, Verdict
from backpack_streams.books.stream import BookStream, BookUpdate

__all__ = [
    "BookStream",
    "BookUpdate",
    "Coverage",
    "Fill",
    "Level",
    "MarketBook",
    "OrderBook",
    "Outcome",
    "Sequencer",
    "Side",
    "Status",
    "Verdict",
]
