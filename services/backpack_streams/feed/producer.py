"""The shell of a producer service: connects sockets and Kafka through a `Delivery`."""

import asyncio
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prometheus_client.registry import Collector

from backpack_streams.exchange.clock import ExchangeClock
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.session_actions import CoverageEvent, Notice, NoticeKind
from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.streams import parse_kind, split_stream
from backpack_streams.exchange_clients.from_settings import connection_settings, rest_settings, session_settings
from backpack_streams.exchange_clients.measures import clock_measures, rest_measures
from backpack_streams.feed.beginning import Beginning, now
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.delivery import Delivery, FrameCounts
from backpack_streams.feed.disproofs import Disproofs
from backpack_streams.feed.gap_reasons import loss_reasons
from backpack_streams.feed.producer_measures import producer_measures
from backpack_streams.feed.read_pause import ReadPause
from backpack_streams.feed.router import FrameRouter
from backpack_streams.feed.settings import ProducerSettings
from backpack_streams.feed.start import Start
from backpack_streams.feed.stream_choice import ChooseStreams, Chore, Streams
from backpack_streams.feed.stream_feed import StreamFeed
from backpack_streams.feed.stream_spec import StreamSpec
from backpack_streams.feed.vouching import Vouching
from backpack_streams.feed.watermarks import WATERMARK
from backpack_streams.feed.what_kafka_has import KafkaLook
from backpack_streams.markets.market_streams import expectation
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing, now_us
from backpack_streams.runtime.loop import BackgroundTasks

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.25


class Producer:
    """One producer service. `open` connects and chooses the streams; `run` serves."""

    def __init__(
        self, name: str, settings: ProducerSettings, specs: Sequence[StreamSpec], choose: ChooseStreams
    ) -> None:
        """Build the service; nothing is connected before `open`.

        Args:
            name: name of the service; with several shards, the shard's index is appended.
            settings: the settings.
            specs: the stream specs of the channels that it carries.
            choose: makes the choice of streams from the REST client and the exchange's clock.
        """
        self._name = name if settings.shard_count == 1 else f"{name}-{settings.shard_index}"
        self._settings = settings
        self._specs = specs
        self._kinds = [parse_kind(text) for text in settings.streams]
        self._by_channel = {spec.channel: spec for spec in specs}
        channels = {name: spec.channel for spec in specs for name in spec.topics.values()}
        self._publishing = Publishing(self._name, settings, self._stream_of, channels)
        self._publishing.tell_deleted = lambda topic: self._router.on_deleted(topic, now())
        self._reporter = self._publishing.reporter
        for spec in specs:
            self._reporter.expect(spec.channel, loss_reasons(spec))
        self._rest = RestClient(rest_settings(settings))
        self._clock = ExchangeClock()
        self._choice = choose(self._rest, self._clock)
        self._connection = Connection(
            settings.ws_url,
            self._on_frame,
            on_notice=self._on_notice,
            on_coverage=self._on_coverage,
            on_failure=self._on_failure,
            deliveries=FrameCounts(lambda: self._router.feeds),
            settings=connection_settings(settings, read_interval_seconds=settings.linger_ms / 1000),
            session_settings=session_settings(settings, settings.connections),
            sign=self._choice.sign,
        )
        self._coverage = Coverage()
        self._router = FrameRouter(
            specs,
            self._coverage,
            self._publishing.partition_queue,
            self._publishing.encoder,
            self._reporter,
            self._connection.error_frame,
            self._connection.unwanted_frame,
            self._publishing.publisher.has_room,
        )
        self._pause = ReadPause(self._connection.pause_reading, self._connection.resume_reading)
        self._background = BackgroundTasks()
        self._start = Start(time.monotonic())
        self._delivery = Delivery(self._coverage, self._router, self._pause, self._start)
        self._vouching = Vouching(
            self._name, self._publishing, self._router, self._coverage, settings.watermark_interval_ms
        )

    async def open(self) -> "Producer":
        """Connect to Kafka, create missing topics and subscribe.

        Raises:
            BackpackStreamsError: Kafka cannot be reached, or a symbol is unknown.
        """
        try:
            topics = {self._by_channel[kind.channel].topic(kind) for kind in self._kinds}
            await self._publishing.open((*topics, WATERMARK))
            self._want(await self._choice.first())
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
        look = KafkaLook(self._publishing, self._feed_of)
        beginning = Beginning(self._connection, self._delivery, self._vouching, self._publishing.publisher, look)
        starting = asyncio.create_task(beginning.run(), name="start")
        chores = [
            asyncio.create_task(self._tick(), name="tick"),
            asyncio.create_task(self._publishing.until_failed(), name="publisher"),
            *(asyncio.create_task(work, name=name) for name, work in self._chores()),
        ]
        try:
            await self._background.first_to_end([socket, *chores], stop, starting)
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

    def _chores(self) -> Iterable[Chore]:
        """Return the background tasks besides the frames, by name."""
        yield from self._choice.chores(self._want)
        if any(spec.sequenced for spec in self._specs):
            yield "disproofs", Disproofs(self._publishing, self._router.feeds, self._connection.doubt).run()

    def failures(self) -> list[str]:
        """Return why the service cannot continue."""
        return self._background.failures or self._publishing.failures()

    def readiness(self) -> list[str]:
        """Return why the service is not ready."""
        reasons = self._choice.problems()
        if not reasons and not self._router.feeds:
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
        """Return the collectors for /metrics."""
        return (
            *producer_measures(
                self._connection, self._delivery, self._specs, per_stream=self._settings.metrics_per_symbol
            ),
            *self._vouching.collectors(),
            *self._publishing.collectors(),
            *rest_measures(self._rest),
            *clock_measures(self._clock),
            *self._choice.collectors(),
        )

    # Subscriptions.

    def _want(self, streams: Streams) -> None:
        """Subscribe to exactly these streams."""
        gone = self._router.feeds.keys() - streams.keys()
        for feed in [self._router.feeds[name] for name in sorted(gone)]:
            detail = "the market is closed or not ours"
            self._reporter.status(
                stream=feed.name, symbol=feed.symbol, status="UNSUBSCRIBED", detail=detail, changed_us=now_us()
            )
            left = self._coverage.leave(feed.name, now())
            if left is not None and left.since_us is not None:
                last_id = feed.last_published_id if feed.spec.sequenced else None
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

    def _on_frame(self, socket: int, payload: bytes) -> None:
        self._delivery.on_frame(socket, payload, time.time_ns() // 1000)

    def _on_coverage(self, event: CoverageEvent) -> None:
        self._delivery.on_coverage(event, now())
        if not self._coverage.uncovered():
            self._choice.on_all_covered()

    def _on_failure(self, socket: int, payload: bytes, error: Exception) -> None:
        logger.error("a frame broke its handler", exc_info=error)
        self._reporter.dead_letter(
            reason=reports.INTERNAL, detail=repr(error), payload=payload, origin="", symbol="", received_us=now_us()
        )

    def _on_notice(self, notice: Notice) -> None:
        logger.info(
            notice.kind.value, extra={"detail": notice.message, "socket": notice.socket_id, "stream": notice.stream}
        )
        self._choice.on_notice(notice)
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
            last_id=feed.last_published_id if feed and feed.spec.sequenced else None,
            last_received_us=feed.last_received_us or None if feed else None,
            changed_us=now_us(),
        )

    # Background tasks.

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
        """Return the feed of a stream that is ours, whether its market is open or not."""
        kind, symbol = split_stream(stream)
        is_ours = kind in self._kinds and bool(symbol) and self._choice.takes(symbol or "")
        return self._router.recall(stream) if is_ours else None

    def _stream_of(self, topic_name: str, symbol: str, record: Mapping[str, Any]) -> str:
        return self._router.stream_of(topic_name, symbol, record)


_STATUS_OF_NOTICE = {NoticeKind.STREAM_REJECTED: "REJECTED", NoticeKind.STREAM_SILENT: "SILENT"}
