"""The shell of rest-poller: the REST client on one side, Kafka on the other, plans that decide between them."""

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client.registry import Collector

from backpack_streams.bus.codec import Encoder
from backpack_streams.errors import CodecError
from backpack_streams.exchange.limits import LimitSettings
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.rest_decoding import Rows
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.feed import reports
from backpack_streams.feed.family import REST
from backpack_streams.feed.markets import ListedMarket, Selection, shard_of
from backpack_streams.feed.publishing import Publishing, now_us
from backpack_streams.rest_poller.catalogue import Endpoint, endpoints
from backpack_streams.rest_poller.changes import Reference, Said
from backpack_streams.rest_poller.measures import poller_measures
from backpack_streams.rest_poller.recall import recall_reference
from backpack_streams.rest_poller.seeder import Seeder
from backpack_streams.rest_poller.settings import RestPollerSettings

logger = logging.getLogger(__name__)

NAME = "rest-poller"
MARKETS = "/api/v1/markets"
_RETRY_SECONDS = 2.0
_FUTURES = frozenset({"PERP", "IPERP"})


class Poller:
    """One rest-poller. `open` connects; `run` polls until it is told to stop."""

    def __init__(self, settings: RestPollerSettings) -> None:
        self._settings = settings
        name = NAME if settings.shard_count == 1 else f"{NAME}-{settings.shard_index}"
        self._publishing = Publishing(name, settings, lambda _, symbol: symbol)
        self._reporter = self._publishing.reporter
        self._rest = RestClient(
            RestSettings(base_url=settings.rest_url, limits=LimitSettings(share=settings.rate_limit_share))
        )
        symbols = None if settings.symbols == "all" else frozenset(settings.symbols)
        self._selection = Selection(symbols, settings.shard_index, settings.shard_count)
        self._endpoints = endpoints(settings)
        self._references = {each.topic: Reference() for each in self._endpoints.values() if each.compacted}
        self._said = Said()
        self._encoders: dict[str, Encoder] = {}
        self._seeder = Seeder(self._publishing, self._rest, settings)
        self._markets: list[ListedMarket] = []
        self.polls: dict[str, int] = {}
        self.failures: dict[str, int] = {}
        self.stale_refused: dict[str, int] = {}
        self.last_success: dict[str, float] = {}

    async def open(self) -> "Poller":
        """Connects to Kafka and recalls what the reference topics hold.

        Raises:
            BackpackStreamsError: Kafka cannot be reached, or a symbol is unknown.
        """
        try:
            await self._open()
        except BaseException:  # whatever ended the start, what was opened is closed
            await self._publishing.close()
            await self._rest.close()
            raise
        return self

    async def _open(self) -> None:
        names = {each.topic for each in self._endpoints.values()}
        await self._publishing.open({*names, "market.book_snapshot", "market.depth"})
        self._encoders = {name: self._publishing.encoder(name) for name in names}
        for name, reference in self._references.items():
            await recall_reference(self._publishing, name, reference, self._is_ours)
        while not self._markets:
            await self._poll(self._endpoints[MARKETS], "")
            if not self._markets:
                await asyncio.sleep(_RETRY_SECONDS)
        self._selection.check(self._markets)

    async def run(self, stop: asyncio.Event) -> None:
        """Polls until `stop` is set, then hands Kafka what is left."""
        tasks = [asyncio.create_task(self._repeat(each), name=each.path) for each in self._endpoints.values()]
        tasks.append(asyncio.create_task(self._seeder.run(), name="seeder"))
        tasks.append(asyncio.create_task(self._retry_reports(), name="reports"))
        stopping = asyncio.create_task(stop.wait(), name="stop")
        try:
            done, _ = await asyncio.wait([*tasks, stopping], return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in (*tasks, stopping):
                task.cancel()
            await asyncio.gather(*tasks, stopping, return_exceptions=True)
            await self._publishing.close()
            await self._rest.close()

    def readiness(self) -> list[str]:
        """Why the service is not ready."""
        reasons = [] if self._markets else ["the list of markets is not there yet"]
        return reasons + self._publishing.readiness()

    def collectors(self) -> Iterable[Collector]:
        """What /metrics shows."""
        return (*self._publishing.collectors(), *poller_measures(self, self._seeder, self._rest))

    async def _retry_reports(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._reporter.on_tick()

    async def _repeat(self, endpoint: Endpoint) -> None:
        interval = endpoint.interval(self._settings)
        if not interval:
            await asyncio.Event().wait()
        while True:
            started = time.monotonic()
            for symbol in self._symbols_for(endpoint):
                await self._poll(endpoint, symbol)
            await asyncio.sleep(max(0.0, started + interval - time.monotonic()))

    def _symbols_for(self, endpoint: Endpoint) -> list[str]:
        if not endpoint.per_symbol:
            return [""]
        perpetuals = [market for market in self._markets if market.market_type in _FUTURES]
        return self._selection.of(perpetuals)

    async def _poll(self, endpoint: Endpoint, symbol: str) -> None:
        """One request and what comes of it; a failure waits for the next turn."""
        self.polls[endpoint.path] = self.polls.get(endpoint.path, 0) + 1
        try:
            answer = await endpoint.fetch(self._rest, symbol)
        except RestError as error:
            self.failures[endpoint.path] = self.failures.get(endpoint.path, 0) + 1
            logger.warning("poll failed", extra={"path": endpoint.path, "symbol": symbol, "error": str(error)})
            return
        age = answer.age_seconds or 0
        if endpoint.refuse_stale and age > self._settings.stale_after:
            self.stale_refused[endpoint.path] = self.stale_refused.get(endpoint.path, 0) + 1
            logger.warning("stale answer refused", extra={"path": endpoint.path, "age_seconds": age})
            return
        self.last_success[endpoint.path] = time.monotonic()
        for bad in answer.body.bad_rows:
            self._dead_letter(endpoint.path, bad.raw, bad.reason, answer.received_time_us, reports.UNPARSABLE)
        if endpoint.path == MARKETS and answer.body.rows:
            self._take_markets(answer.body.rows)
        self._publish(endpoint, answer)

    def _take_markets(self, rows: Iterable[Any]) -> None:
        self._markets = [ListedMarket(row.symbol, row.market_type, row.order_book_state) for row in rows]
        self._seeder.set_open(self._selection.of(self._markets))

    def _publish(self, endpoint: Endpoint, answer: Answer[Rows[Any]]) -> None:
        if endpoint.compacted:
            self._publish_changes(endpoint, answer)
            return
        records = self._records(endpoint, [row for row in answer.body.rows if self._selects(row.symbol)], answer)
        for record in self._said.news(records) if endpoint.per_symbol else records:
            if self._send(endpoint.topic, record) and endpoint.per_symbol:
                self._said.said(record)

    def _publish_changes(self, endpoint: Endpoint, answer: Answer[Rows[Any]]) -> None:
        reference = self._references[endpoint.topic]
        rows = {row.symbol: row for row in answer.body.rows if self._is_ours(row.symbol)}
        as_of_us = answer.received_time_us - (answer.age_seconds or 0) * 1_000_000
        raws = {key: row.raw for key, row in rows.items()}
        changed, gone = reference.changes(raws, as_of_us, complete=not answer.body.bad_rows)
        for record in self._records(endpoint, [rows[key] for key in changed], answer):
            if self._send(endpoint.topic, record):
                reference.holds(record["symbol"], record["raw"])
        for key in gone:
            if self._publishing.lane(endpoint.topic, key.encode()).append(
                key.encode(), None, answer.received_time_us // 1000
            ):
                reference.holds(key, None)

    def _records(self, endpoint: Endpoint, rows: Iterable[Any], answer: Answer[Rows[Any]]) -> list[dict[str, Any]]:
        """The rows as records; those that do not fit go to the dead letters."""
        records = []
        for row in rows:
            try:
                records.append(endpoint.row(row, answer.received_time_us, answer.age_seconds))
            except CodecError as error:
                payload = repr(row).encode("utf-8", "replace")
                self._dead_letter(
                    endpoint.path, payload, str(error), answer.received_time_us, reports.VALUE_DOES_NOT_FIT
                )
        return records

    def _send(self, topic_name: str, record: dict[str, Any]) -> bool:
        key = record["symbol"].encode()
        timestamp_us = record["event_time"] or record["received_time"]
        value = self._encoders[topic_name](record)
        taken = self._publishing.lane(topic_name, key).append(key, value, timestamp_us // 1000)
        if not taken:
            logger.error("no room in the buffer; the next poll brings it again", extra={"topic": topic_name})
        return taken

    def _is_ours(self, key: str) -> bool:
        return shard_of(key, self._settings.shard_count) == self._settings.shard_index

    def _selects(self, symbol: str) -> bool:
        return self._is_ours(symbol) and (self._settings.symbols == "all" or symbol in self._settings.symbols)

    def _dead_letter(self, path: str, payload: bytes, detail: str, received_us: int, reason: str) -> None:
        self._reporter.dead_letter(
            source=REST,
            reason=reason,
            detail=detail,
            payload=payload,
            origin=path,
            symbol="",
            received_us=received_us or now_us(),
        )
