"""The shell of a producer service: connects sockets and Kafka through a `Delivery`."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence

from prometheus_client.registry import Collector

from backpack_streams.backoff import Backoff
from backpack_streams.errors import UsageError
from backpack_streams.exchange.clock import ExchangeClock
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.session_actions import CoverageEvent, Notice, NoticeKind
from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.streams import parse_kind, split_stream
from backpack_streams.exchange.subscriptions import Sign
from backpack_streams.feed import reports
from backpack_streams.feed.beginning import Beginning, now
from backpack_streams.feed.clock_watch import ClockWatch
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.delivery import Delivery, FrameCounts
from backpack_streams.feed.disproofs import Disproofs
from backpack_streams.feed.exchange_access import connection_settings, rest_settings, session_settings
from backpack_streams.feed.exchange_measures import clock_measures, rest_measures
from backpack_streams.feed.family import Family
from backpack_streams.feed.gap_reasons import loss_reasons
from backpack_streams.feed.market_list import MarketList
from backpack_streams.feed.market_streams import STOCK_PRICE, expectation, streams_for
from backpack_streams.feed.markets import ListedMarket, Selection
from backpack_streams.feed.measures import market_list_measures, shard_measures
from backpack_streams.feed.producer_measures import producer_measures
from backpack_streams.feed.publishing import Publishing, now_us
from backpack_streams.feed.read_pause import ReadPause
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.settings import ProducerSettings
from backpack_streams.feed.start import Start
from backpack_streams.feed.stream_feed import StreamFeed
from backpack_streams.feed.vouching import Vouching
from backpack_streams.feed.watermarks import WATERMARK
from backpack_streams.feed.what_kafka_has import KafkaLook
from backpack_streams.runtime.loop import first_to_end

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25
_MARKETS_FIRST_RETRY_SECONDS, _MARKETS_LONGEST_RETRY_SECONDS = 2.0, 30.0


class Producer:
    """One producer service. `open` connects and lists the markets; `run` serves."""

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
        self._rest = RestClient(rest_settings(settings))
        self._clock = ExchangeClock()
        self._market_list = MarketList(self._rest, settings.market_types)
        self._securities: tuple[str, ...] = ()
        self._connection = Connection(
            settings.ws_url,
            self._on_frame,
            on_notice=self._on_notice,
            on_coverage=self._on_coverage,
            on_failure=self._on_failure,
            deliveries=FrameCounts(lambda: self._router.feeds),
            settings=connection_settings(settings, read_interval_seconds=settings.linger_ms / 1000),
            session_settings=session_settings(settings, settings.connections),
            sign=sign,
        )
        self._coverage = Coverage()
        self._router = FrameRouter(
            families,
            self._coverage,
            self._publishing.lane,
            self._publishing.encoder,
            self._reporter,
            self._connection.error_frame,
            self._connection.unwanted_frame,
            self._selection.takes,
            self._publishing.publisher.has_room,
        )
        self._pause = ReadPause(self._connection.pause_reading, self._connection.resume_reading)
        self._start = Start(time.monotonic())
        self._delivery = Delivery(self._coverage, self._router, self._pause, self._start)
        self._vouching = Vouching(
            self._name, self._publishing, self._router, self._coverage, settings.watermark_interval_ms
        )
        self._listed = False

    async def open(self) -> "Producer":
        """Connect to Kafka, create missing topics and list the markets.

        Raises:
            BackpackStreamsError: Kafka cannot be reached, or a symbol is unknown.
        """
        try:
            topics = {self._by_channel[kind.channel].topic(kind) for kind in self._kinds}
            await self._publishing.open((*topics, WATERMARK))
            await self._start_streams()
        except BaseException:  # whatever ended the start, close what was opened
            await self._publishing.close()
            await self._rest.close()
            raise
        return self

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then hand the rest to Kafka.

        Raises:
            StartError: Kafka's content could not be read at the start; nothing was published.
        """
        leave = asyncio.Event()
        socket = asyncio.create_task(self._connection.run(leave), name="sockets")
        look = KafkaLook(self._publishing, self._selection.takes, self._feed_of)
        beginning = Beginning(self._connection, self._delivery, self._vouching, self._publishing.publisher, look)
        starting = asyncio.create_task(beginning.run(), name="start")
        chores = [
            asyncio.create_task(_wait(stop), name="stop"),
            asyncio.create_task(self._tick(), name="tick"),
            asyncio.create_task(self._publishing.until_failed(), name="publisher"),
            *(asyncio.create_task(work, name=name) for name, work in self._chores()),
        ]
        try:
            await first_to_end([socket, *chores], starting)
        finally:
            for task in (starting, *chores):
                task.cancel()
            await asyncio.gather(starting, *chores, return_exceptions=True)
            leave.set()
            await asyncio.gather(socket, return_exceptions=True)
            if self._start.is_over:
                self._publishing.take_last()
                self._router.on_tick(*now())
                await self._vouching.last()
            else:
                self._start.abandon()
            await self._publishing.close()
            await self._rest.close()

    def _chores(self) -> Iterable[tuple[str, Coroutine[None, None, None]]]:
        """The background tasks besides the frames, by name."""
        yield "markets", self._follow_markets()
        yield "clock", ClockWatch(self._rest, self._clock).run()
        yield "disproofs", Disproofs(self._publishing, self._router.feeds, self._connection.doubt).run()

    def failures(self) -> list[str]:
        """Why the service cannot continue."""
        return self._publishing.failures()

    def readiness(self) -> list[str]:
        """Why the service is not ready."""
        reasons = []
        if not self._listed:
            reasons.append("the list of markets is not there yet")
        elif not self._router.feeds:
            reasons.append("no market of ours is open")
        uncovered = self._coverage.uncovered() - self._connection.silent_streams
        rejected = uncovered & self._connection.rejected_streams
        missing = len(uncovered) if len(rejected) == len(self._router.feeds) else len(uncovered - rejected)
        if missing:
            reasons.append(f"{missing} of {len(self._router.feeds)} subscriptions are not confirmed by the exchange")
        if not self._start.is_over:
            problem = f": {self._start.problem}" if self._start.problem else ""
            reasons.append(f"what Kafka holds already is not known yet{problem}")
        elif not self._start.others_know:
            reasons.append("the instance that hands over has not gone on past the first watermark of this one yet")
        if self._reporter.lost_losses:
            reasons.append(
                "reports of losses could not be published, so it vouches for nothing; see the log, then restart it"
            )
        reasons += [f"the sockets are not read: {reason}" for reason in self._pause.reasons]
        return reasons + self._publishing.readiness()

    def collectors(self) -> Iterable[Collector]:
        """The collectors for /metrics."""
        return (
            *producer_measures(
                self._connection, self._delivery, self._families, per_stream=self._settings.metrics_per_symbol
            ),
            *self._vouching.collectors(),
            *self._publishing.collectors(),
            *rest_measures(self._rest),
            *clock_measures(self._clock),
            *self._own_measures(),
        )

    def _own_measures(self) -> Iterable[Collector]:
        """The collectors that not every producer has."""
        return (
            *market_list_measures(self._market_list),
            *shard_measures(self._settings.shard_index, self._settings.shard_count),
        )

    # Start.

    async def _start_streams(self) -> None:
        """List the markets and subscribe to their streams."""
        self._subscribe(await self._markets_patiently())

    async def _markets_patiently(self) -> list[ListedMarket]:
        """List the markets, retrying until the exchange answers: it may be down when the producer starts."""
        backoff = Backoff(_MARKETS_FIRST_RETRY_SECONDS, _MARKETS_LONGEST_RETRY_SECONDS)
        while True:
            try:
                markets = await self._markets()
                self._selection.check(markets)
                return markets
            except RestError as error:
                logger.warning("the list of markets could not be fetched; trying again", extra={"error": str(error)})
            await asyncio.sleep(backoff.next_delay_seconds())

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
        """Subscribe to exactly these streams; the value says whether the stream is known to exist."""
        gone = self._router.feeds.keys() - streams.keys()
        for feed in [self._router.feeds[name] for name in sorted(gone)]:
            detail = "the market is closed or not ours"
            self._reporter.status(
                stream=feed.name, symbol=feed.symbol, status="UNSUBSCRIBED", detail=detail, changed_us=now_us()
            )
            left = self._coverage.leave(feed.name, now())
            if left is not None and left.since_us is not None:
                last_id = feed.last_published_id if feed.family.chained else None
                self._router.left_behind(feed, left.since_us, left.until_us, left.reason, last_id=last_id)
        new = self._router.want(streams)
        self._coverage.want(streams)
        self._delivery.expect(name for name, must_deliver in streams.items() if must_deliver)
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

    # Events of the sockets.

    def _on_frame(self, link: int, payload: bytes) -> None:
        self._delivery.on_frame(link, payload, time.time_ns() // 1000)

    def _on_coverage(self, event: CoverageEvent) -> None:
        self._delivery.on_coverage(event, now())

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
        if feed is not None:
            feed.amiss()
        if notice.kind is NoticeKind.STREAM_REJECTED:
            self._coverage.refused(notice.stream)
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

    # Background tasks.

    async def _follow_markets(self) -> None:
        while True:
            await asyncio.sleep(self._settings.market_refresh)
            try:
                self._subscribe(await self._markets())
            except (RestError, UsageError) as error:
                logger.warning(
                    "the list of markets could not be fetched; the last one stands", extra={"error": str(error)}
                )

    async def _tick(self) -> None:
        publisher = self._publishing.publisher
        while True:
            await asyncio.sleep(min(TICK_SECONDS, self._settings.watermark_interval_ms / 1000))
            doubted = self._delivery.on_tick(now(), publisher.buffered_bytes / publisher.max_buffer_bytes)
            for stream, evidence in doubted.items():
                self._connection.doubt([stream], evidence)
            if self._start.is_over:
                self._vouching.on_tick(now())

    def _feed_of(self, stream: str) -> StreamFeed | None:
        """The feed of a stream that is ours, whether its market is open or not."""
        kind, symbol = split_stream(stream)
        is_ours = kind in self._kinds and bool(symbol) and self._selection.takes(symbol or "")
        return self._router.recall(stream) if is_ours else None

    def _stream_of(self, topic_name: str, symbol: str) -> str:
        feeds = self._router.feeds.values()
        return next((feed.name for feed in feeds if feed.symbol in (symbol, "") and feed.topic == topic_name), "")


_STATUS_OF_NOTICE = {NoticeKind.STREAM_REJECTED: "REJECTED", NoticeKind.STREAM_SILENT: "SILENT"}


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()
