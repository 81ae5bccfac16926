"""One market, its producers' watermarks and a reader's intake, with a clock that a test moves; no Kafka."""

from dataclasses import dataclass, field
from typing import Any

from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from backpack_streams.books.intake import Intake
from backpack_streams.books.market_book import MarketBook, Outcome, Status
from backpack_streams.books.selection import Selection
from backpack_streams.books.vouching import Vouching
from backpack_streams.books.watermark_intake import WatermarkIntake
from backpack_streams.bus.codec import Codec

CODEC = Codec()
DEPTH, SNAPSHOT, WATERMARK, GAP = (
    ("b.market.depth", 0),
    ("b.market.book_snapshot", 0),
    ("b.ops.watermark", 0),
    ("b.ops.gap", 0),
)
SECOND = 1_000_000
WALL_US = 1_800_000_000 * SECOND


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now

    def wall_us(self) -> int:
        return WALL_US + int(self.now * SECOND)


def encoded(name: str, row: dict[str, Any]) -> bytes:
    return CODEC.encoder(name, "b.any")(CODEC.rows(name)(row))


@dataclass
class Plant:
    """One or several producer instances, one market A, and a reader of it."""

    clock: Clock
    max_age: float | None = 5.0
    interval_ms: int = 20_000
    """So long that, after a second watermark, an answer of the exchange is not older than the run before it."""
    watermarks: int = 0
    depth: int = 0
    snapshots: int = 0
    last_id: int = 10
    sequence: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.reader = self.new_reader()

    def new_reader(self) -> Intake:
        intake = Intake(CODEC, "b.", Selection("A"))
        intake.depth_partitions = 1
        vouching = Vouching(
            CODEC,
            WatermarkIntake(
                CODEC, "b.", DEPTH[0], lambda symbol: intake.topic_partition(symbol.encode()), self.max_age
            ),
            self.clock,
        )
        vouching.watermarks.join(self.watermarks, self.clock())
        intake.vouching = vouching
        intake.add(b"A")
        return intake

    @property
    def book(self) -> MarketBook:
        return self.reader.books["A"]

    def record(self, topic_partition: tuple[str, int], offset: int, value: bytes) -> Any:
        return ConsumerRecord(*topic_partition, offset, self.clock.wall_us() // 1000, 0, b"A", value, None, 0, 0, ())

    def read(self, *records: Any) -> list[Outcome]:
        vouching = self.reader.vouching
        assert vouching is not None
        vouching.watermarks.polled(True, self.clock())
        by_topic_partition: dict[TopicPartition, list[Any]] = {}
        for each in records:
            by_topic_partition.setdefault(TopicPartition(each.topic, each.partition), []).append(each)
        return [told.outcome for told in self.reader.take(by_topic_partition, self.clock())]

    def watermark(self, instance: str = "a", since: float | None = 0.0, **changes: Any) -> Any:
        """Vouch for everything up to now; `since` in seconds by the common wall clock, None without coverage."""
        sequence = self.sequence[instance] = self.sequence.get(instance, -1) + 1
        began = None if since is None else WALL_US + int(since * SECOND)
        row: dict[str, Any] = {
            "service": f"producer-{instance}",
            "instance": instance,
            "sequence": sequence,
            "complete_through": self.clock.wall_us(),
            "published_time": self.clock.wall_us(),
            "interval_ms": self.interval_ms,
            "is_final": False,
            "offsets": [
                {"topic": DEPTH[0], "next_offsets": [self.depth]},
                {"topic": WATERMARK[0], "next_offsets": [self.watermarks]},
            ],
            "coverage_sequence": sequence,
            "coverage": [{"since": began, "until": None, "streams": ["depth.A"]}],
        } | changes
        self.watermarks += 1
        return self.record(WATERMARK, self.watermarks - 1, encoded("Watermark", row))

    def update(self, *, received: float = 0.0, skips: int = 0) -> Any:
        """Return the next update; `received` so many seconds ago."""
        first = self.last_id + 1 + skips
        self.last_id = first
        row: dict[str, Any] = {
            "symbol": "A",
            "source": "WEBSOCKET",
            "event_time": None,
            "engine_time": self.clock.wall_us(),
            "received_time": self.clock.wall_us() - int(received * SECOND),
            "first_update_id": first,
            "last_update_id": first,
            "asks": [],
            "bids": [{"price": "1", "quantity": str(first)}],
        }
        self.depth += 1
        return self.record(DEPTH, self.depth - 1, encoded("DepthUpdate", row))

    def snapshot(self, last_id: int | None = None, **fields: Any) -> Any:
        """Return the exchange's answer to a request of now, unless `fields` say otherwise."""
        row: dict[str, Any] = {
            "symbol": "A",
            "source": "REST",
            "event_time": None,
            "engine_time": self.clock.wall_us(),
            "received_time": self.clock.wall_us(),
            "origin": "SEED",
            "last_update_id": self.last_id if last_id is None else last_id,
            "bids": [{"price": "1", "quantity": "1"}],
            "asks": [{"price": "2", "quantity": "1"}],
            "bids_complete": True,
            "asks_complete": True,
            "depth_limit": None,
            "delta_topic": DEPTH[0],
            "delta_partition": 0,
            "delta_offset": self.depth,
            "watermark_offset": self.watermarks,
        } | fields
        self.snapshots += 1
        return self.record(SNAPSHOT, self.snapshots - 1, encoded("BookSnapshot", row))

    def live(self) -> None:
        """Make the book LIVE: covered by instance a since 0, and proven by the exchange's snapshot."""
        self.read(self.watermark())
        self.pass_(0.5)
        self.read(self.watermark())
        self.pass_(0.5)
        self.read(self.snapshot(), self.watermark())
        assert self.book.status is Status.LIVE, self.book.reason

    def pass_(self, seconds: float) -> None:
        """Let time pass without records, while the reader polls."""
        vouching = self.reader.vouching
        assert vouching is not None
        self.clock.now += seconds
        vouching.watermarks.polled(True, self.clock())
