"""Records without asyncio: the same records, a loop that may be left, and a thread that ends."""

import threading
from typing import Any

import pytest

from backpack_streams.books.records import MARKET_TRADE
from backpack_streams.books.streamed import StreamedRecord
from backpack_streams.books.sync_records import Records
from backpack_streams.errors import BookError, BusError
from topics_in_memory import PREFIX, T0, MemoryReader, Topics


def records_of(reader: MemoryReader, **options: Any) -> Records[Any]:
    records: Records[Any] = Records("localhost:1", MARKET_TRADE, topic_prefix=PREFIX, **options)
    stream = records._stream
    stream._reader = stream._reading._reader = reader  # type: ignore[assignment]
    return records


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "records"]


def trades(count: int) -> Topics:
    topics = Topics()
    for number in range(count):
        topics.trade(1 + number, seconds=number)
    return topics


def test_a_loop_that_is_left_continues_at_its_position_and_ends_at_the_end() -> None:
    found: list[int] = []
    with records_of(MemoryReader(trades(1_200)), start="beginning", until="end") as records:
        while len(found) < 1_200:
            for count, trade in enumerate(records):
                assert isinstance(trade, StreamedRecord)
                found.append(trade.value["trade_id"])
                if count == 99:
                    break
        assert list(records) == []
        assert records.is_caught_up
        assert threads()
    assert found == list(range(1, 1_201))
    assert not threads()


def test_an_error_of_the_reading_is_raised_and_nothing_is_lost() -> None:
    reader = MemoryReader(trades(3))
    with records_of(reader, start="beginning", until="end") as records:
        reader.errors.append(BusError("refused"))
        with pytest.raises(BusError, match="refused"):
            next(records)
        assert len(list(records)) == 3


def test_records_used_outside_their_block_are_an_error() -> None:
    records = records_of(MemoryReader(trades(3)))
    with pytest.raises(BookError, match="not connected"):
        next(records)
    with records, pytest.raises(BookError, match="in use already"), records:
        raise AssertionError
    assert not threads()


def test_records_held_by_the_thread_count_as_not_given() -> None:
    topics = trades(10)
    topics.watermark(["trade.A"], 60.0, 0)
    with records_of(MemoryReader(topics), symbols=["A"], start="beginning") as records:
        first = next(records)
        assert isinstance(first, StreamedRecord)
        assert records.complete_through("market.trade") == T0 + 1_000_000 - 1
