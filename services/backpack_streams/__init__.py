"""Backpack Exchange's market and perpetual-futures data in Kafka, and order books rebuilt from Kafka alone.

Programs that read books and records import their names from here. A name that is not in `__all__` is private and may change:

    from backpack_streams import BookStream, Status

Each name is imported at its first use, so importing the package itself costs nothing.
"""

from typing import TYPE_CHECKING

from backpack_streams.lazy_names import lazy_names

if TYPE_CHECKING:
    from backpack_streams.books.book_update import BookUpdate
    from backpack_streams.books.changes import ChangeFollower, Changes, LevelChange
    from backpack_streams.books.market_book import Outcome, Status
    from backpack_streams.books.market_view import MarketView
    from backpack_streams.books.order_book import Coverage, Fill, KnownLevels, Level, OrderBook, Side
    from backpack_streams.books.record_stream import RecordStream, StreamedRecord, is_of
    from backpack_streams.books.record_topic import RecordTopic
    from backpack_streams.books.stream import BookStream
    from backpack_streams.books.sync import BookCopy, Books
    from backpack_streams.books.sync_records import Records
    from backpack_streams.bus.codec import Codec
    from backpack_streams.bus.connection import KafkaConnection, KafkaRefusedError, KafkaUnreachableError
    from backpack_streams.bus.connection import KafkaConnection as KafkaSettings
    from backpack_streams.bus.registry import known_schemas
    from backpack_streams.bus.registry_client import RegistryConnection
    from backpack_streams.errors import BackpackStreamsError, BookError, BusError, CodecError, UsageError
    from backpack_streams.sequencing.trade_order import Gap

__all__ = [
    "BackpackStreamsError",
    "BookCopy",
    "BookError",
    "BookStream",
    "BookUpdate",
    "Books",
    "BusError",
    "ChangeFollower",
    "Changes",
    "Codec",
    "CodecError",
    "Coverage",
    "Fill",
    "Gap",
    "KafkaConnection",
    "KafkaRefusedError",
    "KafkaSettings",
    "KafkaUnreachableError",
    "KnownLevels",
    "Level",
    "LevelChange",
    "MarketView",
    "OrderBook",
    "Outcome",
    "RecordStream",
    "RecordTopic",
    "Records",
    "RegistryConnection",
    "Side",
    "Status",
    "StreamedRecord",
    "UsageError",
    "is_of",
    "known_schemas",
]

__version__ = "0.1.0"

_WHERE = {
    "BackpackStreamsError": "backpack_streams.errors",
    "BookCopy": "backpack_streams.books.sync",
    "BookError": "backpack_streams.errors",
    "BookStream": "backpack_streams.books.stream",
    "BookUpdate": "backpack_streams.books.book_update",
    "Books": "backpack_streams.books.sync",
    "BusError": "backpack_streams.errors",
    "ChangeFollower": "backpack_streams.books.changes",
    "Changes": "backpack_streams.books.changes",
    "Codec": "backpack_streams.bus.codec",
    "CodecError": "backpack_streams.errors",
    "Coverage": "backpack_streams.books.order_book",
    "Fill": "backpack_streams.books.order_book",
    "Gap": "backpack_streams.sequencing.trade_order",
    "KafkaConnection": "backpack_streams.bus.connection",
    "KafkaRefusedError": "backpack_streams.bus.connection",
    "KafkaSettings": "backpack_streams.bus.connection:KafkaConnection",
    "KafkaUnreachableError": "backpack_streams.bus.connection",
    "KnownLevels": "backpack_streams.books.order_book",
    "Level": "backpack_streams.books.order_book",
    "LevelChange": "backpack_streams.books.changes",
    "MarketView": "backpack_streams.books.market_view",
    "OrderBook": "backpack_streams.books.order_book",
    "Outcome": "backpack_streams.books.market_book",
    "RecordStream": "backpack_streams.books.record_stream",
    "RecordTopic": "backpack_streams.books.record_topic",
    "Records": "backpack_streams.books.sync_records",
    "RegistryConnection": "backpack_streams.bus.registry_client",
    "Side": "backpack_streams.books.order_book",
    "Status": "backpack_streams.books.market_book",
    "StreamedRecord": "backpack_streams.books.record_stream",
    "UsageError": "backpack_streams.errors",
    "is_of": "backpack_streams.books.record_stream",
    "known_schemas": "backpack_streams.bus.registry",
}
if not TYPE_CHECKING:  # a checker knows the names above, and no others
    __getattr__, __dir__ = lazy_names(globals(), _WHERE)
