"""A plant's topics in memory over two minutes, with wrong clocks and killed producers, and a reader as of past moments; no Kafka."""

import asyncio
import heapq
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from backpack_streams.books.intake import Intake
from backpack_streams.books.joining import read_listing
from backpack_streams.books.market_book import MarketBook
from backpack_streams.books.past_start import PastSpan, join_past
from backpack_streams.books.selection import Selection
from backpack_streams.errors import BusError
from vouched_plant import CODEC, SECOND

PREFIX = "b."
DEPTH, SNAPSHOT, GAP, WATERMARK, MARKET = (
    PREFIX + name for name in ("market.depth", "market.book_snapshot", "ops.gap", "ops.watermark", "reference.market")
)
_WAYS = {
    name: (CODEC.rows(name), CODEC.encoder(name, "b.any")) for name in ("DepthUpdate", "BookSnapshot", "Watermark")
}
START_US = 1_700_000_000 * SECOND
DELAY_US = 20_000


def encoded(name: str, row: dict[str, Any]) -> bytes:
    rows, encode = _WAYS[name]
    return encode(rows(row))


@dataclass
class Logs:
    """Topics of one partition each, with the methods of `Reader` that reading as of a moment needs."""

    topics: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in (DEPTH, SNAPSHOT, GAP)})
    firsts: dict[str, int] = field(default_factory=dict)
    """The first remaining offset of a topic."""
    positions: dict[str, int] = field(default_factory=dict)
    records_read: int = 0
    bytes_read: int = 0
    a_poll: int = 500

    def append(self, topic: str, key: str, value: bytes | None, time_us: int) -> None:
        records = self.topics.setdefault(topic, [])
        offset = records[-1].offset + 1 if records else 0
        records.append(ConsumerRecord(topic, 0, offset, time_us // 1000, 0, key.encode(), value, None, 0, 0, ()))

    def end(self, topic: str) -> int:
        records = self.topics.get(topic, [])
        return records[-1].offset + 1 if records else 0

    async def has(self, topic: str) -> bool:
        return topic in self.topics

    async def topic_partitions(self, topic: str) -> list[tuple[str, int]]:
        return [(topic, 0)]

    async def ends(self, topic_partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {each: self.end(each[0]) for each in topic_partitions}

    async def beginnings(self, topic_partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        return {each: self.firsts.get(each[0], 0) for each in topic_partitions}

    async def offset_at(self, topic_partition: tuple[str, int], time_ms: int) -> int | None:
        return next((each.offset for each in self.topics[topic_partition[0]] if each.timestamp >= time_ms), None)

    def follow(self, offsets: Mapping[tuple[str, int], int], topics: object = None) -> None:
        self.assign(offsets)

    def assign(self, offsets: Mapping[tuple[str, int], int]) -> None:
        self.positions = {each[0]: offset for each, offset in offsets.items()}

    async def position(self, topic_partition: tuple[str, int]) -> int:
        return self.positions[topic_partition[0]]

    def reached(self, topic_partition: tuple[str, int]) -> int:
        return self.positions[topic_partition[0]]

    @contextmanager
    def searching(self) -> Iterator[None]:
        yield
        self.positions = {}

    async def poll(self, _: int, most: int = 10_000, only: Iterable[tuple[str, int]] = ()) -> dict[Any, list[Any]]:
        found = {}
        for topic in [each[0] for each in only] or list(self.positions):
            records, start = self.topics[topic], self.positions[topic]
            some = [
                each
                for each in records[max(0, start - (records[0].offset if records else 0)) :]
                if each.offset >= start
            ]
            some = some[: min(most, self.a_poll)]
            self.positions[topic] = some[-1].offset + 1 if some else max(start, self.end(topic))
            if some:
                found[TopicPartition(topic, 0)] = some
                self.records_read += len(some)
                self.bytes_read += sum(len(each.value or b"") for each in some)
        return found


def update(symbol: str, update_id: int, engine_us: int, received_us: int) -> bytes:
    row: dict[str, Any] = {
        "symbol": symbol,
        "source": "WEBSOCKET",
        "event_time": None,
        "engine_time": engine_us,
        "received_time": received_us,
        "first_update_id": update_id,
        "last_update_id": update_id,
        "asks": [],
        "bids": [{"price": "1", "quantity": str(update_id)}],
    }
    return encoded("DepthUpdate", row)


def snapshot(symbol: str, update_id: int, time_us: int, delta_offset: int, watermarks_end: int | None) -> bytes:
    row: dict[str, Any] = {
        "symbol": symbol,
        "source": "REST",
        "event_time": None,
        "engine_time": time_us,
        "received_time": time_us,
        "origin": "SEED",
        "last_update_id": update_id,
        "bids": [{"price": "1", "quantity": str(update_id)}],
        "asks": [{"price": "2", "quantity": "1"}],
        "bids_complete": True,
        "asks_complete": True,
        "depth_limit": None,
        "delta_topic": DEPTH,
        "delta_partition": 0,
        "delta_offset": delta_offset,
        "watermark_offset": watermarks_end,
    }
    return encoded("BookSnapshot", row)


@dataclass
class Life:
    """One producer instance: the start and end of its run (seconds), and how far its clock is ahead of the exchange's.

    At `steps_at` its clock steps by `step`. Its records are `late` by so many seconds.
    """

    begins: float
    ends: float
    ahead: float = 0.0
    steps_at: float = 1e9
    step: float = 0.0
    late: float = 0.0
    sequence: int = 0
    has_written: bool = False

    def clock_us(self, moment: float) -> int:
        """The time that its clock shows."""
        ahead = self.ahead + (self.step if moment >= self.steps_at else 0.0)
        return START_US + int((moment + ahead) * SECOND)


@dataclass
class World:
    """Markets by name with the seconds at which each moves; snapshots of all of them every `snapshots_every` seconds."""

    moves: Mapping[str, list[float]]
    lives: list[Life]
    seconds: float = 120.0
    snapshots_every: float = 10.0
    publishes_watermarks: bool = True
    logs: Logs = field(default_factory=Logs)
    history: dict[str, list[tuple[int, int]]] = field(default_factory=dict)
    """By market, its update ids with the time (µs) of each."""

    def __post_init__(self) -> None:
        if self.publishes_watermarks:
            self.logs.topics[WATERMARK] = []
        self.history = {symbol: [(START_US - 3600 * SECOND, 10)] for symbol in self.moves}
        todo: list[tuple[float, int, Any]] = [
            (moment, 0, symbol) for symbol, moments in self.moves.items() for moment in moments
        ]
        for life in self.lives:
            watermarks = int(min(life.ends, self.seconds) - life.begins) + 1
            todo += [(life.begins + 0.6 + i, 1, self.lives.index(life)) for i in range(watermarks)]
        todo += [(0.3 + i * self.snapshots_every, 2, "") for i in range(int(self.seconds / self.snapshots_every) + 1)]
        heap = [(moment, kind, number, what) for number, (moment, kind, what) in enumerate(todo)]
        heapq.heapify(heap)
        numbers = count(len(heap))
        while heap:
            moment, kind, _, what = heapq.heappop(heap)
            if kind == 0:
                for life, value in self._move(what, moment):
                    heapq.heappush(heap, (moment + life.late, 3, next(numbers), (life, what, value)))
            elif kind == 1:
                self._watermark(str(what), self.lives[what], moment)
            elif kind == 2:
                self._snapshots(moment)
            else:
                self._bring(moment, *what)

    def _move(self, symbol: str, moment: float) -> list[tuple[Life, tuple[int, int]]]:
        time_us, update_id = START_US + int(moment * SECOND), self.history[symbol][-1][1] + 1
        self.history[symbol].append((time_us, update_id))
        return [(life, (update_id, time_us)) for life in self.lives if life.begins + 0.5 <= moment < life.ends]

    def _bring(self, moment: float, life: Life, symbol: str, moved: tuple[int, int]) -> None:
        update_id, time_us = moved
        if moment < life.ends:
            life.has_written = True
            received_us = life.clock_us(moment) + DELAY_US
            self.logs.append(DEPTH, symbol, update(symbol, update_id, time_us, received_us), time_us)

    def _watermark(self, instance: str, life: Life, moment: float) -> None:
        if moment >= life.ends or not self.publishes_watermarks:
            return
        now_us = life.clock_us(moment)
        row: dict[str, Any] = {
            "service": f"producer-{instance}",
            "instance": instance,
            "sequence": life.sequence,
            "complete_through": now_us - 50_000 - int(life.late * SECOND),
            "published_time": now_us,
            "interval_ms": 1000,
            "is_final": False,
            "offsets": [
                {"topic": DEPTH, "next_offsets": [self.logs.end(DEPTH) if life.has_written else -1]},
                {"topic": WATERMARK, "next_offsets": [self.logs.end(WATERMARK)]},
            ],
            "coverage_sequence": life.sequence - life.sequence % 10,
            "coverage": [
                {
                    "since": life.clock_us(life.begins + 0.5),
                    "until": None,
                    "streams": [f"depth.{symbol}" for symbol in self.moves],
                }
            ]
            if life.sequence % 10 == 0
            else None,
        }
        life.sequence += 1
        self.logs.append(WATERMARK, instance, encoded("Watermark", row), now_us)

    def _snapshots(self, moment: float) -> None:
        time_us = START_US + int(moment * SECOND)
        for symbol, states in self.history.items():
            watermarks = self.logs.end(WATERMARK) if self.publishes_watermarks else None
            value = snapshot(symbol, states[-1][1], time_us, self.logs.end(DEPTH), watermarks)
            self.logs.append(SNAPSHOT, symbol, value, time_us)

    def ids_of(self, symbol: str, first_us: int, last_us: int) -> set[int]:
        """The update ids of the market between two moments."""
        states = self.history[symbol]
        before = [update_id for time_us, update_id in states if time_us <= first_us][-1:]
        return {*before, *(update_id for time_us, update_id in states if first_us < time_us <= last_us)}


Shown = list[tuple[str, str, int | None]]
"""Market, status and update id at each event."""


def books_at(
    logs: Logs,
    moment_us: int,
    symbols: str | Iterable[str] | None = None,
    max_age: float | None = 5.0,
    *,
    until_us: int | None = None,
    shown: Shown | None = None,
) -> dict[str, MarketBook]:
    """The books as of a moment; or at `until_us`, with the events on the way in `shown`."""

    async def read() -> dict[str, MarketBook]:
        selection = Selection(symbols)
        intake = Intake(CODEC, PREFIX, selection)
        reader: Any = logs
        intake.listing = await read_listing(reader, CODEC, PREFIX)
        span = PastSpan(moment_us, until_us or moment_us, None)
        books, offsets = await join_past(
            *(reader, CODEC, PREFIX, intake, selection, span), max_age=max_age, note=lambda *_: None
        )
        for name in selection.names:
            intake.add(name.encode())
        logs.assign(offsets)
        while True:
            try:
                async for updates in books.rounds():
                    for each in updates:
                        if shown is not None:
                            shown.append((each.symbol, each.status.value, each.last_update_id))
            except BusError:  # as of a stream that is read on after an error
                continue
            return intake.books

    return asyncio.run(read())
