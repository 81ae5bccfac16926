"""What the builder writes while a producer vouches for its books, and while none does."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition

from backpack_streams.book_builder.audit_records import WANTED
from backpack_streams.book_builder.audits import BookAudits
from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.kept_book import CheckpointRules, KeptBook
from backpack_streams.book_builder.records import checkpoint_record, top_record
from backpack_streams.books.market_book import Status
from backpack_streams.books.standing import Claim
from backpack_streams.books.vouching import Vouching
from backpack_streams.books.watermark_intake import WatermarkIntake
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import bytes_from_unscaled
from backpack_streams.bus.depth_reader import DepthReader
from backpack_streams.sequencing.runs import RunKey

CODEC = Codec()
DEPTH, WATERMARK = "b.market.depth", "b.ops.watermark"
SYMBOL, KEY = "A", b"A"
ONE, SECOND = 10**18, 1_000_000


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


@dataclass
class Clock:
    now: float = 50.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Plant:
    clock: Clock = field(default_factory=Clock)
    watermarks: int = 0
    sequence: int = -1

    def __post_init__(self) -> None:
        self.audits = BookAudits(DepthReader(CODEC), clock=self.clock)
        rules = CheckpointRules(updates=10, seconds=5.0, reach=100)
        self.keeper = BookKeeper(CODEC, "b.", rules, 2, 0.1, self.audits)
        self.vouching = Vouching(CODEC, WatermarkIntake(CODEC, "b.", DEPTH, self.keeper.topic_partition_of), self.clock)
        self.keeper.intake.vouching = self.vouching
        self.keeper.intake.depth_partitions = 1
        self.vouching.watermarks.join(0, self.clock())
        self.keeper.open(0, 0, 0, (0, 0))
        self.keeper.begin([self.snapshot(100)], self.clock())
        self.tick()

    def snapshot(self, last_id: int) -> Any:
        def levels(price: int) -> list[dict[str, bytes]]:
            return [{"price": bytes_from_unscaled(price * ONE), "quantity": bytes_from_unscaled(ONE)}]

        row: dict[str, Any] = {
            "symbol": SYMBOL,
            "source": "REST",
            "engine_time": 1,
            "received_time": time.time_ns() // 1000,
            "origin": "SEED",
            "last_update_id": last_id,
            "bids": levels(99),
            "asks": levels(101),
            "bids_complete": True,
            "asks_complete": True,
            "delta_topic": DEPTH,
            "delta_partition": 0,
            "delta_offset": 0,
            "watermark_offset": self.watermarks,
        }
        return Record("b.market.book_snapshot", 0, 0, KEY, CODEC.encoder("BookSnapshot", "t")(row))

    def update(self, last_id: int, offset: int) -> Any:
        levels = [{"price": bytes_from_unscaled(99 * ONE), "quantity": bytes_from_unscaled(ONE)}]
        row = {
            "symbol": SYMBOL,
            "source": "WEBSOCKET",
            "engine_time": 2,
            "event_time": 2,
            "received_time": int(self.clock.now * SECOND),
            "first_update_id": last_id,
            "last_update_id": last_id,
            "bids": levels,
            "asks": [],
        }
        return Record(DEPTH, 0, offset, KEY, CODEC.encoder("DepthUpdate", "t")(row))

    def watermark(self, instance: str, *, is_final: bool = False, depth_end: int = 0) -> Any:
        self.sequence += 1
        row: dict[str, Any] = {
            "service": "producer",
            "instance": instance,
            "sequence": self.sequence,
            "complete_through": int(self.clock.now * SECOND),
            "published_time": int(self.clock.now * SECOND),
            "interval_ms": 20_000,
            "is_final": is_final,
            "offsets": [
                {"topic": WATERMARK, "next_offsets": [self.watermarks]},
                {"topic": DEPTH, "next_offsets": [depth_end]},
            ],
            "coverage_sequence": self.sequence,
            "coverage": [{"since": 7, "until": None, "streams": [f"depth.{SYMBOL}"]}],
        }
        self.watermarks += 1
        return Record(WATERMARK, 0, self.watermarks - 1, None, CODEC.encoder("Watermark", "t")(row))

    def take_over(self, end: int) -> None:
        """Reassigns the partition to this builder; it ends at this offset."""
        self.keeper.close([0])
        self.keeper.open(0, 0, end, (0, 0))
        self.keeper.begin([self.snapshot(100)], self.clock())

    def take_other(self, record: Any) -> None:
        self.keeper.take({TopicPartition(record.topic, 0): [record]}, self.clock())

    def tick(self, seconds: float = 0.0, *watermarks: Any) -> None:
        self.clock.now += seconds
        self.vouching.watermarks.polled(True, self.clock())
        self.keeper.take({TopicPartition(WATERMARK, 0): list(watermarks)} if watermarks else {}, self.clock())
        self.audits.on_tick()

    @property
    def kept(self) -> KeptBook:
        [kept] = self.keeper._kept.values()
        return kept

    def tops(self) -> Iterator[tuple[str, str | None, int | None]]:
        for kept, top in list(self.keeper.tops(self.clock())):
            row = top_record(kept, top, 2, 0)
            CODEC.encoder("BookTop", "t")(CODEC.rows("BookTop")(row))
            kept.on_top(top)
            yield row["status"], row["reason"], row["as_of"]

    def checkpoints(self) -> list[dict[str, Any]]:
        rows = []
        for kept, offset in list(self.keeper.checkpoints(self.clock())):
            runs = self.keeper.proving_runs(kept)
            rows.append(checkpoint_record(kept, (DEPTH, 0), offset, 0, runs))
            CODEC.encoder("BookSnapshot", "t")(CODEC.rows("BookSnapshot")(rows[-1]))
            kept.on_checkpoint(
                rows[-1]["last_update_id"], offset, Claim(rows[-1]["last_update_id"], runs), self.clock()
            )
        return rows

    def prove(self) -> None:
        self.tick(1.0, self.watermark("a"), self.watermark("a"))
        self.take_other(self.snapshot(100))
        self.tick(1.0, self.watermark("a"))
        assert self.kept.market.status is Status.LIVE, self.kept.market.reason


@pytest.fixture
def plant() -> Plant:
    return Plant()


def test_the_top_of_a_book_that_no_producer_vouches_for_is_not_live(plant: Plant) -> None:
    assert list(plant.tops()) == [("STALE", "no producer publishes watermarks", None)]
    plant.prove()
    assert list(plant.tops()) == [("LIVE", None, 51 * SECOND)]
    plant.tick(6.0)
    [(status, reason, as_of)] = plant.tops()
    assert (status, as_of) == ("STALE", 51 * SECOND)
    assert reason is not None
    assert reason.startswith("no producer has vouched for depth.A since ")


def test_a_book_that_no_producer_vouches_for_is_not_checkpointed(plant: Plant) -> None:
    plant.prove()
    plant.tick(6.0)
    plant.kept.on_changed(0.0)
    plant.kept.updates = 1_000
    assert plant.checkpoints() == []
    assert list(plant.keeper.last_checkpoints([0])) == []


def test_coverage_that_moves_to_another_instance_is_checkpointed(plant: Plant) -> None:
    """A reader that starts later then finds a proven snapshot, however quiet the market is."""
    plant.prove()
    assert plant.checkpoints() == []  # the snapshot itself was requested while this instance covered the market
    for _ in range(5):
        plant.sequence += 100  # the sequences of two instances are unrelated
        plant.tick(1.0, plant.watermark("b"), plant.watermark("a"))
        assert plant.checkpoints() == []
    plant.tick(1.0, plant.watermark("b"), plant.watermark("a", is_final=True))
    [row] = plant.checkpoints()
    assert row["covered_by"] == [RunKey("b", 7)._asdict()]
    plant.tick(1.0, plant.watermark("b"))
    assert plant.checkpoints() == []


def wanted(plant: Plant) -> list[str]:
    return [finding.symbol for finding in plant.audits.take_findings() if finding.row["result"] == WANTED]


def test_a_snapshot_is_requested_if_coverage_broke_and_no_update_arrives(plant: Plant) -> None:
    plant.prove()
    assert wanted(plant) == []
    plant.tick(10.0)
    for _ in range(3):
        plant.tick(1.0, plant.watermark("b"))
    assert plant.kept.market.status is Status.STALE
    assert wanted(plant) == [SYMBOL]
    for _ in range(10):
        plant.tick(1.0, plant.watermark("b"))
    assert wanted(plant) == []
    for _ in range(3):
        plant.tick(1.0, plant.watermark("b"))
    assert wanted(plant) == [SYMBOL]
    plant.take_other(plant.snapshot(100))
    plant.tick(1.0, plant.watermark("b"))
    assert plant.kept.market.status is Status.LIVE
    for _ in range(20):
        plant.tick(1.0, plant.watermark("b"))
    assert wanted(plant) == []


def test_a_reassigned_book_is_judged_by_all_records_read_before_anything_is_written(
    plant: Plant,
) -> None:
    """A status from while the partition was behind is outdated once it has caught up, even at the same moment."""
    plant.prove()
    list(plant.tops())
    plant.take_over(end=1)
    plant.tick(1.0, plant.watermark("a", depth_end=1))
    assert list(plant.tops()) == []
    plant.take_other(plant.update(101, 0))
    assert plant.keeper.is_caught_up
    assert [status for status, _, _ in plant.tops()] == ["LIVE"]
