"""Reads markets and plant from Kafka alone, as the gateway does, but without trades and candles, which are not shown here."""

import asyncio
import time
from typing import Final

from backpack_streams.bus.access import ACCESS
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.gateway.book_feed import BookFeed
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.plant_view import PlantView
from backpack_streams.gateway.pulse import Pulse
from backpack_streams.gateway.record_feed import TAILS, RecordFeed
from backpack_streams.markets.market_streams import has_channel
from backpack_streams.markets.selection import CLOSED
from backpack_streams.screen.market_rows import BOOK_CHANNEL
from backpack_streams.screen.view import View, view_of

__all__ = ["PLANT_TAILS", "PlantReading"]

PLANT_TAILS: Final = {name: tail for name, tail in TAILS.items() if name.startswith("ops.")}
"""The topics in which services report on themselves, and how many records of each partition are read at the start."""
_LOOKS_FOR_RATES: Final = 2


class PlantReading:
    """Keeps markets and plant current: `run` reads, `view` returns what is known. If Kafka goes away, reading continues later."""

    def __init__(self, connection: KafkaConnection, codec: Codec, prefix: str, max_age: float) -> None:
        """Prepare; `run` connects.

        Args:
            connection: how to reach Kafka.
            codec: decodes the records.
            prefix: the prefix of the topics.
            max_age: the age in seconds of a book's newest watermark at which the book is no longer LIVE.
        """
        self.data = MarketData()
        """The read model of the markets."""
        plant = Plant()
        self._plant = PlantView(self.data, plant, lambda: time.time_ns() // 1000)
        self._books = BookFeed(connection, codec, prefix, max_age, self.data)
        self._records = RecordFeed(connection, codec, prefix, self.data, plant, PLANT_TAILS)
        self._pulse = Pulse(connection, prefix, self.data, plant, ACCESS["reader"].reads)

    async def run(self) -> None:
        """Read until cancelled. Failures of Kafka are retried."""
        async with asyncio.TaskGroup() as group:
            for part in (self._books, self._records, self._pulse):
                group.create_task(part.run(), name=type(part).__name__)

    def unknown(self) -> str:
        """Return what is not known yet, or why; empty once everything that Kafka held at the start was read.

        Message rates count as known after two answers of Kafka.
        """
        if not self._books.is_caught_up:
            return self.data.unavailable() or "catching up with the books"
        if not self._records.is_caught_up:
            return self.data.unavailable() or "catching up with the records"
        return "" if self._pulse.answers >= _LOOKS_FOR_RATES else "counting messages"

    def open_books(self) -> list[str]:
        """Return the symbols of the listed markets that have a book and are not closed."""
        return [
            symbol
            for symbol, row in self.data.markets().items()
            if row["status"] != CLOSED and has_channel(row["market_type"], BOOK_CHANNEL)
        ]

    def view(self) -> View:
        """Return the markets and the plant as of now."""
        return view_of(self.data, self._plant, self._pulse.answered_at, time.monotonic())
