"""When the builder writes what of its books: fed with encoded records as Kafka has them, and with a clock of its own."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import pytest
from aiokafka import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.kept_book import CheckpointRules, KeptBook
from backpack_streams.book_builder.records import checkpoint_record, recalled_top, top_record
from backpack_streams.books.joining import _beside
from backpack_streams.books.market_book import Status
from backpack_streams.books.standing import Claim
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.decimals import bytes_from_unscaled
from backpack_streams.bus.partitioner import partition_of

CODEC = Codec()
PARTITIONS = 8
ONE = 10**18
SYMBOL, OTHER = "BTC_USDC_PERP", "SOL_USDC"
KEY = SYMBOL.encode()
HOME = partition_of(KEY, PARTITIONS)
TOPIC_PARTITION = ("backpack.market.depth", HOME)
RULES = CheckpointRules(updates=10, seconds=5.0, reach=100)
Levels = Sequence[tuple[int, int]]


class Record(NamedTuple):
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int = 0


def levels(pairs: Levels) -> list[dict[str, bytes]]:
    return [{"price": bytes_from_unscaled(p * ONE), "quantity": bytes_from_unscaled(q * ONE)} for p, q in pairs]


def update(offset: int, first: int, last: int, bids: Levels = (), asks: Levels = (), key: bytes = KEY) -> Record:
    row: dict[str, Any] = {
        "symbol": key.decode(),
        "source": "WEBSOCKET",
        "event_time": last * 1000,
        "engine_time": last * 1000,
        "received_time": last * 1000,
        "first_update_id": first,
        "last_update_id": last,
        "bids": levels(bids),
        "asks": levels(asks),
    }
    return Record("backpack.market.depth", HOME, offset, key, CODEC.encoder("DepthUpdate", "t")(row))


def snapshot(last: int, offset: int = 0, origin: str = "SEED", **fields: Any) -> Record:
    row: dict[str, Any] = {
        "symbol": SYMBOL,
        "source": "REST",
        "engine_time": last * 1000,
        "received_time": last * 1000,
        "origin": origin,
        "last_update_id": last,
        "bids": levels([(99, 1), (98, 2)]),
        "asks": levels([(101, 1), (102, 2)]),
        "bids_complete": True,
        "asks_complete": True,
        "delta_topic": TOPIC_PARTITION[0],
        "delta_partition": HOME,
        "delta_offset": offset,
    } | fields
    return Record("backpack.market.book_snapshot", 0, 0, KEY, CODEC.encoder("BookSnapshot", "t")(row))


def gap(offset: int, last_id: int, next_id: int | None = None) -> Record:
    row = {
        "stream": f"depth.{SYMBOL}",
        "symbol": SYMBOL,
        "topic": "market.depth",
        "reason": "UNREADABLE_FRAME",
        "detail": "",
        "service": "test",
        "detected_time": 1,
        "last_id": last_id,
        "next_id": next_id,
    }
    return Record("backpack.ops.gap", 0, offset, KEY, CODEC.encoder("Gap", "t")(row))


def new_keeper(start: int = 0, end: int = 0, gaps: tuple[int, int] = (0, 0)) -> BookKeeper:
    keeper = BookKeeper(CODEC, "backpack.", RULES, top_levels=2, top_interval_seconds=0.1)
    keeper.intake.depth_partitions = PARTITIONS
    keeper.open(HOME, start, end, gaps)
    return keeper


def take(keeper: BookKeeper, now: float, *records: Record) -> None:
    """What one answer of Kafka brings."""
    by_topic_partition: dict[TopicPartition, list[Any]] = {}
    for each in records:
        by_topic_partition.setdefault(TopicPartition(each.topic, each.partition), []).append(each)
    keeper.take(by_topic_partition, now)


@pytest.fixture
def keeper() -> BookKeeper:
    """One partition, caught up, with a book at update 100."""
    keeper = new_keeper()
    take(keeper, 0.0, snapshot(100))
    return keeper


def due(keeper: BookKeeper, now: float) -> list[tuple[int | None, int]]:
    return [(kept.market.last_update_id, offset) for kept, offset in keeper.checkpoints(now)]


def write_tops(keeper: BookKeeper, now: float) -> list[dict[str, Any]]:
    """What the shell does."""
    rows = []
    for kept, top in keeper.tops(now):
        rows.append(top_record(kept, top, 2, 0))
        kept.on_top(top)
    return rows


def only_book(keeper: BookKeeper) -> KeptBook:
    [kept] = keeper._kept.values()
    return kept


def test_it_is_known_for_how_long_a_book_cannot_be_used(keeper: BookKeeper) -> None:
    keeper.look_for_unusable(10.0)
    assert keeper.unusable_seconds(20.0) == 0.0
    take(keeper, 20.0, update(0, 150, 150, [(99, 5)]))
    take(keeper, 30.0)  # what was to come before it did not
    for now in (30.0, 31.0, 32.0):
        keeper.look_for_unusable(now)
    assert only_book(keeper).market.status is Status.STALE
    assert keeper.unusable_seconds(35.0) == 5.0
    take(keeper, 40.0, snapshot(150))
    keeper.look_for_unusable(41.0)
    assert only_book(keeper).market.status is Status.LIVE
    assert keeper.unusable_seconds(45.0) == 0.0


def test_a_book_that_went_to_another_builder_is_not_unusable_here(keeper: BookKeeper) -> None:
    take(keeper, 20.0, update(0, 150, 150, [(99, 5)]))
    take(keeper, 30.0)
    keeper.look_for_unusable(30.0)
    keeper.close([HOME])
    assert keeper.unusable_seconds(45.0) == 0.0
    assert not keeper.has_caught_up(HOME)


def test_a_book_that_did_not_change_is_not_checkpointed(keeper: BookKeeper) -> None:
    assert due(keeper, 1_000.0) == []


def test_a_book_that_changed_is_checkpointed_when_its_time_has_come(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    assert due(keeper, 14.9) == []
    assert due(keeper, 15.0) == [(101, 1)]


def test_many_updates_do_not_wait_for_the_time(keeper: BookKeeper) -> None:
    take(keeper, 10.0, *(update(n, 101 + n, 101 + n, [(99, n + 1)]) for n in range(9)))
    assert due(keeper, 10.0) == []
    take(keeper, 10.0, update(9, 110, 110, [(99, 3)]))
    assert due(keeper, 10.0) == [(110, 10)]


def test_a_checkpoint_that_was_written_is_not_written_again(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    [(kept, offset)] = keeper.checkpoints(15.0)
    kept.on_snapshot(101, offset)
    assert due(keeper, 1_000.0) == []
    take(keeper, 15.1, snapshot(101, offset=1, origin="CHECKPOINT"))  # it comes back from Kafka
    assert due(keeper, 1_000.0) == []


def test_one_that_had_no_room_is_due_again(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    assert due(keeper, 15.0) == due(keeper, 15.1) == [(101, 1)]


def test_one_that_kafka_refused_is_due_again_soon_and_ever_more_rarely(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    now = 15.0
    waited = []
    for _ in range(200):
        [(kept, offset)] = keeper.checkpoints(now)
        kept.on_checkpoint(101, offset, Claim(101, frozenset()), now)
        assert due(keeper, now) == []
        keeper.on_checkpoint_rejected(SYMBOL, now)
        assert keeper.checkpoint_delay(now) == now - 10.0, "the change has been waiting all the time"
        assert kept.again_at is not None
        assert due(keeper, kept.again_at - 1e-6) == []
        waited.append(kept.again_at - now)
        now = kept.again_at
    assert max(waited[:1]) <= 1.0
    assert max(waited[:3]) <= 4.0
    assert 30.0 < max(waited) <= 60.0
    [(kept, offset)] = keeper.checkpoints(now)
    kept.on_checkpoint(101, offset, Claim(101, frozenset()), now)
    assert due(keeper, now + 1_000.0) == []
    take(keeper, now + 1_000.0, update(1, 102, 102, [(99, 6)]))
    [(kept, offset)] = keeper.checkpoints(now + 1_010.0)
    kept.on_checkpoint(102, offset, Claim(102, frozenset()), now + 1_010.0)
    keeper.on_checkpoint_rejected(SYMBOL, now + 1_010.0)  # the first in a row
    assert due(keeper, now + 1_011.0) == [(102, 2)]


def test_one_that_kafka_refused_is_written_when_the_builder_leaves(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    [(kept, offset)] = keeper.checkpoints(15.0)
    kept.on_checkpoint(101, offset, Claim(101, frozenset()), 15.0)
    assert list(keeper.last_checkpoints([HOME])) == []
    keeper.on_checkpoint_rejected(SYMBOL, 15.0)
    assert list(keeper.last_checkpoints([HOME])) == [(kept, 1)]


def test_what_kafka_refused_of_a_book_that_went_is_nothing(keeper: BookKeeper) -> None:
    keeper.close([HOME])
    keeper.on_checkpoint_rejected(SYMBOL, 15.0)
    keeper.on_top_rejected(SYMBOL, 15.0)
    assert due(keeper, 100.0) == []
    assert write_tops(keeper, 100.0) == []


def test_a_top_that_kafka_refused_is_written_again(keeper: BookKeeper) -> None:
    [first] = write_tops(keeper, 1.0)
    assert write_tops(keeper, 100.0) == []
    keeper.on_top_rejected(SYMBOL, 100.0)
    assert write_tops(keeper, 100.0) == []
    assert write_tops(keeper, 101.2) == [first]
    assert write_tops(keeper, 200.0) == []


def test_a_quiet_books_checkpoint_is_renewed_before_readers_have_far_to_go_back(keeper: BookKeeper) -> None:
    other = next(
        name
        for n in range(1000)
        if partition_of((name := f"M{n}").encode(), PARTITIONS) == HOME and name != SYMBOL
    ).encode()  # fmt: skip
    take(keeper, 10.0, *(update(n, n + 1, n + 1, key=other) for n in range(99)))
    assert due(keeper, 10.0) == []
    take(keeper, 10.0, update(99, 100, 100, key=other))
    assert due(keeper, 10.0) == [(100, 100)]


def test_a_snapshot_ahead_of_the_updates_is_not_buried_under_a_checkpoint(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    take(keeper, 11.0, snapshot(200))
    assert due(keeper, 1_000.0) == []


def test_a_snapshot_behind_the_book_is_followed_by_a_checkpoint(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    [(kept, offset)] = keeper.checkpoints(15.0)
    kept.on_snapshot(101, offset)
    take(keeper, 16.0, snapshot(100))
    assert due(keeper, 20.9) == []
    assert due(keeper, 21.0) == [(101, 1)]


def test_a_book_that_broke_is_not_checkpointed_and_only_the_exchange_heals_it(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]))
    take(keeper, 10.0, update(1, 105, 105, [(99, 6)]))
    take(keeper, 10.5)  # nobody brought what is missing
    assert keeper.intake.books[SYMBOL].status is Status.STALE
    assert due(keeper, 1_000.0) == []
    take(keeper, 11.0, snapshot(105, origin="CHECKPOINT"))
    assert keeper.intake.books[SYMBOL].status is Status.STALE
    take(keeper, 12.0, snapshot(105))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE


def test_no_checkpoint_leaves_out_an_update_that_came_early(keeper: BookKeeper) -> None:
    twice = [update(offset, 101, 101, [(99, 5)]) for offset in (0, 1)]  # so two producers bring it
    take(keeper, 10.0, *twice, update(2, 103, 103, [(99, 7)]))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    assert due(keeper, 1_000.0) == []
    assert list(keeper.last_checkpoints([HOME])) == []
    take(keeper, 10.1, update(3, 102, 102, [(99, 6)]))
    assert due(keeper, 1_000.0) == [(103, 4)]


def test_an_update_that_one_producer_alone_can_bring_is_not_waited_for(keeper: BookKeeper) -> None:
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]), update(1, 103, 103, [(99, 7)]))
    assert [row["status"] for row in write_tops(keeper, 10.0)] == ["STALE"]
    take(keeper, 10.1, update(2, 102, 102, [(99, 6)]))
    assert [row["status"] for row in write_tops(keeper, 11.0)] == ["LIVE"]
    assert due(keeper, 1_000.0) == [(103, 3)]


@pytest.mark.parametrize("is_followed", [True, False])
def test_offsets_that_vanish_take_every_book_of_their_partition_out_of_live(is_followed: bool) -> None:
    """Retention, `kafka-delete-records` or a truncating election took them, another market's 102 maybe among them."""
    keeper, other = new_keeper(), next(names_at_home())
    take(keeper, 0.0, snapshot(100), snapshot(10, symbol=other)._replace(key=other.encode()))
    take(keeper, 0.1, update(0, 101, 101), update(1, 11, 11, key=other.encode()))
    write_tops(keeper, 1.0)
    if is_followed:
        take(keeper, 2.0, update(30_000, 12, 12, key=other.encode()))
    else:  # no record tells: the reader stands behind the last one that there was
        keeper.set_positions({TOPIC_PARTITION: 30_000}, 2.0)
    assert {symbol: book.status for symbol, book in keeper.intake.books.items()} == {
        SYMBOL: Status.STALE,
        other: Status.STALE,
    }
    assert due(keeper, 1_000.0) == []
    assert list(keeper.last_checkpoints([HOME])) == []
    tops = write_tops(keeper, 3.0)
    assert {row["symbol"]: row["status"] for row in tops} == {SYMBOL: "STALE", other: "STALE"}
    assert all("offsets 2 to 29999" in row["reason"] for row in tops)
    take(keeper, 4.0, snapshot(101, offset=2, origin="CHECKPOINT"))
    assert keeper.intake.books[SYMBOL].status is Status.STALE, "a checkpoint from before that heals nothing"
    take(keeper, 5.0, snapshot(150, offset=30_001))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    assert [row["status"] for row in write_tops(keeper, 6.0)] == ["LIVE"]


def test_a_partition_whose_rest_vanished_before_it_was_read_has_caught_up() -> None:
    keeper = new_keeper(start=10, end=20)
    keeper.begin([snapshot(100, offset=10)], 0.0)
    keeper.set_positions({TOPIC_PARTITION: None}, 0.0)
    take(keeper, 0.0)
    assert not keeper.is_caught_up
    keeper.set_positions({TOPIC_PARTITION: 20}, 1.0)
    take(keeper, 1.0)
    assert keeper.is_caught_up
    assert keeper.intake.books[SYMBOL].status is Status.STALE


def names_at_home(partitions: int = PARTITIONS) -> Iterator[str]:
    return (f"M{n}" for n in range(10_000) if partition_of(f"M{n}".encode(), partitions) == HOME)


def test_an_update_in_another_partition_than_its_markets_is_told_and_counts_by_its_id_alone(
    keeper: BookKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """Partitions were added: a producer that began before writes where the market was, beside one that began after."""
    elsewhere = (HOME + 1) % PARTITIONS
    keeper.open(elsewhere, 0, 0, (0, 0))
    take(keeper, 1.0, update(0, 101, 101), update(1, 102, 102))
    strays = [update(offset, 101 + offset, 101 + offset)._replace(partition=elsewhere) for offset in range(5)]
    take(keeper, 2.0, *strays[:3])
    assert (keeper.intake.books[SYMBOL].last_update_id, keeper.intake.misplaced_updates) == (103, 3)
    assert "not in its market's partition" in caplog.text
    assert due(keeper, 1_000.0) == [(103, 2)], "its own partition was read so far"
    take(keeper, 3.0, strays[4])
    assert due(keeper, 1_000.0) == []
    take(keeper, 3.1, update(2, 104, 104))
    assert due(keeper, 1_000.0) == [(105, 3)]
    keeper.close([HOME])
    take(keeper, 4.0, update(5, 106, 106)._replace(partition=elsewhere))
    assert keeper.intake.books == {}, "another builder's"


def test_an_update_in_another_partition_may_overtake_those_in_its_own(keeper: BookKeeper) -> None:
    elsewhere = (HOME + 1) % PARTITIONS
    keeper.open(elsewhere, 0, 0, (0, 0))
    take(keeper, 1.0, update(0, 102, 102)._replace(partition=elsewhere))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    take(keeper, 1.1, update(0, 101, 101))
    assert due(keeper, 1_000.0) == [(102, 1)]
    assert keeper.breaks() == 0


def test_an_offset_in_another_partition_says_nothing_of_how_far_readers_have_to_go_back(keeper: BookKeeper) -> None:
    elsewhere, other = (HOME + 1) % PARTITIONS, next(names_at_home()).encode()
    take(keeper, 1.0, snapshot(100, offset=90_000, delta_partition=elsewhere))
    take(keeper, 2.0, *(update(n, n + 1, n + 1, key=other) for n in range(100)))
    assert due(keeper, 10.0) == [(100, 100)]


def test_a_snapshot_that_names_the_partition_before_some_were_added_waits_for_an_update(keeper: BookKeeper) -> None:
    other = next(names_at_home())
    old = snapshot(100, offset=7, symbol=other, delta_partition=(HOME + 1) % PARTITIONS)._replace(key=other.encode())
    take(keeper, 1.0, old)
    assert keeper.intake.books[other].status is Status.SYNCING
    assert "partitions were added" in keeper.intake.books[other].reason
    take(keeper, 2.0, update(0, 101, 101, key=other.encode()))
    assert keeper.intake.books[other].status is Status.LIVE
    assert due(keeper, 1_000.0) == [(101, 1)]


def test_partitions_can_be_closed_whatever_was_read_of_them(keeper: BookKeeper) -> None:
    elsewhere = (HOME + 1) % PARTITIONS
    keeper.open(elsewhere, 0, 0, (0, 0))
    take(keeper, 1.0, update(0, 101, 101), update(0, 102, 102)._replace(partition=elsewhere))
    keeper.close([HOME, elsewhere])
    assert (keeper.intake.books, keeper.intake.by_key, list(keeper.checkpoints(1_000.0))) == ({}, {}, [])
    keeper.intake.depth_partitions = 1
    keeper.open(0, 0, 0, (0, 0))
    take(keeper, 2.0, snapshot(200, delta_partition=0))
    take(keeper, 2.0, update(0, 201, 201)._replace(partition=0))
    [(kept, offset)] = keeper.checkpoints(1_000.0)
    assert (kept.topic_partition, offset) == ((TOPIC_PARTITION[0], 0), 1)


def test_a_gap_that_is_read_again_for_a_new_partition_is_no_news_to_the_others(keeper: BookKeeper) -> None:
    take(keeper, 1.0, gap(0, last_id=100))
    take(keeper, 2.0, snapshot(101))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    keeper.open((HOME + 1) % PARTITIONS, 0, 0, (0, 2))
    take(keeper, 3.0, gap(0, last_id=101))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    assert not keeper.is_caught_up
    take(keeper, 4.0, gap(1, last_id=101))
    assert keeper.is_caught_up
    assert keeper.intake.books[SYMBOL].status is Status.STALE


def test_nothing_is_written_before_the_partition_has_caught_up_with_updates_and_gaps() -> None:
    keeper = new_keeper(0, 2, (0, 1))
    take(keeper, 0.0, snapshot(100))
    take(keeper, 0.0, update(0, 101, 101, [(99, 5)]))
    take(keeper, 9.0)
    assert (due(keeper, 9.0), write_tops(keeper, 9.0)) == ([], [])
    take(keeper, 9.0, update(1, 102, 102, [(99, 6)]))
    take(keeper, 9.0)
    assert not keeper.is_caught_up
    take(keeper, 9.0, gap(0, last_id=50, next_id=52))
    take(keeper, 9.0)
    assert keeper.is_caught_up
    assert [row["status"] for row in write_tops(keeper, 9.0)] == ["LIVE"]
    assert due(keeper, 9.0) == [(102, 2)]


def test_a_gap_that_no_update_shows_takes_the_book_out_of_live(keeper: BookKeeper) -> None:
    write_tops(keeper, 1.0)
    take(keeper, 2.0, gap(0, last_id=100))
    take(keeper, 2.0)
    [row] = write_tops(keeper, 2.0)
    assert (row["status"], row["last_update_id"]) == ("STALE", 100)
    assert "100" in row["reason"]


def test_a_top_is_told_once_an_interval_and_only_when_it_changed(keeper: BookKeeper) -> None:
    assert [row["last_update_id"] for row in write_tops(keeper, 1.0)] == [100]
    assert write_tops(keeper, 5.0) == []
    take(keeper, 5.0, update(0, 101, 101, [(99, 5)]), update(1, 102, 102, [(99, 6)]))
    assert [row["last_update_id"] for row in write_tops(keeper, 5.0)] == [102]
    take(keeper, 5.05, update(2, 103, 103, [(99, 7)]))
    assert write_tops(keeper, 5.05) == []
    assert [row["last_update_id"] for row in write_tops(keeper, 5.11)] == [103]
    take(keeper, 6.0, update(3, 104, 104, [(50, 1)]))  # deeper than what is shown
    assert write_tops(keeper, 6.0) == []


def test_a_top_that_had_no_room_is_offered_again(keeper: BookKeeper) -> None:
    assert len(list(keeper.tops(1.0))) == 1
    assert [row["last_update_id"] for row in write_tops(keeper, 1.0)] == [100]


def test_who_takes_over_says_nothing_that_was_said_and_never_goes_back(keeper: BookKeeper) -> None:
    take(keeper, 1.0, update(0, 101, 101, [(99, 5)]))
    [said] = write_tops(keeper, 1.0)
    new = new_keeper(0, 0, (0, 0))
    take(new, 0.0, snapshot(100))
    new.recall_top(SYMBOL, recalled_top(said), said["last_update_id"], said["engine_time"])
    take(new, 1.0)
    assert write_tops(new, 1.0) == []  # still at 100
    take(new, 2.0, update(0, 101, 101, [(99, 5)]))
    assert write_tops(new, 2.0) == []  # said already
    take(new, 3.0, update(1, 102, 102, [(99, 6)]))
    assert [row["last_update_id"] for row in write_tops(new, 3.0)] == [102]


def test_the_top_of_a_market_that_is_closed_says_so_until_it_is_open_and_given_a_snapshot(keeper: BookKeeper) -> None:
    def listed(row: bytes | None, at_ms: int) -> Record:
        return Record("backpack.reference.market", 0, 0, KEY, row, at_ms)

    write_tops(keeper, 0.0)
    take(keeper, 10.0, listed(None, 1_000))
    [row] = write_tops(keeper, 10.0)
    assert (row["status"], row["status_since"]) == ("CLOSED", 1_000_000)
    assert row["reason"].startswith("delisted")
    assert len(row["bids"]) == 2, "the last state before"
    take(keeper, 11.0, update(0, 101, 101, [(99, 5)]))
    assert due(keeper, 1_000.0) == [], "a book that is not LIVE is not checkpointed"
    keeper.look_for_unusable(12.0)
    assert keeper.unusable_seconds(1_000.0) == 0.0, "nobody is to be called for it"
    assert keeper.by_status()["CLOSED"] == 1
    reopened = 1_000_000  # long after the update that the book holds
    texts = {"source": "REST", "base_symbol": "BTC", "quote_symbol": "USDC", "market_type": "PERP", "raw": "{}"}
    row = {"symbol": SYMBOL, "received_time": reopened * 1000, "order_book_state": "Open", **texts}
    take(keeper, 10.0, listed(CODEC.encoder("Market", "t")(row), reopened))
    [row] = write_tops(keeper, 20.0)
    assert row["status"] == "STALE"
    take(keeper, 21.0, snapshot(reopened + 1))
    [row] = write_tops(keeper, 30.0)
    assert row["status"] == "LIVE"


def test_a_market_known_as_closed_before_its_book_is_closed(keeper: BookKeeper) -> None:
    take(keeper, 10.0, Record("backpack.reference.market", 0, 0, OTHER.encode(), None, 1_000))
    assert OTHER not in keeper.intake.books
    keeper.open(partition_of(OTHER.encode(), PARTITIONS), 0, 0, (0, 0))
    take(keeper, 0.0, snapshot(5, symbol=OTHER)._replace(key=OTHER.encode()))
    take(keeper, 0.0)
    assert keeper.intake.books[OTHER].status is Status.CLOSED


@pytest.mark.parametrize(("key", "value"), [(KEY, b"nonsense"), (None, None)])
def test_a_foreign_record_in_the_market_list_says_nothing(
    keeper: BookKeeper, key: bytes | None, value: bytes | None
) -> None:
    take(keeper, 10.0, Record("backpack.reference.market", 0, 0, key, value, 1_000))
    assert keeper.intake.undecodable_records == 1
    assert only_book(keeper).market.status is Status.LIVE


def test_partitions_that_go_take_their_books_along(keeper: BookKeeper) -> None:
    take(keeper, 1.0, update(0, 101, 101, [(99, 5)]))
    keeper.close([HOME])
    assert (keeper.intake.books, keeper.partitions, due(keeper, 99.0), write_tops(keeper, 99.0)) == (
        {},
        frozenset(),
        [],
        [],
    )
    take(keeper, 1.0, update(1, 102, 102, [(99, 5)]))
    assert keeper.intake.books == {}


def test_a_foreign_record_makes_no_market_and_breaks_only_the_book_it_is_of(keeper: BookKeeper) -> None:
    stranger = next(f"X{n}" for n in range(1000) if partition_of(f"X{n}".encode(), PARTITIONS) == HOME).encode()
    take(keeper, 1.0, Record("backpack.market.depth", HOME, 0, stranger, b"foreign"))
    assert list(keeper.intake.books) == [SYMBOL]
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    take(keeper, 1.0, Record("backpack.market.depth", HOME, 1, KEY, b"foreign"))
    assert keeper.intake.books[SYMBOL].status is Status.STALE
    assert keeper.intake.undecodable_records == 2


def test_a_snapshot_whose_updates_may_be_gone_is_not_believed() -> None:
    keeper = new_keeper(50, 50, (0, 0))  # Kafka's retention has removed what lay before
    take(keeper, 0.0, snapshot(100, offset=10))
    take(keeper, 0.0)
    assert keeper.intake.books[SYMBOL].status is Status.SYNCING
    take(keeper, 1.0, snapshot(120, offset=55))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE


changes = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(80, 99), st.integers(0, 3)), max_size=4),
        st.lists(st.tuples(st.integers(101, 120), st.integers(0, 3)), max_size=4),
    ),
    min_size=1,
    max_size=30,
)


@given(changes, st.booleans(), st.data())
def test_a_checkpoint_holds_what_lies_before_its_offset_as_far_as_the_book_knows(
    steps: list[tuple[Levels, Levels]], is_whole: bool, data: st.DataObject
) -> None:
    """Against dicts: every level within coverage, none beyond, at whatever moment it is taken."""
    keeper = new_keeper(0, 0, (0, 0))
    take(keeper, 0.0, snapshot(100, bids_complete=is_whole, asks_complete=is_whole))
    take(keeper, 0.0)
    sides: tuple[dict[int, int], dict[int, int]] = ({99: 1, 98: 2}, {101: 1, 102: 2})
    until = data.draw(st.integers(1, len(steps)))
    for number, step in enumerate(steps[:until]):
        take(keeper, 1.0, update(number, 101 + number, 101 + number, *step))
        for side, pairs in zip(sides, step, strict=True):
            side.update(pairs)
    kept = only_book(keeper)
    if kept.market.status is not Status.LIVE:
        assert not is_whole
        assert due(keeper, 1_000.0) == []
        return
    [(last_id, offset)] = due(keeper, 1_000.0)
    assert (last_id, offset) == (100 + until, until)
    row = checkpoint_record(kept, TOPIC_PARTITION, offset, 0)
    CODEC.encoder("BookSnapshot", "t")(row)
    bids, asks = ({p: q for p, q in side.items() if q} for side in sides)
    if not is_whole:
        bids, asks = {p: q for p, q in bids.items() if p >= 98}, {p: q for p, q in asks.items() if p <= 102}
    assert _plain(row["bids"]) == sorted(bids.items(), reverse=True)
    assert _plain(row["asks"]) == sorted(asks.items())
    assert row["bids_complete"] is row["asks_complete"] is is_whole
    assert row["seed_update_id"] == 100


def _plain(side: list[dict[str, bytes]]) -> list[tuple[int, int]]:
    def number(data: bytes) -> int:
        return int(Decimal(int.from_bytes(data, "big", signed=True)) / ONE)

    return [(number(level["price"]), number(level["quantity"])) for level in side]


def _keys() -> Iterator[bytes]:
    return (f"M{n}_USDC".encode() for n in range(500))


@pytest.mark.parametrize(("updates", "snapshots"), [(8, 4), (4, 8), (8, 8), (6, 4), (5, 3), (1, 4), (8, 1)])
@pytest.mark.parametrize("number", [0, 2])
def test_the_snapshots_of_a_partitions_markets_are_where_they_are_looked_for(
    updates: int, snapshots: int, number: int
) -> None:
    number %= updates
    topic_partitions = [("snapshots", each) for each in range(snapshots)]
    looked_for = {each[1] for each in _beside(topic_partitions, frozenset({number}), updates)}
    holding = {partition_of(key, snapshots) for key in _keys() if partition_of(key, updates) == number}
    assert holding == looked_for


def test_readers_are_led_past_what_cannot_be_read(keeper: BookKeeper) -> None:
    """The exchange's snapshots name a place before it as long as their market is quiet."""
    foreign = Record("backpack.market.depth", HOME, 1, KEY, None)
    take(keeper, 10.0, update(0, 101, 101, [(99, 5)]), foreign)
    assert only_book(keeper).market.status is Status.STALE
    assert due(keeper, 1_000.0) == [], "not of a book that is not LIVE"
    take(keeper, 1_001.0, update(2, 102, 102, [(99, 6)]))
    assert only_book(keeper).market.status is Status.LIVE
    [(kept, offset)] = keeper.checkpoints(1_001.0)
    assert offset == 3
    kept.on_checkpoint(102, offset, Claim(102, frozenset(), None, offset), 1_001.0)
    assert due(keeper, 2_000.0) == []
    take(keeper, 2_001.0, snapshot(102, offset=0))
    assert due(keeper, 2_001.0) == [(102, 3)]
    kept.on_checkpoint(102, 3, Claim(102, frozenset(), None, 3), 2_001.0)
    take(keeper, 3_001.0, snapshot(102, offset=3))
    assert due(keeper, 4_000.0) == []
