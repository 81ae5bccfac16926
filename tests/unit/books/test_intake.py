"""Kafka's records on their way to the books, including odd ones: foreign, trimmed, of markets that closed."""

import logging
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.intake import Intake
from backpack_streams.books.market_book import Outcome, Status
from backpack_streams.books.selection import Selection
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.partitioner import partition_of

CODEC = Codec()
DEPTH, SNAPSHOT, MARKET = ("b.market.depth", 0), ("b.market.book_snapshot", 0), ("b.reference.market", 0)
SECOND = 1_000_000


def record(
    topic_partition: tuple[str, int], offset: int, key: bytes | None, value: bytes | None, time_us: int = SECOND
) -> Any:
    return ConsumerRecord(*topic_partition, offset, time_us // 1000, 0, key, value, None, 0, 0, ())


def encoded(name: str, row: dict[str, Any]) -> bytes:
    return CODEC.encoder(name, "b.any")(CODEC.rows(name)(row))


def update(offset: int, first_id: int, last_id: int, symbol: str = "A") -> Any:
    row: dict[str, Any] = {
        "symbol": symbol,
        "source": "WEBSOCKET",
        "event_time": None,
        "engine_time": SECOND,
        "received_time": SECOND,
    }
    row |= {"first_update_id": first_id, "last_update_id": last_id, "asks": []}
    row |= {"bids": [{"price": "1", "quantity": str(last_id)}]}
    return record(DEPTH, offset, symbol.encode(), encoded("DepthUpdate", row))


def snapshot(last_id: int, delta_offset: int, symbol: str = "A") -> Any:
    row: dict[str, Any] = {
        "symbol": symbol,
        "source": "REST",
        "event_time": None,
        "engine_time": SECOND,
        "received_time": SECOND,
    }
    row |= {"origin": "SEED", "last_update_id": last_id, "bids_complete": True, "asks_complete": True}
    row |= {"bids": [{"price": "1", "quantity": "1"}], "asks": [{"price": "2", "quantity": "1"}], "depth_limit": None}
    row |= {"delta_topic": DEPTH[0], "delta_partition": 0, "delta_offset": delta_offset}
    row |= {"seed_update_id": None, "seed_engine_time": None}
    return record(SNAPSHOT, 0, symbol.encode(), encoded("BookSnapshot", row))


def row(symbol: str, kind: str) -> Any:
    said: dict[str, Any] = {each["name"]: None for each in CODEC.schema("Market").document["fields"]}
    said |= {"symbol": symbol, "source": "REST", "received_time": SECOND, "base_symbol": symbol, "quote_symbol": "USDC"}
    said |= {"market_type": kind, "order_book_state": "Open", "raw": ""}
    return record(MARKET, 0, symbol.encode(), encoded("Market", said))


def intake(*symbols: str, begins: int = 0) -> Intake:
    made = Intake(CODEC, "b.", Selection(symbols or None))
    made.depth_partitions = 1
    made.beginnings = {DEPTH: begins}
    return made


def take(into: Intake, *records: Any, now: float = 0.0) -> list[Outcome]:
    by_topic_partition: dict[TopicPartition, list[Any]] = {}
    for each in records:
        by_topic_partition.setdefault(TopicPartition(each.topic, each.partition), []).append(each)
    return [told.outcome for told in into.take(by_topic_partition, now)]


def test_records_before_the_offset_that_a_snapshot_names_are_skipped() -> None:
    books = intake()
    take(books, snapshot(10, 5))
    assert take(books, update(4, 11, 11)) == []
    assert books.books["A"].last_update_id == 10
    assert take(books, update(5, 11, 11)) == [Outcome.APPLIED]


def test_records_of_a_recreated_partition_are_not_skipped_as_older_than_a_snapshot() -> None:
    """A book whose updates were all skipped would stay LIVE and stand still."""
    books = intake()
    take(books, snapshot(10, 5))
    assert take(books, replace(update(0, 12, 12), timestamp=1001)) == [
        Outcome.BROKE
    ]  # a millisecond after the snapshot
    assert books.books["A"].status is Status.STALE


def test_duplicates_are_counted_and_not_given() -> None:
    books = intake()
    take(books, snapshot(10, 0))
    assert take(books, update(0, 9, 10), update(1, 11, 11), update(2, 11, 11), update(3, 12, 12)) == [
        Outcome.APPLIED,
        Outcome.APPLIED,
    ]
    assert books.updates == 4
    assert books.books["A"].duplicates == 2


def test_a_second_producer_that_is_ahead_breaks_nothing() -> None:
    books = intake("A")
    take(books, snapshot(10, 0))
    assert take(books, update(0, 11, 11), update(1, 11, 11)) == [Outcome.APPLIED]
    assert take(books, update(2, 14, 14)) == []
    assert take(books, update(3, 12, 12), update(4, 13, 13), now=0.1) == [Outcome.APPLIED] * 3
    assert take(books, update(5, 16, 16), now=0.2) == []
    assert books.books["A"].status is Status.LIVE
    assert take(books, now=0.49) == []
    assert take(books, now=0.51) == [Outcome.BROKE]
    assert books.books["A"].status is Status.STALE


def test_a_foreign_record_breaks_the_book_of_its_key_and_creates_no_market(caplog: pytest.LogCaptureFixture) -> None:
    books = intake()
    take(books, snapshot(10, 0))
    with caplog.at_level(logging.WARNING):
        outcomes = take(books, record(DEPTH, 0, b"A", b"{}"), record(DEPTH, 1, b"hello", b"world"))
    assert outcomes == [Outcome.BROKE]
    assert list(books.books) == ["A"]
    assert books.books["A"].reason == "the record at 0/0 cannot be read"
    assert books.undecodable_records == 2
    assert "are not framed as an Avro record" in books.last_problem
    assert take(books, snapshot(11, 0)) == [Outcome.RESYNCED]
    assert books.books["A"].status is Status.LIVE


def test_records_of_other_markets_are_not_decoded() -> None:
    books = intake("B*")
    assert take(books, update(0, 1, 1, "A"), snapshot(1, 0, "A"), record(DEPTH, 1, b"A", b"{}")) == []
    assert not books.books
    assert not books.undecodable_records
    take(books, snapshot(1, 0, "BTC"))
    assert list(books.books) == ["BTC"]


@pytest.mark.parametrize("follows", [True, False])
def test_a_snapshot_whose_updates_were_trimmed_is_live_only_if_an_update_continues_it(follows: bool) -> None:
    books = intake(begins=500)
    take(books, snapshot(10, 400))
    market = books.books["A"]
    assert market.status is Status.SYNCING
    assert "retention removed what may follow the snapshot at update 10" in market.reason
    list(books.release([market]))
    assert market.status is Status.SYNCING, "the end of the catching up changes nothing about it"
    take(books, update(600, 11 if follows else 13, 13), now=1.0)
    take(books, now=2.0)
    assert market.status is (Status.LIVE if follows else Status.SYNCING)
    take(books, snapshot(20, 601), now=3.0)
    take(books, now=4.0)
    take(books, update(601, 14, 21), now=4.0)
    assert (market.status, market.last_update_id) == (Status.LIVE, 21)


def test_a_newer_snapshot_replaces_a_doubtful_one() -> None:
    books = intake(begins=500)
    take(books, snapshot(10, 400))
    assert take(books, snapshot(30, 700)) == [Outcome.RESYNCED]
    assert (books.books["A"].status, books.books["A"].last_update_id) == (Status.LIVE, 30)


def test_updates_deleted_by_retention_before_they_were_read_break_the_books() -> None:
    books = intake()
    take(books, snapshot(10, 0), snapshot(10, 0, "B"))
    told: list[BookUpdate] = list(books.on_lost_records(DEPTH, 5, 9))
    assert [each.outcome for each in told] == [Outcome.BROKE] * 2
    assert "b.market.depth/0, offsets 5 to 8" in books.books["B"].reason
    take(books, snapshot(10, 20))
    assert books.books["A"].status is Status.LIVE
    assert books.books["B"].status is Status.STALE


def test_a_market_that_leaves_the_list_is_closed() -> None:
    books = intake()
    take(books, snapshot(10, 0))
    assert take(books, record(MARKET, 0, b"A", None, 7 * SECOND)) == [Outcome.CLOSED]
    market = books.books["A"]
    assert (market.status, market.since) == (Status.CLOSED, 7 * SECOND)
    assert market.reason == "delisted: not in the market list since 1970-01-01 00:00:07.000Z"
    assert take(books, record(MARKET, 1, b"B", None, 8 * SECOND)) == []
    take(books, snapshot(5, 0, "B"))
    assert books.books["B"].status is Status.CLOSED, "it was known before its book was"


def test_a_batch_that_begins_past_the_next_offset_breaks_every_book_of_its_partition() -> None:
    books = intake()
    take(books, snapshot(10, 0), snapshot(10, 0, "B"))
    assert take(books, update(0, 11, 11)) == [Outcome.APPLIED]
    assert take(books, update(30_000, 12, 12)) == [Outcome.BROKE, Outcome.BROKE, Outcome.BUFFERED]
    assert "offsets 1 to 29999" in books.books["B"].reason
    assert take(books, update(30_001, 13, 13)) == [Outcome.BUFFERED], "it is told once"


def test_vanished_offsets_are_reported_once_however_they_are_noticed() -> None:
    books = intake()
    take(books, snapshot(10, 0))
    take(books, update(0, 11, 11))
    assert [told.outcome for told in books.on_lost_records(DEPTH, 1, 5)] == [Outcome.BROKE]
    assert list(books.on_position(DEPTH, 5)) == []
    assert take(books, snapshot(20, 5), update(5, 21, 21)) == [Outcome.BUFFERED, Outcome.RESYNCED]
    assert [told.outcome for told in books.on_position(DEPTH, 9)] == [Outcome.BROKE]
    assert take(books, snapshot(30, 7)) == [Outcome.RESYNCED]
    assert books.books["A"].status is Status.SYNCING, "what follows on it may have vanished as well"
    assert take(books, update(9, 31, 31)) == [Outcome.APPLIED]
    assert books.books["A"].status is Status.LIVE


def test_books_show_their_own_status_once_their_partition_is_read_to_its_end_at_the_opening() -> None:
    books = intake()
    books.open(DEPTH, 3, 5)
    assert take(books, snapshot(10, 3)) == [Outcome.RESYNCED]
    assert take(books, update(3, 11, 11)) == [Outcome.APPLIED]
    assert books.books["A"].status is Status.SYNCING
    assert take(books, update(4, 12, 12)) == [Outcome.APPLIED, Outcome.CAUGHT_UP]
    assert books.books["A"].status is Status.LIVE
    books.close(DEPTH)
    assert (books.books, books.by_key, books.behind, books.beginnings) == ({}, {}, {}, {})


def test_a_reopened_partition_starts_again() -> None:
    books = intake()
    books.open(DEPTH, 5, 5)
    take(books, snapshot(10, 5), snapshot(10, 2, "B"))
    assert books.books["B"].status is Status.SYNCING
    take(books, update(5, 11, 11), update(6, 11, 11), update(7, 13, 13))
    assert books.awaits("A")
    books.close(DEPTH)
    assert not books.awaits("A")
    books.open(DEPTH, 8, 8)
    take(books, snapshot(20, 8), snapshot(20, 8, "B"))
    assert {market.status for market in books.books.values()} == {Status.LIVE}
    assert take(books, now=10.0) == [], "nothing waits any more"


def test_a_market_that_moves_to_another_partition_keeps_its_book() -> None:
    books = intake()
    take(books, snapshot(10, 0))
    take(books, update(0, 11, 11))
    count = next(count for count in range(2, 100) if partition_of(b"A", count))
    books.depth_partitions = count
    assert take(books, replace(update(0, 12, 12), partition=partition_of(b"A", count))) == [Outcome.APPLIED]
    assert take(books, update(1, 12, 12), update(2, 13, 13)) == [Outcome.APPLIED], "who began before writes on"
    assert (books.misplaced_updates, books.books["A"].last_update_id) == (2, 13)


@pytest.mark.parametrize(("moment", "status"), [(50, Status.LIVE), (200, Status.CLOSED), (400, Status.LIVE)])
def test_as_of_a_moment_a_market_has_the_state_it_had_then(moment: int, status: Status) -> None:
    books = intake()
    for state, second in (("Closed", 100), ("Open", 300)):
        books.listing.take("A", {"order_book_state": state, "market_type": "SPOT"}, second * SECOND)
    books.closed_until_us = moment * SECOND
    take(books, snapshot(10, 0))
    assert books.books["A"].status is status


def test_a_market_that_closed_after_the_as_of_moment_is_closed_when_its_book_is_created() -> None:
    books = intake()
    books.closed_until_us = 50 * SECOND
    take(books, record(MARKET, 0, b"A", None, 100 * SECOND))
    take(books, snapshot(10, 0))
    assert books.books["A"].status is Status.CLOSED
    assert books.books["A"].since == 100 * SECOND


def test_all_books_of_one_reader_share_the_limit_of_their_buffers() -> None:
    books = intake()
    for symbol in ("A", "B"):
        take(books, update(0, 5, 5, symbol))
    one = books.buffers.held_bytes
    take(books, update(1, 6, 6, "B"))
    assert 0 < one < books.buffers.held_bytes
    take(books, snapshot(4, 0, "A"), snapshot(4, 0, "B"))
    assert books.buffers.held_bytes == 0


def test_the_selection_is_known_before_the_number_of_partitions() -> None:
    books = Intake(CODEC, "b.", Selection("A"))
    assert books.wants(b"A")
    assert not books.wants(b"B")


def test_a_new_market_of_a_selected_kind_may_come_in_one_answer_with_its_row_and_its_snapshot() -> None:
    books = intake("kind:PERP")
    assert take(books, row("A", "PERP"), row("B", "SPOT"), update(0, 10, 10), snapshot(10, 1), update(1, 11, 11)) == [
        Outcome.BUFFERED,
        Outcome.BUFFERED,
        Outcome.RESYNCED,
    ]
    assert {symbol: (book.status, book.last_update_id) for symbol, book in books.books.items()} == {
        "A": (Status.LIVE, 11)
    }
    assert books.has_new_markets()
