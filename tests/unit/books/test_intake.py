"""Kafka's records on their way to the books, the odd ones among them: foreign, trimmed, of markets that closed."""

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

CODEC = Codec()
DEPTH, SNAPSHOT, MARKET = ("b.market.depth", 0), ("b.market.book_snapshot", 0), ("b.reference.market", 0)
SECOND = 1_000_000


def record(place: tuple[str, int], offset: int, key: bytes | None, value: bytes | None, time_us: int = SECOND) -> Any:
    return ConsumerRecord(*place, offset, time_us // 1000, 0, key, value, None, 0, 0, ())


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


def seed(last_id: int, delta_offset: int, symbol: str = "A") -> Any:
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


def intake(*symbols: str, begins: int = 0) -> Intake:
    made = Intake(CODEC, "b.", Selection(symbols or None))
    made.depth_partitions = 1
    made.beginnings = {DEPTH: begins}
    return made


def take(into: Intake, *records: Any, now: float = 0.0) -> list[Outcome]:
    by_place: dict[TopicPartition, list[Any]] = {}
    for each in records:
        by_place.setdefault(TopicPartition(each.topic, each.partition), []).append(each)
    return [told.outcome for told in into.take(by_place, now)]


def test_what_lies_before_the_place_that_a_seed_names_does_not_follow_on_it() -> None:
    books = intake()
    take(books, seed(10, 5))
    assert take(books, update(4, 11, 11)) == []
    assert books.books["A"].last_update_id == 10
    assert take(books, update(5, 11, 11)) == [Outcome.APPLIED]


def test_a_partition_that_began_anew_is_not_taken_for_what_lies_before_a_seed() -> None:
    """A book whose updates were all passed over would stay LIVE, and stand still."""
    books = intake()
    take(books, seed(10, 5))
    assert take(books, replace(update(0, 12, 12), timestamp=1001)) == [Outcome.BROKE]  # a millisecond after the seed
    assert books.books["A"].status is Status.STALE


def test_duplicates_are_counted_and_not_given() -> None:
    books = intake()
    take(books, seed(10, 0))
    assert take(books, update(0, 9, 10), update(1, 11, 11), update(2, 11, 11), update(3, 12, 12)) == [
        Outcome.APPLIED,
        Outcome.APPLIED,
    ]
    assert books.updates == 4
    assert books.books["A"].duplicates == 2


def test_a_second_producer_that_is_ahead_breaks_nothing() -> None:
    books = intake("A")
    take(books, seed(10, 0))
    assert take(books, update(0, 11, 11), update(1, 11, 11)) == [Outcome.APPLIED]
    assert take(books, update(2, 14, 14)) == []
    assert take(books, update(3, 12, 12), update(4, 13, 13), now=0.1) == [Outcome.APPLIED] * 3
    assert take(books, update(5, 16, 16), now=0.2) == []
    assert books.books["A"].status is Status.LIVE
    assert take(books, now=0.49) == []
    assert take(books, now=0.51) == [Outcome.BROKE]
    assert books.books["A"].status is Status.STALE


def test_a_foreign_record_breaks_the_book_of_its_key_and_makes_no_market(caplog: pytest.LogCaptureFixture) -> None:
    books = intake()
    take(books, seed(10, 0))
    with caplog.at_level(logging.WARNING):
        outcomes = take(books, record(DEPTH, 0, b"A", b"{}"), record(DEPTH, 1, b"hello", b"world"))
    assert outcomes == [Outcome.BROKE]
    assert list(books.books) == ["A"]
    assert books.books["A"].reason == "the record at 0/0 cannot be read"
    assert books.undecodable_records == 2
    assert "are not framed as an Avro record" in books.last_problem
    assert take(books, seed(11, 0)) == [Outcome.RESEEDED]
    assert books.books["A"].status is Status.LIVE


def test_other_markets_records_are_not_looked_at() -> None:
    books = intake("B*")
    assert take(books, update(0, 1, 1, "A"), seed(1, 0, "A"), record(DEPTH, 1, b"A", b"{}")) == []
    assert not books.books
    assert not books.undecodable_records
    take(books, seed(1, 0, "BTC"))
    assert list(books.books) == ["BTC"]


@pytest.mark.parametrize("follows", [True, False])
def test_a_seed_whose_updates_were_trimmed_is_live_only_if_an_update_follows_on_it(follows: bool) -> None:
    books = intake(begins=500)
    take(books, seed(10, 400))
    market = books.books["A"]
    assert market.status is Status.SYNCING
    assert "retention removed what may follow the snapshot at update 10" in market.reason
    list(books.release([market]))
    assert market.status is Status.SYNCING, "the end of the catching up changes nothing about it"
    take(books, update(600, 11 if follows else 13, 13), now=1.0)
    take(books, now=2.0)
    assert market.status is (Status.LIVE if follows else Status.SYNCING)
    take(books, seed(20, 700), now=3.0)
    take(books, now=4.0)
    take(books, update(701, 14, 21), now=4.0)
    assert (market.status, market.last_update_id) == (Status.LIVE, 21)


def test_a_newer_seed_takes_the_place_of_a_doubtful_one() -> None:
    books = intake(begins=500)
    take(books, seed(10, 400))
    assert take(books, seed(30, 700)) == [Outcome.RESEEDED]
    assert (books.books["A"].status, books.books["A"].last_update_id) == (Status.LIVE, 30)


def test_updates_that_retention_took_away_before_they_were_read() -> None:
    books = intake()
    take(books, seed(10, 0), seed(10, 0, "B"))
    told: list[BookUpdate] = list(books.on_lost_records(DEPTH, 5, 9))
    assert [each.outcome for each in told] == [Outcome.BROKE] * 2
    assert "b.market.depth/0, offsets 5 to 8" in books.books["B"].reason
    take(books, seed(10, 20))
    assert books.books["A"].status is Status.LIVE
    assert books.books["B"].status is Status.STALE


def test_a_market_that_leaves_the_list_is_closed() -> None:
    books = intake()
    take(books, seed(10, 0))
    assert take(books, record(MARKET, 0, b"A", None, 7 * SECOND)) == [Outcome.CLOSED]
    market = books.books["A"]
    assert (market.status, market.since) == (Status.CLOSED, 7 * SECOND)
    assert market.reason == "delisted: not in the market list since 1970-01-01 00:00:07.000Z"
    assert take(books, record(MARKET, 1, b"B", None, 8 * SECOND)) == []
    take(books, seed(5, 0, "B"))
    assert books.books["B"].status is Status.CLOSED, "it was known before its book was"
