"""Order books rebuilt from Kafka alone: right, or marked as not. `backpack_streams` exports the same names for users, and more."""

from typing import TYPE_CHECKING

from backpack_streams.lazy_names import lazy_names

if TYPE_CHECKING:
    from backpack_streams.books.book_update import BookUpdate
    from backpack_streams.books.changes import Changes, LevelChange
    from backpack_streams.books.market_book import MarketBook, Outcome, Status
    from backpack_streams.books.market_view import MarketView
    from backpack_streams.books.order_book import Coverage, Fill, Level, OrderBook, Side
    from backpack_streams.books.record_stream import RecordStream, StreamedRecord
    from backpack_streams.books.stream import BookStream
    from backpack_streams.sequencing.chain import Chain as Sequencer
    from backpack_streams.sequencing.chain import Verdict
    from backpack_streams.sequencing.trade_order import Gap

__all__ = [
    "BookStream",
    "BookUpdate",
    "Changes",
    "Coverage",
    "Fill",
    "Gap",
    "Level",
    "LevelChange",
    "MarketBook",
    "MarketView",
    "OrderBook",
    "Outcome",
    "RecordStream",
    "Sequencer",
    "Side",
    "Status",
    "StreamedRecord",
    "Verdict",
]

_WHERE = {
    "BookStream": "backpack_streams.books.stream",
    "BookUpdate": "backpack_streams.books.book_update",
    "Changes": "backpack_streams.books.changes",
    "Coverage": "backpack_streams.books.order_book",
    "Fill": "backpack_streams.books.order_book",
    "Gap": "backpack_streams.sequencing.trade_order",
    "Level": "backpack_streams.books.order_book",
    "LevelChange": "backpack_streams.books.changes",
    "MarketBook": "backpack_streams.books.market_book",
    "MarketView": "backpack_streams.books.market_view",
    "OrderBook": "backpack_streams.books.order_book",
    "Outcome": "backpack_streams.books.market_book",
    "RecordStream": "backpack_streams.books.record_stream",
    "Sequencer": "backpack_streams.sequencing.chain:Chain",
    "Side": "backpack_streams.books.order_book",
    "Status": "backpack_streams.books.market_book",
    "StreamedRecord": "backpack_streams.books.record_stream",
    "Verdict": "backpack_streams.sequencing.chain",
}
if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(globals(), _WHERE)
