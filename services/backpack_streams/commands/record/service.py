"""Service `record`: writes everything that the exchange sends into a file. After any failure the file is complete up to the last flush."""

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client.registry import Collector

from backpack_streams import __version__
from backpack_streams.backoff import Backoff
from backpack_streams.commands.record.settings import RecorderSettings
from backpack_streams.commands.record.tape import Tape
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.rest_transport import RawAnswer
from backpack_streams.exchange.session_actions import CoverageEvent, Notice, NoticeKind, StreamsActive
from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.streams import StreamKind, parse_kind, split_stream
from backpack_streams.exchange_clients.from_settings import connection_settings, rest_settings, session_settings
from backpack_streams.exchange_clients.measures import rest_measures, socket_measures, stream_measures
from backpack_streams.market_producer.service import STREAM_SPECS as MARKET_STREAM_SPECS
from backpack_streams.markets.market_list import MarketList
from backpack_streams.markets.market_streams import STOCK_PRICE, streams_for
from backpack_streams.markets.selection import ListedMarket, Selection, check_streams
from backpack_streams.perp_producer.service import STREAM_SPECS as PERP_STREAM_SPECS
from backpack_streams.recording.records import Exchange, Note, Streams, encode, encode_frame
from backpack_streams.runtime.collectors import count, value
from backpack_streams.runtime.loop import BackgroundTasks
from backpack_streams.runtime.service import run_service

logger = logging.getLogger(__name__)

NAME = "record"
STREAM_SPECS = (*MARKET_STREAM_SPECS, *PERP_STREAM_SPECS)
_KEPT_HEADERS = ("age", "cache-control", "content-type", "date", "retry-after")
_PAGE_HEADERS = "x-"
_MARKETS_FIRST_RETRY_SECONDS, _MARKETS_LONGEST_RETRY_SECONDS = 2.0, 30.0
_CONFIRMED_SECONDS = 10.0
_NUDGE_BYTES = 1024 * 1024
_RESUME_AT_SHARE = 0.25
_SNAPSHOTS_AT_ONCE = 4
_LARGEST_ERROR_FRAME_BYTES = 1024


def main(settings: RecorderSettings, file: str) -> int:
    """Run the recorder until a signal; return the exit code.

    Args:
        settings: the streams, the markets, the exchange, and the parts of the file.
        file: the file to create; with rotation, the names of its parts are derived from it.

    Raises:
        UsageError: a stream belongs to neither producer. Every later error becomes a log line and the exit code.
    """
    check_streams(NAME, settings.streams, (spec.channel for spec in STREAM_SPECS))
    return run_service(NAME, lambda: Recorder(settings, Path(file)), settings, settings)


def now_us() -> int:
    """Return the wall clock, µs since the Unix epoch."""
    return time.time_ns() // 1000


class Recorder:
    """One recording. `open` loads the list of markets; `run` records."""

    def __init__(self, settings: RecorderSettings, path: Path) -> None:
        """Prepare the recording and create the file.

        Args:
            settings: the streams, the markets, the exchange, and the parts of the file.
            path: the file to create.

        Raises:
            UsageError: the file exists already, or cannot be created.
        """
        self._settings = settings
        self._selection = Selection(
            None if settings.symbols == "all" else frozenset(settings.symbols),
            settings.shard_index,
            settings.shard_count,
        )
        details = {"program": f"backpack-streams {__version__}", **settings.loggable()}
        self._tape = Tape(path, details, now_us, rotate_bytes=settings.rotate_bytes, rotate_us=settings.rotate_us)
        self._rest = RestClient(rest_settings(settings), on_answer=self._on_answer)
        self._connection = Connection(
            settings.ws_url,
            self._on_frame,
            on_notice=self._on_notice,
            on_coverage=self._on_coverage,
            settings=connection_settings(settings),
            session_settings=session_settings(settings, settings.connections),
        )
        self._market_list = MarketList(self._rest, settings.market_types)
        self._kinds = [parse_kind(text) for text in settings.streams]
        self._streams: tuple[str, ...] = ()
        self._is_listed = False
        self._snapshots_wanted = asyncio.Event()
        self._became_active = asyncio.Event()
        self._nudge = asyncio.Event()
        self._background = BackgroundTasks()
        self._frames = 0
        self._answers = 0

    async def open(self) -> "Recorder":
        """Load the list of markets; retry until the exchange answers, with delays of up to 30 s.

        Raises:
            BackpackStreamsError: a symbol is unknown. The file is closed then.
        """
        backoff = Backoff(_MARKETS_FIRST_RETRY_SECONDS, _MARKETS_LONGEST_RETRY_SECONDS)
        try:
            while not await self._look_at_markets():  # noqa: ASYNC110  # the exchange has no event to wait for
                await asyncio.sleep(backoff.next_delay_seconds())
        except BaseException:  # keep what was recorded so far, whatever ended the start
            await self.close()
            raise
        return self

    async def close(self) -> None:
        """Close the file and the REST client if `run` was never called; `run` closes them itself."""
        await self._rest.close()
        await self._tape.close()

    async def run(self, stop: asyncio.Event) -> None:
        """Record until `stop` is set, then close the file.

        Raises:
            RecordingError: the disk is full or failing; what was written before stays readable.
        """
        leave, done = asyncio.Event(), asyncio.Event()
        sockets = asyncio.create_task(self._connection.run(leave), name="sockets")
        flushing = asyncio.create_task(self._flush_regularly(done), name="flush")
        chores = [
            asyncio.create_task(self._follow_markets(), name="markets"),
            asyncio.create_task(self._follow_books(), name="books"),
            asyncio.create_task(self._follow_rest(), name="rest"),
        ]
        try:
            await self._background.first_to_end([sockets, flushing, *chores], stop)
        finally:
            leave.set()
            done.set()
            self._nudge.set()
            for task in chores:
                task.cancel()
            await asyncio.gather(sockets, *chores, return_exceptions=True)
            await self._rest.close()
            await self._finish(flushing)

    async def _finish(self, flushing: "asyncio.Task[None]") -> None:
        try:
            await flushing
        except BackpackStreamsError:
            await self._tape.abandon()
            raise
        await self._tape.close()
        logger.info(
            "recorded",
            extra={"file": str(self._tape.path), "bytes": self._tape.written_bytes, "frames": self._frames},
        )

    def failures(self) -> list[str]:
        """Return why the recording has ended; empty while it goes on."""
        return self._background.failures

    def readiness(self) -> list[str]:
        """Return why nothing is being recorded yet."""
        if not self._connection.open_sockets:
            return ["no socket to the exchange is open"]
        missing = len(set(self._streams) - self._connection.confirmed_streams)
        return [f"{missing} streams are not subscribed yet"] if missing else []

    def collectors(self) -> Iterable[Collector]:
        """Return the metrics of the recorder."""
        tape = self._tape
        channels = list(dict.fromkeys(kind.channel for kind in self._kinds))
        return (
            count("recorded_frames", "Messages of sockets recorded.", lambda: self._frames),
            count("recorded_answers", "REST answers recorded.", lambda: self._answers),
            count("recording_bytes", "Compressed bytes on the disk.", lambda: tape.written_bytes),
            count("recording_parts", "Files begun.", lambda: tape.parts),
            value("recording_waiting_bytes", "Bytes that wait for the disk.", lambda: tape.waiting_bytes),
            *stream_measures(self._connection, channels, lambda: self._streams),
            *socket_measures(self._connection),
            *rest_measures(self._rest),
        )

    # Input from the exchange.

    def _on_frame(self, socket: int, payload: bytes) -> None:
        self._frames += 1
        tape = self._tape
        tape.add(encode_frame(now_us(), socket, payload))
        if tape.waiting_bytes > _NUDGE_BYTES:
            self._nudge.set()
            if tape.waiting_bytes > self._settings.buffer_bytes and not self._connection.is_reading_paused:
                logger.warning("the disk is behind; not reading the sockets until it has caught up")
                self._connection.pause_reading()
        if len(payload) < _LARGEST_ERROR_FRAME_BYTES and b'"error"' in payload:
            self._tell_error(socket, payload)

    def _tell_error(self, socket: int, payload: bytes) -> None:
        """Pass the error to the session, which finds out which subscription the exchange refused."""
        with contextlib.suppress(ValueError, TypeError, KeyError):  # not an error frame after all: no special handling
            frame = json.loads(payload)
            if "stream" not in frame:
                self._connection.error_frame(socket, int(frame["error"]["code"]), str(frame["error"]["message"]))

    def _on_notice(self, notice: Notice) -> None:
        logger.info(
            notice.kind.value, extra={"detail": notice.message, "socket": notice.socket_id, "stream": notice.stream}
        )
        self._tape.add(encode(Note(now_us(), notice.kind.value, notice.message, notice.socket_id, notice.stream)))
        if notice.kind is NoticeKind.SOCKET_OPENED:
            self._snapshots_wanted.set()

    def _on_coverage(self, event: CoverageEvent) -> None:
        if isinstance(event, StreamsActive):
            self._became_active.set()

    def _on_answer(self, answer: RawAnswer) -> None:
        headers = {
            name: text
            for name, text in answer.headers.items()
            if name in _KEPT_HEADERS or name.startswith(_PAGE_HEADERS)
        }
        self._answers += 1
        exchange = Exchange(
            answer.received_time_us,
            answer.sent_time_us,
            answer.method,
            answer.target,
            answer.status,
            headers,
            answer.body,
        )
        self._tape.add(encode(exchange))

    # Background tasks.

    async def _flush_regularly(self, done: asyncio.Event) -> None:
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._nudge.wait(), self._settings.flush_seconds)
            self._nudge.clear()
            if await self._tape.flush():
                logger.info("new file", extra={"file": str(self._tape.path)})
                self._snapshots_wanted.set()
            share = self._tape.waiting_bytes / self._settings.buffer_bytes
            if self._connection.is_reading_paused and share < _RESUME_AT_SHARE:
                self._connection.resume_reading()

    async def _look_at_markets(self) -> bool:
        try:
            markets = await self._market_list.markets()
            wants_stocks = any(kind.channel == STOCK_PRICE for kind in self._kinds)
            securities = await self._market_list.securities() if wants_stocks else ()
        except RestError as error:
            logger.warning("the list of markets could not be fetched; trying again", extra={"error": str(error)})
            return False
        if not self._is_listed:
            self._selection.check(markets)
            self._is_listed = True
        self._subscribe(markets, securities)
        return True

    def _subscribe(self, markets: Sequence[ListedMarket], securities: Sequence[str]) -> None:
        in_one = frozenset(spec.channel for spec in STREAM_SPECS if spec.all_markets_in_one)
        streams = tuple(streams_for(self._kinds, markets, self._selection, in_one, securities))
        if streams != self._streams:
            self._streams = streams
            self._tape.streams(Streams(now_us(), streams))
            self._connection.set_streams(dict.fromkeys(streams, Expectation()))
            self._snapshots_wanted.set()

    async def _follow_markets(self) -> None:
        while True:
            await asyncio.sleep(self._settings.market_refresh)
            await self._look_at_markets()

    async def _follow_books(self) -> None:
        """Request the books once their streams are confirmed: at the start, after an outage, in each new file, and periodically."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._snapshots_wanted.wait(), self._settings.snapshot_seconds)
            books = {name: symbol for name in self._streams if (symbol := _symbol_of_book(name))}
            await self._confirmed(books)
            self._snapshots_wanted.clear()
            turns = asyncio.Semaphore(_SNAPSHOTS_AT_ONCE)
            await asyncio.gather(*(self._ask_book(symbol, turns) for symbol in books.values()))

    async def _confirmed(self, streams: Iterable[str]) -> None:
        """Wait until the exchange has confirmed the subscriptions, with a limit, because it may never confirm some."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_CONFIRMED_SECONDS):
                while not self._connection.confirmed_streams.issuperset(streams):
                    self._became_active.clear()
                    await self._became_active.wait()

    async def _ask_book(self, symbol: str, turns: asyncio.Semaphore) -> None:
        async with turns:
            await self._ask("/api/v1/depth", [("symbol", symbol), ("limit", 1000)], Priority.SNAPSHOT)

    async def _follow_rest(self) -> None:
        while True:
            for path in self._settings.rest_paths:
                await self._ask(path, [], Priority.REFERENCE)
            await asyncio.sleep(self._settings.rest_seconds)

    async def _ask(self, path: str, parameters: list[tuple[str, str | int]], priority: Priority) -> None:
        """Fetch a path; `_on_answer` records the answer."""
        try:
            await self._rest.fetch(path, parameters, priority=priority)
        except RestError as error:
            logger.info("not fetched", extra={"path": path, "parameters": parameters, "error": str(error)})


def _symbol_of_book(stream: str) -> str | None:
    kind, symbol = split_stream(stream)
    return symbol if kind == StreamKind("depth") else None
