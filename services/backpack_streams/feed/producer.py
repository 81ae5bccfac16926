"""The shell of a producer service: sockets on one side, Kafka on the other, a `FrameRouter` between them."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence

from prometheus_client.registry import Collector

from backpack_streams.errors import UsageError
from backpack_streams.exchange.clock import ExchangeClock
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.exchange.rest import RestClient, RestSettings
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.session_actions import Notice, NoticeKind
from backpack_streams.exchange.session_settings import Expectation, SessionSettings
from backpack_streams.exchange.streams import parse_kind, split_stream
from backpack_streams.exchange.subscriptions import Sign
from backpack_streams.feed import reports
from backpack_streams.feed.clock_watch import ClockWatch
from backpack_streams.feed.exchange_measures import (
    clock_measures,
    rest_measures,
    silent_measures,
    socket_measures,
    stream_measures,
)
from backpack_streams.feed.family import Family
from backpack_streams.feed.gap_reasons import loss_reasons
from backpack_streams.feed.market_list import MarketList
from backpack_streams.feed.market_streams import STOCK_PRICE, expectation, streams_for
from backpack_streams.feed.markets import ListedMarket, Selection
from backpack_streams.feed.measures import market_list_measures, router_measures, shard_measures
from backpack_streams.feed.overlap import Overlap
from backpack_streams.feed.publishing import Publishing, now_us
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.settings import ProducerSettings
from backpack_streams.feed.stream_feed import StreamFeed
from backpack_streams.feed.tails import Last, TailReader, last_of

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
PAUSE_AT_SHARE = 0.5
RESUME_AT_SHARE = 0.25
LONGEST_PAUSE_SECONDS = 10.0
"""A socket that is not read for long is cut by the exchange: after this a full buffer becomes a gap on record instead."""
_MARKETS_RETRY_SECONDS = 2.0
_FIRST_LINK_SECONDS = 5.0
_SUBSCRIBED_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_SETTLE_SECONDS = 0.5
_HELD_FRAMES = 300_000
_ERROR_BEGINS_BYTES = 64


class Producer:
    """One producer service. `open` connects and learns where things stand; `run` serves."""

    def __init__(
        self, name: str, settings: ProducerSettings, families: Sequence[Family], sign: Sign | None = None
    ) -> None:
        self._name = name if settings.shard_count == 1 else f"{name}-{settings.shard_index}"
        self._settings = settings
        self._families = families
        self._kinds = [parse_kind(text) for text in settings.streams]
        self._by_channel = {family.channel: family for family in families}
        self._selection = Selection(
            None if settings.symbols == "all" else frozenset(settings.symbols),
            settings.shard_index,
            settings.shard_count,
        )
        channels = {name: family.channel for family in families for name in family.topics.values()}
        self._publishing = Publishing(self._name, settings, self._stream_of, channels)
        self._reporter = self._publishing.reporter
        for family in families:
            self._reporter.expect(family.channel, loss_reasons(family))
        self._rest = RestClient(RestSettings(base_url=settings.rest_url))
        self._clock = ExchangeClock()
        self._market_list = MarketList(self._rest, settings.market_types)
        self._securities: tuple[str, ...] = ()
        self._router = FrameRouter(
            families,
            self._publishing.lane,
            self._publishing.encoder,
            self._reporter,
            self._on_error_frame,
            self._selection.takes,
            self._publishing.publisher.has_room,
        )
        self._connection = Connection(
            settings.ws_url,
            self._on_frame,
            on_notice=self._on_notice,
            on_links=self._on_links,
            on_pong=self._on_pong,
            on_failure=self._on_failure,
            last_seen=_LastSeen(self._router),
            settings=ConnectionSettings(read_interval_seconds=settings.linger_ms / 1000),
            session_settings=SessionSettings(connections=settings.connections),
            sign=sign,
        )
        self._held: list[tuple[int, bytes | None, int]] | None = []
        """Until the tails of the topics are known: frames as (link, payload, microseconds); without a payload, how many links."""
        self._links = 0
        self._first_link = asyncio.Event()
        self._listed = False
        self._paused_since: float | None = None
        self._pause_spent = False

    async def open(self) -> "Producer":
        """Connects to Kafka, makes missing topics, learns the markets.

        Raises:
            BackpackStreamsError: Kafka cannot be reached, or a symbol is unknown.
        """
        try:
            await self._publishing.open(self._by_channel[kind.channel].topic(kind) for kind in self._kinds)
            await self._start_streams()
        except BaseException:  # whatever ended the start, what was opened is closed
            await self._publishing.close()
            await self._rest.close()
            raise
        return self

    async def run(self, stop: asyncio.Event) -> None:
        """Serves until `stop` is set, then hands Kafka what is left."""
        leave = asyncio.Event()
        socket = asyncio.create_task(self._connection.run(leave), name="sockets")
        chores = [
            asyncio.create_task(_wait(stop), name="stop"),
            asyncio.create_task(self._tick(), name="tick"),
            *(asyncio.create_task(work, name=name) for name, work in self._chores()),
        ]
        try:
            await self._catch_up()
            await _first_to_end([socket, *chores])
        finally:
            leave.set()
            for chore in chores:
                chore.cancel()
            await asyncio.gather(socket, *chores, return_exceptions=True)
            self._release()
            self._router.on_tick(now_us())
            await self._publishing.close()
            await self._rest.close()

    def _chores(self) -> Iterable[tuple[str, Coroutine[None, None, None]]]:
        """What goes on beside the frames until the service stops, by name."""
        yield "markets", self._follow_markets()
        yield "clock", ClockWatch(self._rest, self._clock).run()

    def readiness(self) -> list[str]:
        """Why the service is not ready."""
        reasons = []
        if not self._listed:
            reasons.append("the list of markets is not there yet")
        if not self._links:
            reasons.append("no socket to the exchange is open")
        if self._held is not None:
            reasons.append("what is in Kafka already is not known yet")
        return reasons + self._publishing.readiness()

    def collectors(self) -> Iterable[Collector]:
        """What /metrics shows."""
        channels = [family.channel for family in self._families]
        return (
            *stream_measures(self._connection, channels, lambda: self._router.feeds),
            *silent_measures(self._connection, channels),
            *router_measures(self._router, self._families, self._settings.metrics_per_symbol),
            *self._publishing.collectors(),
            *socket_measures(self._connection),
            *rest_measures(self._rest),
            *clock_measures(self._clock),
            *self._own_measures(),
        )

    def _own_measures(self) -> Iterable[Collector]:
        """What not every producer shows."""
        return (
            *market_list_measures(self._market_list),
            *shard_measures(self._settings.shard_index, self._settings.shard_count),
        )

    # Start.

    async def _start_streams(self) -> None:
        """Learn what there is, and ask for it."""
        self._subscribe(await self._markets_patiently())

    async def _markets_patiently(self) -> list[ListedMarket]:
        """The exchange may be down when we start: that is weather, so we wait."""
        while True:
            try:
                markets = await self._markets()
                self._selection.check(markets)
                return markets
            except RestError as error:
                logger.warning("the list of markets cannot be had; trying again", extra={"error": str(error)})
            await asyncio.sleep(_MARKETS_RETRY_SECONDS)

    async def _markets(self) -> list[ListedMarket]:
        markets = await self._market_list.markets()
        if any(kind.channel == STOCK_PRICE for kind in self._kinds):
            self._securities = await self._market_list.securities()
        self._listed = True
        return markets

    def _subscribe(self, markets: Iterable[ListedMarket]) -> None:
        in_one = frozenset(family.channel for family in self._families if family.all_markets_in_one)
        self._want(streams_for(self._kinds, markets, self._selection, in_one, self._securities))

    def _want(self, streams: Mapping[str, bool]) -> None:
        """Be subscribed to these streams and no others; the value says whether the stream is known to exist."""
        gone = self._router.feeds.keys() - streams.keys()
        for feed in [self._router.feeds[name] for name in sorted(gone)]:
            detail = "the market is closed or not ours"
            self._reporter.status(
                stream=feed.name, symbol=feed.symbol, status="UNSUBSCRIBED", detail=detail, changed_us=now_us()
            )
        new = self._router.want(streams)
        for feed in new:
            self._reporter.status(
                stream=feed.name, symbol=feed.symbol, status="SUBSCRIBED", detail="asked for", changed_us=now_us()
            )
        if new or gone:
            logger.info("streams", extra={"subscribed": len(new), "dropped": len(gone), "all": len(streams)})
        self._connection.set_streams({name: self._expectation(name, must) for name, must in streams.items()})

    def _expectation(self, stream: str, must_deliver: bool) -> Expectation:
        kind, _ = split_stream(stream)
        return expectation(kind.channel, self._by_channel[kind.channel].max_silence_seconds, must_deliver)

    async def _catch_up(self) -> None:
        """Frames wait until the tails of the topics tell what was published last.

        The subscriptions come first: what another producer beside this one publishes meanwhile is then in the tails, and who is told
        that this one is ready may end the other.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._first_link.wait(), _FIRST_LINK_SECONDS)
        if self._first_link.is_set():
            await self._until_subscribed()
        await asyncio.sleep(_SETTLE_SECONDS)
        topics = {self._publishing.prefix + feed.topic for feed in self._router.feeds.values()}
        async with TailReader(self._publishing.connection, self._publishing.codec, topics) as tails:
            await self._wait_for_others(tails)
        for feed in self._router.feeds.values():
            last = self._last(tails, feed)
            if last is not None:
                feed.resume(*last)
        self._release()

    async def _until_subscribed(self) -> None:
        """Until the exchange has seen every subscription, or for a while: one without an answer must not cost the others."""
        give_up_at = time.monotonic() + _SUBSCRIBED_SECONDS
        while time.monotonic() < give_up_at:
            settled = self._connection.confirmed_streams | self._connection.rejected_streams
            if self._router.feeds.keys() <= settled:
                return
            await asyncio.sleep(_LOOK_SECONDS)

    async def _wait_for_others(self, tails: TailReader) -> None:
        """Where our messages begin after a topic's end, another producer may still be bringing what lies between."""
        first_ids = self._router.first_ids(payload for _, payload, _ in self._held or () if payload is not None)
        feeds = [self._router.feeds[name] for name in first_ids]
        overlap = Overlap(first_ids, time.monotonic())
        while overlap.waits(self._last_ids(tails, feeds), time.monotonic()):
            await asyncio.sleep(_LOOK_SECONDS)
            await tails.read_on()

    def _last_ids(self, tails: TailReader, feeds: Iterable[StreamFeed]) -> dict[str, int]:
        found = ((feed.name, self._last(tails, feed)) for feed in feeds)
        return {name: last.last_id for name, last in found if last is not None}

    def _last(self, tails: TailReader, feed: StreamFeed) -> Last | None:
        interval = feed.kind.parameter if feed.family.candles else None
        return last_of(tails.found, self._publishing.prefix + feed.topic, feed.symbol, interval)

    def _release(self) -> None:
        held, self._held = self._held or [], None
        for link, payload, received_us in held:
            if payload is None:
                self._router.set_links(link)
            else:
                self._router.on_frame(link, payload, received_us)

    # What the sockets say.

    def _on_frame(self, link: int, payload: bytes) -> None:
        received_us = time.time_ns() // 1000
        # An error belongs to the subscription whose Pong comes next: held, it would be nobody's.
        if self._held is None or _is_error(payload):
            self._router.on_frame(link, payload, received_us)
            return
        self._held.append((link, payload, received_us))
        if len(self._held) > _HELD_FRAMES:
            self._connection.pause_reading()

    def _on_links(self, links: int) -> None:
        self._links = links
        if self._held is None:
            self._router.set_links(links)
        else:  # in its place among the frames: those before and after it were not received without a break
            self._held.append((links, None, 0))
        if links:
            self._first_link.set()

    def _on_pong(self) -> None:
        """The exchange answered; who counts on its confirmations looks at them now."""

    def _on_error_frame(self, link: int, code: int, message: str) -> None:
        self._connection.error_frame(link, code, message)

    def _on_failure(self, link: int, payload: bytes, error: Exception) -> None:
        logger.error("a frame broke its handler", exc_info=error)
        self._reporter.dead_letter(
            reason=reports.INTERNAL, detail=repr(error), payload=payload, origin="", symbol="", received_us=now_us()
        )

    def _on_notice(self, notice: Notice) -> None:
        logger.info(
            notice.kind.value, extra={"detail": notice.message, "link": notice.link_id, "stream": notice.stream}
        )
        status = _STATUS_OF_NOTICE.get(notice.kind)
        if status is None or notice.stream is None:
            return
        feed = self._router.feeds.get(notice.stream)
        self._reporter.status(
            stream=notice.stream,
            symbol=split_stream(notice.stream)[1] or "",
            status=status,
            detail=notice.message,
            error_code=notice.code,
            last_id=feed.last_published_id if feed and feed.family.chained else None,
            last_received_us=feed.last_received_us or None if feed else None,
            changed_us=now_us(),
        )

    # Chores.

    async def _follow_markets(self) -> None:
        while True:
            await asyncio.sleep(self._settings.market_refresh)
            try:
                self._subscribe(await self._markets())
            except (RestError, UsageError) as error:
                logger.warning("the list of markets cannot be had; the last one stands", extra={"error": str(error)})

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self._held is None:
                self._router.on_tick(now_us())
                self._press_back()

    def _press_back(self) -> None:
        """While Kafka is behind, the sockets are not read for a little: TCP holds the exchange back."""
        publisher = self._publishing.publisher
        share = publisher.buffered_bytes / publisher.max_buffer_bytes
        if share < RESUME_AT_SHARE:
            self._pause_spent = False
        if self._paused_since is None:
            if share > PAUSE_AT_SHARE and not self._pause_spent:
                self._paused_since = time.monotonic()
                self._connection.pause_reading()
                logger.warning(
                    "kafka is behind; not reading the sockets for a while", extra={"buffer_share": round(share, 2)}
                )
        elif share < RESUME_AT_SHARE or time.monotonic() - self._paused_since > LONGEST_PAUSE_SECONDS:
            self._paused_since = None
            self._pause_spent = True
            self._connection.resume_reading()

    def _stream_of(self, topic_name: str, symbol: str) -> str:
        feeds = self._router.feeds.values()
        return next((feed.name for feed in feeds if feed.symbol in (symbol, "") and feed.topic == topic_name), "")


_STATUS_OF_NOTICE = {
    NoticeKind.STREAM_REJECTED: "REJECTED",
    NoticeKind.STREAM_SILENT: "SILENT",
    NoticeKind.STREAM_RECOVERED: "LIVE",
}


class _LastSeen(Mapping[str, float]):
    """When each stream delivered last on the monotonic clock: worked out when asked, so that a frame costs one assignment."""

    def __init__(self, router: FrameRouter) -> None:
        self._router = router

    def __getitem__(self, stream: str) -> float:
        received_us = self._router.feeds[stream].last_received_us
        if not received_us:
            raise KeyError(stream)
        return time.monotonic() - (now_us() - received_us) / 1_000_000

    def __iter__(self) -> Iterator[str]:
        return (name for name, feed in self._router.feeds.items() if feed.last_received_us)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _is_error(payload: bytes) -> bool:
    return payload.find(b'"error"', 0, _ERROR_BEGINS_BYTES) >= 0 and b'"stream"' not in payload


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


async def _first_to_end(tasks: Sequence["asyncio.Task[None]"]) -> None:
    """Waits for the first task to end; an error in it is raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
