"""Order books rebuilt from Kafka alone: right, or saying that they are not."""

from backpack_streams.books.changes import Changes, LevelChange
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.order_book import Coverage, Fill, Level, OrderBook, Side
from backpack_streams.books.record_stream import Hole, RecordStream, StreamedRecord
from backpack_streams.books.stream import BookStream, BookUpdate
from backpack_streams.sequencing.chain import Chain as Sequencer
from backpack_streams.sequencing.chain import Verdict

__all__ = [
    "BookStream",
    "BookUpdate",
    "Changes",
    "Coverage",
    "Fill",
    "Hole",
    "Level",
    "LevelChange",
    "MarketBook",
    "OrderBook",
    "Outcome",
    "RecordStream",
    "Sequencer",
    "Side",
    "Status",
    "StreamedRecord",
    "Verdict",
]
