"""The cost of each step by itself, in this process: shows where to optimize.

CPU time per frame or delta, best repetition. The steps do not add up to the whole: run separately, each keeps its data in the
processor's caches, and a batch of one bears costs that a batch of hundreds shares.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from backpack_streams.books.market_book import MarketBook
from backpack_streams.bus import avro
from backpack_streams.bus.codec import Codec, Encoder
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.bus.partition_queue import PartitionQueue, SendBuffer
from backpack_streams.bus.publisher import Publisher
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import topic
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.rest_wire import DepthSnapshot
from backpack_streams.exchange.session_actions import StreamsActive
from backpack_streams.exchange.session_settings import Expectation
from backpack_streams.exchange.streams import split_stream
from backpack_streams.exchange.wire import Depth
from backpack_streams.exchange.wire_decoding import Decoder
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.router import FrameRouter, _open_envelope
from backpack_streams.feed.stream_spec import DECIMALS
from backpack_streams.feed.watermarks import WATERMARK, Watermarks
from backpack_streams.market_producer.depth import DEPTH
from backpack_streams.market_producer.depth import row as depth_row
from backpack_streams.publishing.reporter import Reporter
from benchmarks.frames import Feed, markets
from benchmarks.lab import BenchmarkError, Lab, until
from benchmarks.numbers import MICROS
from benchmarks.order_flow import Flow
from benchmarks.snapshots import empty_books

_TIME_US = 1_790_134_357_267_289
_REPETITIONS = 5
_CHUNK = 1_000
_KIND, _ = split_stream("depth.X")

Row = dict[str, Any]
Levels = list[tuple[int, int]]
Update = tuple[str, int, int, int, Levels, Levels]


@dataclass(frozen=True, slots=True)
class Step:
    """One step and its cost."""

    name: str
    cpu_us: float


class _Nowhere:
    """Takes records and drops them."""

    def append(self, key: bytes | None, value: bytes | None, timestamp_ms: int, spare: bool = False) -> bool:
        """Drop a record."""
        return True


def in_memory(frames: int, flow: Flow) -> list[Step]:
    """The steps that need neither a socket nor Kafka."""
    payloads = _payloads(frames)
    datas = [_open_envelope(payload).data for payload in payloads]
    decode = Decoder(Depth)
    messages = [decode(data) for data in datas]
    rows = [depth_row(message, _TIME_US) for message in messages]
    nine_rows = list(flow.rows(frames))
    steps = [
        Step("JSON envelope", _each(_open_envelope, payloads)),
        Step("JSON data -> typed message", _each(decode, datas)),
        Step("typed -> Avro, straight, number texts seen before", _straight(messages, are_numbers_new=False)),
        Step("typed -> Avro, straight, number texts new", _straight(messages, are_numbers_new=True)),
        Step("instead: typed -> row, number texts seen before", _each(_row, messages)),
        Step("instead: typed -> row, number texts new", _each(_row, messages, DECIMALS.clear)),
    ]
    steps += [Step(f"instead: row -> Avro, {name}", _each(engine.encode, rows)) for name, engine in _engines()]
    steps.append(Step("all from frame to Avro in the producer (FrameRouter)", _router(payloads)))
    steps.append(Step("one watermark of 715 streams, once a second", _watermark()))
    codec = Codec()
    encode, read = codec.encoder("DepthUpdate", "steps.market.depth"), DepthReader(codec).read
    for levels, some in (("two levels", rows), ("nine levels", nine_rows)):
        steps.append(Step(f"Kafka value -> numbers, {levels}", _each(read, [encode(row) for row in some])))
        bodies = [_engines()[0][1].encode(row) for row in some]
        steps += [
            Step(f"instead: Avro -> Python, {levels}, {name}", _each(engine.decode, bodies))
            for name, engine in _engines()
        ]
    steps.append(Step("update -> book, best bid and ask read, two levels", _books(rows, empty_books())))
    steps.append(Step("update -> book, best bid and ask read, nine levels", _books(nine_rows, flow.books)))
    return steps


async def with_sockets(lab: Lab, frames: int) -> list[Step]:
    """The steps that need a socket or Kafka, and the source's speed if its frames are ignored."""
    cpu_us, rate = await _socket(lab, frames)
    steps = [Step(f"socket -> frame (the source gives {rate:,.0f} frames/s)", cpu_us)]
    encode = lab.codec.encoder("DepthUpdate", "steps.market.depth")
    rows = [_row(DEPTH.read(_open_envelope(payload).data, _KIND).row) for payload in _payloads(frames)]
    records = [(row["symbol"].encode(), encode(row)) for row in rows]
    await lab.make_topics("steps.", ("market.depth",))
    steps.append(Step("record -> Kafka (Publisher)", await _publish(lab, records) / frames * MICROS))
    steps.append(Step("Kafka -> record (getmany)", await _fetch(lab, frames) / frames * MICROS))
    return steps


def _payloads(count: int) -> list[bytes]:
    feed = Feed("depth")
    return [feed.payload(_TIME_US + number) for number in range(count)]


def _row(message: Any) -> Row:
    return depth_row(message, _TIME_US)


def _straight(messages: Sequence[Depth], are_numbers_new: bool) -> float:
    """As the producer writes them. A new encoder has no cached numbers; one that has written all of them has each."""
    best = float("inf")
    encode = DEPTH.encoder(_encoder_of("market.depth"))
    for _ in range(_REPETITIONS + 1):
        if are_numbers_new:
            encode = DEPTH.encoder(_encoder_of("market.depth"))
        start = time.process_time()
        for message in messages:
            encode(message, _TIME_US)
        best = min(best, time.process_time() - start)
    return best / len(messages) * MICROS


def _engines() -> list[tuple[str, avro.Engine]]:
    document = own_schemas()["DepthUpdate"].document
    engines: list[tuple[str, avro.Engine]] = [("fastavro", avro.FastavroEngine(document))]
    if find_spec("cavro") is not None:
        engines.insert(0, ("cavro", avro.CavroEngine(document)))
    return engines


def _each(work: Callable[[Any], Any], items: Sequence[Any], before: Callable[[], None] = lambda: None) -> float:
    """CPU µs per item, best of some repetitions."""
    best = float("inf")
    for _ in range(_REPETITIONS):
        before()
        start = time.process_time()
        for item in items:
            work(item)
        best = min(best, time.process_time() - start)
    return best / len(items) * MICROS


def _router(payloads: Iterable[bytes]) -> float:
    best = float("inf")
    for _ in range(_REPETITIONS):
        router = _new_router()
        frames = list(payloads)
        DECIMALS.clear()
        start = time.process_time()
        for frame in frames:
            router.on_frame(1, frame, _TIME_US)
        best = min(best, time.process_time() - start)
        if sum(router.totals("published").values()) != len(frames):
            raise BenchmarkError("the router did not pass every frame on")
    return best / len(frames) * MICROS


def _new_router() -> FrameRouter:
    def partition_queue(_: str, __: bytes) -> _Nowhere:
        return _Nowhere()

    codec_encoder = _encoder_of
    coverage = Coverage()
    reporter = Reporter("benchmark", partition_queue, codec_encoder)
    router = FrameRouter([DEPTH], coverage, partition_queue, codec_encoder, reporter, lambda *_: None)
    streams = [f"depth.{market.symbol}" for market in markets()]
    router.want(streams)
    coverage.want(streams)
    coverage.take(StreamsActive(tuple(streams), 1, 0.0), Moment(0.0, _TIME_US))
    return router


_WATERMARK_STREAMS = 715
_WATERMARKS = 200


class _AllAcknowledged:
    """A publisher with 40 partitions and no outstanding acknowledgements."""

    def __init__(self) -> None:
        self._partition_queues = [PartitionQueue(SendBuffer(), f"topic-{each % 7}", each // 7) for each in range(40)]

    def partition_queues(self) -> Iterable[PartitionQueue]:
        return self._partition_queues

    def held_since(self) -> float | None:
        return None

    def owes_reports(self) -> bool:
        return False

    def rejected_records(self) -> int:
        return 0


def _watermark() -> float:
    """CPU µs of one watermark of all streams of 143 markets, from the mark to the encoded record; every tenth has the full coverage."""
    coverage = Coverage()
    names = [f"depth.MARKET_{each}_USDC" for each in range(_WATERMARK_STREAMS)]
    coverage.want(names)
    coverage.take(StreamsActive(tuple(names), 1, 0.0), Moment(0.0, _TIME_US))
    marks = Watermarks("market-producer", coverage, _AllAcknowledged(), 1000)
    encode = _encoder_of(WATERMARK)
    start = time.process_time()
    for second in range(_WATERMARKS):
        now = Moment(float(second), _TIME_US + second * 1_000_000)
        marks.mark(now)
        row = marks.next_row(now)
        if row is None:
            raise BenchmarkError("a mark did not become a watermark")
        encode(row)
        marks.published(row)
    return (time.process_time() - start) / _WATERMARKS * MICROS


def _encoder_of(name: str) -> Encoder:
    return avro.engine(own_schemas()[topic(name).record].document).encode


def _books(rows: Iterable[Row], snapshots: Iterable[DepthSnapshot]) -> float:
    updates = [_update(row) for row in rows]
    snapshots = list(snapshots)
    best = float("inf")
    for _ in range(_REPETITIONS):
        books = {snapshot.symbol: _seeded(snapshot) for snapshot in snapshots}
        start = time.process_time()
        for symbol, first_id, last_id, time_us, bids, asks in updates:
            market = books[symbol]
            market.on_update(first_id, last_id, time_us, bids, asks)
            market.book.best_bid_units  # noqa: B018  # reading it is what is measured
            market.book.best_ask_units  # noqa: B018  # as above
        best = min(best, time.process_time() - start)
        if sum(book.breaks for book in books.values()):
            raise BenchmarkError("a book broke")
    return best / len(updates) * MICROS


def _update(row: Row) -> Update:
    bids, asks = (
        [(_number(level["price"]), _number(level["quantity"])) for level in row[side]] for side in ("bids", "asks")
    )
    return row["symbol"], row["first_update_id"], row["last_update_id"], row["engine_time"], bids, asks


def _number(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _seeded(snapshot: DepthSnapshot) -> MarketBook:
    book = MarketBook(snapshot.symbol)
    bids, asks = (
        [(_number(DECIMALS[price]), _number(DECIMALS[quantity])) for price, quantity in side]
        for side in (snapshot.bids, snapshot.asks)
    )
    book.on_snapshot(snapshot.last_update_id, snapshot.timestamp_us, bids, asks)
    return book


async def _socket(lab: Lab, frames: int) -> tuple[float, float]:
    """CPU µs per frame of our socket code alone, and frames/s."""
    received = 0

    def on_frame(socket: int, payload: bytes) -> None:
        nonlocal received
        received += 1

    async with lab.source() as source, _connected(source.ws_url, on_frame):
        await source.until_subscribed(source.program)
        await source.prepare("depth", frames)
        cpu, wall = time.process_time(), time.perf_counter()
        await source.go()

        async def have_come() -> bool:
            return received >= frames

        await until(have_come, "all frames", [source.program])
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / frames * MICROS, frames / wall


@asynccontextmanager
async def _connected(url: str, on_frame: Callable[[int, bytes], None]) -> AsyncIterator[None]:
    connection = Connection(url, on_frame)
    connection.set_streams({f"depth.{market.symbol}": Expectation() for market in markets()})
    stop = asyncio.Event()
    running = asyncio.create_task(connection.run(stop))
    try:
        yield
    finally:
        stop.set()
        await running


async def _publish(lab: Lab, records: Sequence[tuple[bytes, bytes]]) -> float:
    """CPU seconds until all are acknowledged; they are sent in batches of a thousand."""
    publisher = Publisher(lab.connection)
    await publisher.start()
    await publisher.open(["steps.market.depth"])
    partition_queues = {key: publisher.partition_queue("steps.market.depth", key) for key, _ in records}
    start = time.process_time()
    for first in range(0, len(records), _CHUNK):
        for key, value in records[first : first + _CHUNK]:
            partition_queues[key].append(key, value, _TIME_US // 1000)
        await asyncio.sleep(0)
    late = await publisher.close()
    if late:
        raise BenchmarkError(f"Kafka did not acknowledge {late} records")
    return time.process_time() - start


async def _fetch(lab: Lab, count: int) -> float:
    """CPU seconds until this process has all records."""
    seen = 0
    async with Reader(lab.connection) as reader:
        reader.assign(dict.fromkeys(await reader.topic_partitions("steps.market.depth"), 0))
        start = time.process_time()
        while seen < count:
            seen += sum(map(len, (await reader.poll(200)).values()))
        return time.process_time() - start
