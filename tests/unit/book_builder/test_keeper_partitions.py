"""Which books the builder keeps while partitions are opened, closed and added, and while their records are missing or unreadable."""

from collections.abc import Iterator

import pytest

from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.books.joining import _beside
from backpack_streams.books.market_book import Status
from backpack_streams.bus.partitioner import partition_of
from unit.book_builder.fed_keeper import (
    HOME,
    KEY,
    PARTITIONS,
    SYMBOL,
    TOPIC_PARTITION,
    Record,
    due,
    gap,
    new_keeper,
    snapshot,
    take,
    update,
    write_tops,
)


def test_nothing_is_written_before_updates_and_gaps_of_the_partition_are_caught_up() -> None:
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


def test_a_gap_that_is_read_again_for_a_new_partition_does_not_affect_the_others(keeper: BookKeeper) -> None:
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


def test_closing_a_partition_drops_its_books(keeper: BookKeeper) -> None:
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


def test_partitions_can_be_closed_whatever_was_read_from_them(keeper: BookKeeper) -> None:
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


def test_a_kafka_rejection_for_a_dropped_book_is_ignored(keeper: BookKeeper) -> None:
    keeper.close([HOME])
    keeper.on_checkpoint_rejected(SYMBOL, 15.0)
    keeper.on_top_rejected(SYMBOL, 15.0)
    assert due(keeper, 100.0) == []
    assert write_tops(keeper, 100.0) == []


def names_at_home(partitions: int = PARTITIONS) -> Iterator[str]:
    return (f"M{n}" for n in range(10_000) if partition_of(f"M{n}".encode(), partitions) == HOME)


def test_an_update_outside_its_markets_partition_is_logged_and_only_its_id_counts(
    keeper: BookKeeper, caplog: pytest.LogCaptureFixture
) -> None:
    """Partitions were added: a producer that started earlier still writes to the old partition, one that started later to the new one."""
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


def test_an_offset_in_another_partition_does_not_count_for_how_far_readers_go_back(keeper: BookKeeper) -> None:
    elsewhere, other = (HOME + 1) % PARTITIONS, next(names_at_home()).encode()
    take(keeper, 1.0, snapshot(100, offset=90_000, delta_partition=elsewhere))
    take(keeper, 2.0, *(update(n, n + 1, n + 1, key=other) for n in range(100)))
    assert due(keeper, 10.0) == [(100, 100)]


def test_a_snapshot_that_names_a_partition_from_before_some_were_added_waits_for_an_update(keeper: BookKeeper) -> None:
    other = next(names_at_home())
    old = snapshot(100, offset=7, symbol=other, delta_partition=(HOME + 1) % PARTITIONS)._replace(key=other.encode())
    take(keeper, 1.0, old)
    assert keeper.intake.books[other].status is Status.SYNCING
    assert "partitions were added" in keeper.intake.books[other].reason
    take(keeper, 2.0, update(0, 101, 101, key=other.encode()))
    assert keeper.intake.books[other].status is Status.LIVE
    assert due(keeper, 1_000.0) == [(101, 1)]


@pytest.mark.parametrize("is_followed", [True, False])
def test_vanished_offsets_take_every_book_of_their_partition_out_of_live(is_followed: bool) -> None:
    """Retention, `kafka-delete-records` or a truncating election removed them, possibly including update 102 of another market."""
    keeper, other = new_keeper(), next(names_at_home())
    take(keeper, 0.0, snapshot(100), snapshot(10, symbol=other)._replace(key=other.encode()))
    take(keeper, 0.1, update(0, 101, 101), update(1, 11, 11, key=other.encode()))
    write_tops(keeper, 1.0)
    if is_followed:
        take(keeper, 2.0, update(30_000, 12, 12, key=other.encode()))
    else:  # no record shows it: the position of the reader is past the last record
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


def test_a_partition_whose_remaining_records_vanished_has_caught_up() -> None:
    keeper = new_keeper(start=10, end=20)
    keeper.begin([snapshot(100, offset=10)], 0.0)
    keeper.set_positions({TOPIC_PARTITION: None}, 0.0)
    take(keeper, 0.0)
    assert not keeper.is_caught_up
    keeper.set_positions({TOPIC_PARTITION: 20}, 1.0)
    take(keeper, 1.0)
    assert keeper.is_caught_up
    assert keeper.intake.books[SYMBOL].status is Status.STALE


def test_a_snapshot_whose_updates_may_be_deleted_is_not_trusted() -> None:
    keeper = new_keeper(50, 50, (0, 0))  # Kafka's retention has deleted the earlier records
    take(keeper, 0.0, snapshot(100, offset=10))
    take(keeper, 0.0)
    assert keeper.intake.books[SYMBOL].status is Status.SYNCING
    take(keeper, 1.0, snapshot(120, offset=55))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE


def test_a_foreign_record_creates_no_market_and_breaks_only_the_book_of_its_key(keeper: BookKeeper) -> None:
    stranger = next(f"X{n}" for n in range(1000) if partition_of(f"X{n}".encode(), PARTITIONS) == HOME).encode()
    take(keeper, 1.0, Record("backpack.market.depth", HOME, 0, stranger, b"foreign"))
    assert list(keeper.intake.books) == [SYMBOL]
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    take(keeper, 1.0, Record("backpack.market.depth", HOME, 1, KEY, b"foreign"))
    assert keeper.intake.books[SYMBOL].status is Status.STALE
    assert keeper.intake.undecodable_records == 2


def _keys() -> Iterator[bytes]:
    return (f"M{n}_USDC".encode() for n in range(500))


@pytest.mark.parametrize(("updates", "snapshots"), [(8, 4), (4, 8), (8, 8), (6, 4), (5, 3), (1, 4), (8, 1)])
@pytest.mark.parametrize("number", [0, 2])
def test_snapshots_of_a_partitions_markets_are_in_the_partitions_that_are_searched(
    updates: int, snapshots: int, number: int
) -> None:
    number %= updates
    topic_partitions = [("snapshots", each) for each in range(snapshots)]
    looked_for = {each[1] for each in _beside(topic_partitions, frozenset({number}), updates)}
    holding = {partition_of(key, snapshots) for key in _keys() if partition_of(key, updates) == number}
    assert holding == looked_for


def test_gaps_of_a_recreated_topic_are_new_to_a_builder() -> None:
    keeper = new_keeper(gaps=(50_000, 50_000))
    take(keeper, 0.0, snapshot(100))
    take(keeper, 1.0, update(0, 101, 101))
    assert keeper.intake.books[SYMBOL].status is Status.LIVE
    take(keeper, 2.0, gap(0, last_id=101))
    take(keeper, 4.0)
    assert keeper.intake.books[SYMBOL].status is Status.STALE


def test_a_builder_that_joins_while_the_gap_topic_is_recreated_catches_up() -> None:
    keeper = new_keeper(end=1, gaps=(50_000, 50_001))
    take(keeper, 1.0, update(0, 101, 101))
    assert not keeper.is_caught_up
    keeper.set_positions({("backpack.ops.gap", 0): 0}, 2.0)
    take(keeper, 2.0)
    assert keeper.is_caught_up
