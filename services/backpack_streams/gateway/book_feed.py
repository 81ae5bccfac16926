"""The task that keeps all order books of the read model current, from Kafka."""

import asyncio
import logging

from backpack_streams.backoff import Backoff
from backpack_streams.books.stream import BookStream
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.gateway.market_data import MarketData

__all__ = ["BookFeed"]

logger = logging.getLogger(__name__)

PART = "books"
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 0.5, 5.0


class BookFeed:
    """Reads all books with one `BookStream`, and opens another one whenever it ends."""

    def __init__(
        self, connection: KafkaConnection, codec: Codec, prefix: str, max_age: float, data: MarketData
    ) -> None:
        """Prepare; `run` connects.

        Args:
            connection: how to reach Kafka.
            codec: decodes the records.
            prefix: the prefix of the topics.
            max_age: the age in seconds of a book's newest watermark at which the book is no longer LIVE.
            data: the read model that gets the books.
        """
        self._connection = connection
        self._codec = codec
        self._prefix = prefix
        self._max_age = max_age
        self._data = data
        self.books: BookStream | None = None
        """The stream in use; None while none could be opened."""
        self._undecodable_before = 0

    @property
    def is_caught_up(self) -> bool:
        """Whether the books have reached the end that Kafka had when the stream connected."""
        return self.books is not None and self.books.is_caught_up

    @property
    def undecodable_records(self) -> int:
        """Number of records that could not be decoded since the start, by all streams so far."""
        return self._undecodable_before + (0 if self.books is None else self.books.undecodable_records)

    async def run(self) -> None:
        """Keep the books current until cancelled. Failures are logged, reported to the read model and retried."""
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._data.set_unavailable(PART, "the books are being read from Kafka")
        while True:
            try:
                await self._read(backoff)
            except BackpackStreamsError as error:
                logger.warning("the books cannot be read; trying again", extra={"error": str(error)})
                self._data.set_unavailable(PART, str(error))
            await asyncio.sleep(backoff.next_delay_seconds())

    async def _read(self, backoff: Backoff) -> None:
        stream = BookStream(
            self._connection,
            "all",
            conflate=True,
            max_age=self._max_age,
            topic_prefix=self._prefix,
            codec=self._codec,
        )
        async with stream as books:
            self._undecodable_before = self.undecodable_records
            self.books = books
            self._data.set_books(books.books)
            self._data.set_unavailable(PART, "")
            backoff.reset()
            self._data.books_changed(list(books.books))
            async for events in books.rounds():
                self._data.books_changed({update.symbol for update in events})
