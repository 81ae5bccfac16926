"""Runs rest-poller: connects the REST client and Kafka with the plans that decide what to request."""

import asyncio
import logging
import time
from collections.abc import Collection, Iterable, Mapping
from functools import partial
from typing import Any

from prometheus_client.registry import Collector

from backpack_streams.backoff import Backoff
from backpack_streams.errors import BusError
from backpack_streams.exchange.clock import ExchangeClock
from backpack_streams.exchange.limits import LimitSettings
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange_clients.from_settings import rest_settings
from backpack_streams.exchange_clients.measures import clock_measures, rest_measures
from backpack_streams.markets.known_markets import KnownMarkets, ListAnswer, symbol_in
from backpack_streams.markets.market_list import tell
from backpack_streams.markets.market_streams import has_channel
from backpack_streams.markets.measures import shard_measures
from backpack_streams.markets.selection import ListedMarket, Selection, shard_of
from backpack_streams.publishing import reports
from backpack_streams.publishing.clock_watch import ClockWatch
from backpack_streams.publishing.publishing import Publishing, now_us
from backpack_streams.publishing.reporter import NO_CHANNEL
from backpack_streams.publishing.sources import REST
from backpack_streams.rest_poller.asking import Asker
from backpack_streams.rest_poller.catalogue import Endpoint, Publish, Subject, endpoints
from backpack_streams.rest_poller.measures import PollCounts, gap_measures, polling_measures
from backpack_streams.rest_poller.publication import Polled, Publication, as_of_us
from backpack_streams.rest_poller.recall import recall_history, recall_references
from backpack_streams.rest_poller.refiller import TOPICS as REFILLED_TOPICS
from backpack_streams.rest_poller.refiller import Refiller
from backpack_streams.rest_poller.refreshes import Refreshes
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.rest_poller.snapshot_fetcher import SnapshotFetcher
from backpack_streams.runtime.loop import BackgroundTasks

logger = logging.getLogger(__name__)

NAME = "rest-poller"
MARKETS = "reference.market"
LENDING_MARKETS = "reference.borrow_lend_market"
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 60.0
_LOOK_SECONDS = 2.0
"""How often an endpoint without subjects checks for some."""
_PERPETUALS = frozenset({"PERP", "IPERP"})


class Poller:
    """One rest-poller. `open` connects; `run` polls until it is told to stop."""

    def __init__(self, settings: RestPollerSettings) -> None:
        """Prepare; `open` connects.

        Raises:
            UsageError: a setting is invalid, or a file that it names is unusable.
        """
        self._settings = settings
        name = NAME if settings.shard_count == 1 else f"{NAME}-{settings.shard_index}"
        self._publishing = Publishing(name, settings, lambda _, symbol, __: symbol)
        self._reporter = self._publishing.reporter
        self._reporter.expect(NO_CHANNEL, (reports.REJECTED_BY_KAFKA,))
        limits = LimitSettings(share=settings.own_rate_limit_share)
        self._rest = RestClient(rest_settings(settings, limits=limits))
        symbols = None if settings.symbols == "all" else frozenset(settings.symbols)
        self._selection = Selection(symbols, settings.shard_index, settings.shard_count)
        self._endpoints = endpoints(settings)
        self._publication = Publication(
            self._publishing.codec,
            settings.topic_prefix,
            self._endpoints,
            self._send,
            self._dead_letter,
            self._is_ours,
            self._selects,
        )
        self._asker = Asker(self._rest, self._publishing.codec, self._endpoints, self._publication.histories)
        self._recalled: dict[str, set[str]] = {}
        self._lending_markets: list[str] = []
        self._refreshes = Refreshes()
        self._background = BackgroundTasks()
        self._refiller = Refiller(self._publishing, self._rest, self._selection.takes, self._refreshes.ask)
        self._snapshot_fetcher = SnapshotFetcher(self._publishing, self._rest, settings, self._refiller.take)
        self._known = KnownMarkets()
        self._markets: list[ListedMarket] = []
        self._clock = ExchangeClock()
        self.counts = PollCounts(each.path for each in self._endpoints)

    async def open(self) -> "Poller":
        """Connect to Kafka, recall the contents of the reference topics, and load the market list. Retries until the
        exchange answers.

        Raises:
            BackpackStreamsError: Kafka is unreachable, a topic is missing, or a symbol is unknown.
        """
        try:
            await self._open()
        except BaseException:  # any failure: close what was opened
            await self._publishing.close()
            await self._rest.close()
            raise
        return self

    async def _open(self) -> None:
        names = {each.topic for each in self._endpoints}
        await self._publishing.open(
            {*names, *REFILLED_TOPICS, "market.book_snapshot", "market.depth", "ops.book_audit"}
        )
        compacted = [each for each in self._endpoints if each.publish is Publish.CHANGES]
        await recall_references(self._publishing, {each.topic: partial(self._recalls, each) for each in compacted})
        [markets] = [each for each in self._endpoints if each.topic == MARKETS]
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        while not self._markets:
            await self._poll(markets, "")
            if not self._markets:
                await asyncio.sleep(backoff.next_delay_seconds())
        self._selection.check(self._markets)

    async def run(self, stop: asyncio.Event) -> None:
        """Poll until `stop` is set, then flush to Kafka."""
        logger.info(
            "rate limits are shared with the other shards, but not with other programs at this address",
            extra={"share": self._settings.own_rate_limit_share, "shards": self._settings.shard_count},
        )
        tasks = [asyncio.create_task(self._repeat(each), name=each.name) for each in self._endpoints]
        tasks.append(asyncio.create_task(self._snapshot_fetcher.run(), name="snapshots"))
        tasks.append(asyncio.create_task(self._refiller.run(), name="refiller"))
        tasks.append(asyncio.create_task(self._retry_reports(), name="reports"))
        tasks.append(asyncio.create_task(self._publishing.until_failed(), name="publisher"))
        tasks.append(asyncio.create_task(ClockWatch(self._rest, self._clock).run(), name="clock"))
        try:
            await self._background.first_to_end(tasks, stop)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await self._publishing.close()
            await self._rest.close()

    def failures(self) -> list[str]:
        """Return why the service cannot continue; empty if it can."""
        return self._background.failures or self._publishing.failures()

    def readiness(self) -> list[str]:
        """Return why the service is not ready; empty if it is."""
        reasons = [] if self._markets else ["the market list is not available yet"]
        return reasons + self._publishing.readiness()

    def collectors(self) -> Iterable[Collector]:
        """Return the service's metrics."""
        return (
            *self._publishing.collectors(),
            *rest_measures(self._rest),
            *clock_measures(self._clock),
            *polling_measures(self.counts, self.intervals, lambda: self._asker.unknown_fields),
            *gap_measures(self._snapshot_fetcher, self._refiller),
            *shard_measures(self._settings.shard_index, self._settings.shard_count),
        )

    def intervals(self) -> dict[str, float]:
        """Return the polling interval by path in seconds; the shortest if a path is polled for several topics."""
        found: dict[str, float] = {}
        for each in self._endpoints:
            if each.interval and self._subjects(each):
                found[each.path] = min(each.interval, found.get(each.path, each.interval))
        return found

    def _recalls(self, endpoint: Endpoint, key: str, record: Mapping[str, Any] | None, timestamp_ms: int) -> str:
        """Take a record of a compacted topic. Its markets count as known, so that no single answer deletes them and no
        older answer changes them.
        """
        if endpoint.topic == MARKETS:
            made_at = time.monotonic() - max(0, now_us() - as_of_us(record, timestamp_ms)) / 1_000_000
            if record is None:
                self._known.forget(key, made_at)
            elif record["symbol"] == key:
                self._known.recall(_listed(record), made_at)
        return self._publication.recalls(endpoint, key, record, timestamp_ms)

    async def _retry_reports(self) -> None:
        while True:
            await asyncio.sleep(1)
            self._reporter.on_tick()

    async def _repeat(self, endpoint: Endpoint) -> None:
        if not endpoint.interval:
            await asyncio.Event().wait()
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        while True:
            started = time.monotonic()
            subjects = self._subjects(endpoint)
            is_served = await self._recall(endpoint, subjects) and all(
                [await self._poll(endpoint, subject) for subject in subjects]
            )
            due = started + (endpoint.interval if subjects else _LOOK_SECONDS)
            if is_served:
                backoff.reset()
            else:
                due = min(due, time.monotonic() + backoff.next_delay_seconds())
            await self._refreshes.pause(endpoint.topic, max(0.0, due - time.monotonic()))

    def _subjects(self, endpoint: Endpoint) -> list[str]:
        """Return the endpoint's subjects; none while their list is not available."""
        if endpoint.subject is Subject.PERPETUAL:
            return self._selection.of(market for market in self._markets if market.market_type in _PERPETUALS)
        if endpoint.subject is Subject.LENDING_MARKET:
            return [symbol for symbol in self._lending_markets if self._is_ours(symbol)]
        return [""]

    async def _recall(self, endpoint: Endpoint, subjects: list[str]) -> bool:
        """Learn how far the histories of new subjects reach in the topic. Returns False if Kafka does not answer."""
        if endpoint.publish is not Publish.ONCE_SETTLED:
            return True
        asked = self._recalled.setdefault(endpoint.name, set())
        series = {endpoint.series(subject) for subject in subjects} - asked
        if series:
            learn = partial(self._publication.recalls, endpoint)
            wanted = None if endpoint.subject is Subject.ALL else series
            try:
                await recall_history(self._publishing, endpoint.topic, learn, wanted)
            except BusError as error:
                logger.warning(
                    "reading a history failed; retrying", extra={"topic": endpoint.topic, "error": str(error)}
                )
                return False
            asked |= series
        return True

    async def _poll(self, endpoint: Endpoint, subject: str) -> bool:
        """Request once and publish the answer. Returns whether it was usable."""
        self.counts.polls[endpoint.path] += 1
        asked_at = time.monotonic()
        try:
            polled = await self._asker.ask(endpoint, subject)
        except RestError as error:
            self.counts.failures[endpoint.path] += 1
            logger.warning("poll failed", extra={"path": endpoint.name, "symbol": subject, "error": str(error)})
            return False
        age = polled.age_seconds or 0
        if endpoint.maximum_age is not None and age > endpoint.maximum_age:
            self.counts.stale_refused[endpoint.path] += 1
            logger.warning("stale answer refused", extra={"path": endpoint.name, "age_seconds": age})
            return False
        self.counts.last_success[endpoint.path] = time.monotonic()
        kept = self._learn(endpoint, polled, asked_at)
        self._publication.publish(endpoint, polled, kept)
        return True

    def _learn(self, endpoint: Endpoint, polled: Polled, asked_at: float) -> Collection[str]:
        """Update the lists of subjects. Returns the keys to keep even if the answer lacks them."""
        if endpoint.topic == MARKETS:
            self._take_markets(polled, asked_at)
            return frozenset(market.symbol for market in self._known.markets)
        if polled.rows and endpoint.topic == LENDING_MARKETS:
            self._lending_markets = sorted(row.fields["symbol"] for row in polled.rows)
        return ()

    def _take_markets(self, polled: Polled, asked_at: float) -> None:
        rows = [_listed(row.fields) for row in polled.rows]
        unreadable = [symbol_in(bad.raw) for bad in polled.bad_rows]
        for event in self._known.take(ListAnswer(rows, unreadable, polled.age_seconds, asked_at, polled.kinds)):
            tell("markets", event)
        if not self._known.is_listed:
            return
        self._markets = self._known.markets
        with_books = [market for market in self._markets if has_channel(market.market_type, "depth")]
        wanted = self._selection.of(with_books)
        self.counts.books_wanted = len(wanted)
        self._snapshot_fetcher.set_open(wanted)

    def _send(self, topic_name: str, key: bytes, value: bytes | None, timestamp_ms: int) -> bool:
        taken = self._publishing.partition_queue(topic_name, key).append(key, value, timestamp_ms)
        if not taken:
            logger.error("the send buffer is full; the next poll retries", extra={"topic": topic_name})
        return taken

    def _is_ours(self, key: str) -> bool:
        return shard_of(key, self._settings.shard_count) == self._settings.shard_index

    def _selects(self, symbol: str) -> bool:
        return self._is_ours(symbol) and (self._settings.symbols == "all" or symbol in self._settings.symbols)

    def _dead_letter(self, endpoint: Endpoint, payload: bytes, detail: str, received_us: int, reason: str) -> None:
        self._reporter.dead_letter(
            source=REST,
            reason=reason,
            detail=detail,
            payload=payload,
            origin=endpoint.path,
            symbol="",
            received_us=received_us or now_us(),
        )


def _listed(record: Mapping[str, Any]) -> ListedMarket:
    return ListedMarket(record["symbol"], record["market_type"], record["order_book_state"])
