"""When the builder writes the top of a book, and what it writes about a book that is closed or unusable."""

import pytest

from backpack_streams.book_builder.keeper import BookKeeper
from backpack_streams.book_builder.records import recalled_top
from backpack_streams.books.market_book import Status
from backpack_streams.bus.partitioner import partition_of
from unit.book_builder.fed_keeper import (
    CODEC,
    HOME,
    KEY,
    OTHER,
    PARTITIONS,
    SYMBOL,
    Record,
    due,
    gap,
    new_keeper,
    only_book,
    snapshot,
    take,
    update,
    write_tops,
)


def test_a_top_is_written_once_an_interval_and_only_if_it_changed(keeper: BookKeeper) -> None:
    assert [row["last_update_id"] for row in write_tops(keeper, 1.0)] == [100]
    assert write_tops(keeper, 5.0) == []
    take(keeper, 5.0, update(0, 101, 101, [(99, 5)]), update(1, 102, 102, [(99, 6)]))
    assert [row["last_update_id"] for row in write_tops(keeper, 5.0)] == [102]
    take(keeper, 5.05, update(2, 103, 103, [(99, 7)]))
    assert write_tops(keeper, 5.05) == []
    assert [row["last_update_id"] for row in write_tops(keeper, 5.11)] == [103]
    take(keeper, 6.0, update(3, 104, 104, [(50, 1)]))  # deeper than the top
    assert write_tops(keeper, 6.0) == []


def test_a_top_that_did_not_fit_the_queue_is_offered_again(keeper: BookKeeper) -> None:
    assert len(list(keeper.tops(1.0))) == 1
    assert [row["last_update_id"] for row in write_tops(keeper, 1.0)] == [100]


def test_a_top_that_kafka_rejected_is_written_again(keeper: BookKeeper) -> None:
    [first] = write_tops(keeper, 1.0)
    assert write_tops(keeper, 100.0) == []
    keeper.on_top_rejected(SYMBOL, 100.0)
    assert write_tops(keeper, 100.0) == []
    assert write_tops(keeper, 101.2) == [first]
    assert write_tops(keeper, 200.0) == []


def test_a_builder_that_takes_over_repeats_no_top_and_never_goes_back(keeper: BookKeeper) -> None:
    take(keeper, 1.0, update(0, 101, 101, [(99, 5)]))
    [said] = write_tops(keeper, 1.0)
    new = new_keeper(0, 0, (0, 0))
    take(new, 0.0, snapshot(100))
    new.recall_top(SYMBOL, recalled_top(said), said["last_update_id"], said["engine_time"])
    take(new, 1.0)
    assert write_tops(new, 1.0) == []  # still at 100
    take(new, 2.0, update(0, 101, 101, [(99, 5)]))
    assert write_tops(new, 2.0) == []  # already written
    take(new, 3.0, update(1, 102, 102, [(99, 6)]))
    assert [row["last_update_id"] for row in write_tops(new, 3.0)] == [102]


def test_a_gap_that_no_update_shows_takes_the_book_out_of_live(keeper: BookKeeper) -> None:
    write_tops(keeper, 1.0)
    take(keeper, 2.0, gap(0, last_id=100))
    take(keeper, 2.0)
    [row] = write_tops(keeper, 2.0)
    assert (row["status"], row["last_update_id"]) == ("STALE", 100)
    assert "100" in row["reason"]


def test_the_time_for_which_a_book_has_been_unusable_is_measured(keeper: BookKeeper) -> None:
    keeper.look_for_unusable(10.0)
    assert keeper.unusable_seconds(20.0) == 0.0
    take(keeper, 20.0, update(0, 150, 150, [(99, 5)]))
    take(keeper, 30.0)  # the missing updates did not arrive
    for now in (30.0, 31.0, 32.0):
        keeper.look_for_unusable(now)
    assert only_book(keeper).market.status is Status.STALE
    assert keeper.unusable_seconds(35.0) == 5.0
    take(keeper, 40.0, snapshot(150))
    keeper.look_for_unusable(41.0)
    assert only_book(keeper).market.status is Status.LIVE
    assert keeper.unusable_seconds(45.0) == 0.0


def test_a_book_that_moved_to_another_builder_is_not_unusable_here(keeper: BookKeeper) -> None:
    take(keeper, 20.0, update(0, 150, 150, [(99, 5)]))
    take(keeper, 30.0)
    keeper.look_for_unusable(30.0)
    keeper.close([HOME])
    assert keeper.unusable_seconds(45.0) == 0.0
    assert not keeper.has_caught_up(HOME)


def test_the_top_of_a_closed_market_is_closed_until_the_market_reopens_and_has_a_snapshot(keeper: BookKeeper) -> None:
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
    reopened = 1_000_000  # long after the book's last update
    texts = {"source": "REST", "base_symbol": "BTC", "quote_symbol": "USDC", "market_type": "PERP", "raw": "{}"}
    row = {"symbol": SYMBOL, "received_time": reopened * 1000, "order_book_state": "Open", **texts}
    take(keeper, 10.0, listed(CODEC.encoder("Market", "t")(row), reopened))
    [row] = write_tops(keeper, 20.0)
    assert row["status"] == "STALE"
    take(keeper, 21.0, snapshot(reopened + 1))
    [row] = write_tops(keeper, 30.0)
    assert row["status"] == "LIVE"


def test_a_market_known_as_closed_before_its_book_exists_has_a_closed_book(keeper: BookKeeper) -> None:
    take(keeper, 10.0, Record("backpack.reference.market", 0, 0, OTHER.encode(), None, 1_000))
    assert OTHER not in keeper.intake.books
    keeper.open(partition_of(OTHER.encode(), PARTITIONS), 0, 0, (0, 0))
    take(keeper, 0.0, snapshot(5, symbol=OTHER)._replace(key=OTHER.encode()))
    take(keeper, 0.0)
    assert keeper.intake.books[OTHER].status is Status.CLOSED


@pytest.mark.parametrize(("key", "value"), [(KEY, b"nonsense"), (None, None)])
def test_a_foreign_record_in_the_market_list_is_ignored(
    keeper: BookKeeper, key: bytes | None, value: bytes | None
) -> None:
    take(keeper, 10.0, Record("backpack.reference.market", 0, 0, key, value, 1_000))
    assert keeper.intake.undecodable_records == 1
    assert only_book(keeper).market.status is Status.LIVE
