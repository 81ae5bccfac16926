"""Reads from Kafka and from the services' HTTP pages what the demo shows, and passes it to the board."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from dataclasses import replace
from typing import Any, Final

import httpx

from backpack_streams.books import BookStream
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.bus.topics import TOPICS
from backpack_streams.demo.board import Board
from backpack_streams.demo.ports import HOST
from backpack_streams.demo.program import Program
from backpack_streams.demo.service_report import read_reasons, read_report
from backpack_streams.errors import BusError, CodecError
from backpack_streams.feed.market_streams import has_channel
from backpack_streams.feed.markets import ListedMarket, Selection

__all__ = ["Observer"]

logger = logging.getLogger(__name__)

_REST_SECONDS: Final = 0.25
"""Pause between two looks at the books: reading the updates of a pause at once costs a tenth of reading each by itself."""
_REPORTS_SECONDS: Final = 1.0
_SERVICES_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 2.0
_POLL_MILLIS: Final = 50
_DEPTH: Final = "market.depth"
_MARKETS, _GAPS, _DEAD_LETTERS = "reference.market", "ops.gap", "ops.dead_letter"
_BOOKS: Final = "depth"
_EVERY_MARKET: Final = Selection(symbols=None)


class Observer:
    """Open it once the topics exist and before a service writes: records that come later belong to this demo.

    `measures_lag`: whether the exchange's times are current. Those of a recording are off by the time since its start.
    """

    def __init__(
        self, connection: KafkaConnection, codec: Codec, topic_prefix: str, started_at: float, *, measures_lag: bool
    ) -> None:
        self._prefix = topic_prefix
        self._started_at = started_at
        self._measures_lag = measures_lag
        self._codec = codec
        self._books = BookStream(connection, topic_prefix=topic_prefix, codec=self._codec)
        self._reports = Reader(connection, codec)
        self._places: list[Place] = []
        self._read_before = 0
        self._listed: dict[str, ListedMarket] = {}
        self._stack = AsyncExitStack()
        self.board = Board(started_at, {})

    async def open(self) -> None:
        """Connect, and read what is in Kafka already.

        Raises:
            BusError: Kafka cannot be reached, or a topic is missing.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._books)
            await stack.enter_async_context(self._reports)
            await self._catch_up()
            for topic in TOPICS:
                self._places += await self._reports.places(topic.full_name(self._prefix))
            ends = await self._reports.ends(self._places)
            self.board = Board(self._started_at, self._by_topic(ends))
            self._read_before = self._books.updates
            self._reports.assign(await self._starts(ends))
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Disconnect. Does nothing if not open."""
        await self._stack.aclose()

    async def watch_kafka(self) -> None:
        """Pass what arrives in Kafka to the board, until cancelled.

        Raises:
            BusError: Kafka refuses. If Kafka does not answer, the observer waits.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._follow_books())
            group.create_task(self._follow_reports())

    async def watch_services(self, services: Sequence[tuple[Program, int]]) -> None:
        """Pass to the board what the services report on their metrics ports, until cancelled."""
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
            while True:
                for program, port in services:
                    await self._ask(client, program, port)
                await asyncio.sleep(_SERVICES_SECONDS)

    async def _catch_up(self) -> None:
        """Read what an earlier demo left in the same folder."""
        async with aclosing(self._books.rounds()) as rounds:
            async for updates in rounds:
                for _ in updates:
                    pass
                if self._books.is_caught_up:
                    return

    async def _follow_books(self) -> None:
        """Read two rounds after each pause: the first brings the updates of the pause, the second those that arrive just now."""
        board = self.board
        has_waited = True
        async with aclosing(self._books.rounds()) as rounds:
            async for updates in rounds:
                for update in updates:
                    board.saw_update(update)
                if self._books.waiting_records:
                    continue
                if has_waited or not self._measures_lag:
                    board.saw_backlog_end()
                else:
                    board.saw_round_end(time.time_ns() // 1000)
                if not has_waited:
                    await asyncio.sleep(_REST_SECONDS)
                has_waited = not has_waited

    async def _follow_reports(self) -> None:
        take: Mapping[str, Callable[[bytes, bytes | None], None]] = {
            self._prefix + _MARKETS: self._take_market,
            self._prefix + _GAPS: self._take_gap,
            self._prefix + _DEAD_LETTERS: self._take_dead_letter,
        }
        while True:
            for place, batch in (await self._reports.poll(_POLL_MILLIS)).items():
                for record in batch:
                    take[place.topic](record.key or b"", record.value)
            self.board.saw_listing(_EVERY_MARKET.of(self._listed.values()), time.monotonic())
            await self._look_at_ends()
            self.board.tick(time.monotonic())
            await asyncio.sleep(_REPORTS_SECONDS)

    async def _look_at_ends(self) -> None:
        try:
            ends = await self._reports.ends(self._places)
        except BusError as error:  # a broker that is busy or gone is reported by its own monitor
            logger.warning("kafka does not say how far its topics reach", extra={"error": str(error)})
            return
        self.board.saw_ends(self._by_topic(ends), self._books.updates - self._read_before, time.monotonic())

    def _by_topic(self, ends: Mapping[Place, int]) -> dict[str, int]:
        sums = {topic.name: 0 for topic in TOPICS}
        for (topic, _), end in ends.items():
            sums[topic.removeprefix(self._prefix)] += end
        return sums

    async def _starts(self, ends: Mapping[Place, int]) -> dict[Place, int]:
        """Return the start offsets: the list of markets from its beginning, gaps and dead letters from their ends."""
        markets = [place for place in self._places if place[0] == self._prefix + _MARKETS]
        events = {
            place: ends[place] for place in ends if place[0] in (self._prefix + _GAPS, self._prefix + _DEAD_LETTERS)
        }
        return events | await self._reports.beginnings(markets)

    def _take_market(self, key: bytes, value: bytes | None) -> None:
        symbol = key.decode("utf-8", "replace")
        if value is None:
            self._listed.pop(symbol, None)
        elif (row := self._decoded(value)) is not None and has_channel(row["market_type"], _BOOKS):
            self._listed[symbol] = ListedMarket(symbol, row["market_type"], row["order_book_state"])

    def _take_gap(self, _: bytes, value: bytes | None) -> None:
        if (row := self._decoded(value)) is not None:
            self.board.saw_gap(row)

    def _take_dead_letter(self, _: bytes, value: bytes | None) -> None:
        if (row := self._decoded(value)) is not None:
            self.board.saw_dead_letter(row)

    def _decoded(self, value: bytes | None) -> Mapping[str, Any] | None:
        try:
            return self._codec.decode(value or b"")[1]
        except CodecError as error:  # any program may write to the demo's Kafka
            logger.warning("a record cannot be read", extra={"error": str(error)})
            return None

    async def _ask(self, client: httpx.AsyncClient, program: Program, port: int) -> None:
        page = f"http://{HOST}:{port}"
        try:
            report = read_report((await client.get(f"{page}/metrics")).text)
            if not report.is_ready:
                report = replace(report, reasons=read_reasons((await client.get(f"{page}/readyz")).text))
        except (httpx.HTTPError, ValueError) as error:  # not up yet, or too busy; its end would be noticed elsewhere
            logger.info("a service does not answer", extra={"service": program.name, "error": str(error)})
            return
        note = "" if report.is_ready else await asyncio.to_thread(program.latest_trouble)
        self.board.saw_service(program.name, report, note, time.monotonic())
