"""Rows of trades, candles and other records: a client that falls behind misses nothing, or gets the number of lost rows."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from stream_book import Books, read

from backpack_streams.gateway.stream import record_log
from backpack_streams.gateway.stream.record_log import RecordLog
from backpack_streams.gateway.stream.subscriptions import RecordSubscription

SYMBOL = "SOL_USDC"


def sequences(messages: list[Any]) -> list[int]:
    return [read(message)["sequence"] for message in messages if message.kind == "update"]


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 10))
def test_every_trade_is_sent_once_and_in_order_whenever_a_client_reads(reads: list[bool], before: int) -> None:
    books = Books(SYMBOL)
    log = RecordLog("trades", SYMBOL, [(number, {"id": number}) for number in range(before)])
    subscription = RecordSubscription(log, "trades", SYMBOL, "number", None)
    subscription.take(books)
    sent: list[int] = []
    for number, is_read in enumerate(reads, start=before):
        log.append(number, {"id": number})
        if is_read:
            sent += sequences(subscription.take(books))
    sent += sequences(subscription.take(books))
    assert sent == list(range(before, before + len(reads)))


@given(st.integers(1, 3 * record_log.ROWS_KEPT))
def test_lost_rows_are_counted(rows: int) -> None:
    books = Books(SYMBOL)
    log = RecordLog("liquidations", SYMBOL)
    subscription = RecordSubscription(log, "liquidations", SYMBOL, "number", None)
    subscription.take(books)
    for number in range(rows):
        log.append(number, {"id": number})
    messages = subscription.take(books)
    dropped = sum(read(each)["dropped"] for each in messages if each.kind == "conflated")
    assert dropped == max(0, rows - record_log.ROWS_KEPT)
    assert sequences(messages) == list(range(dropped, rows))


def test_of_a_ticker_only_the_newest_state_is_sent() -> None:
    books = Books(SYMBOL)
    log = RecordLog("ticker", SYMBOL)
    subscription = RecordSubscription(log, "ticker", SYMBOL, "string", None)
    subscription.take(books)
    for number in range(9):
        log.append(number, {"last_price": number})
    messages = subscription.take(books)
    assert [message.kind for message in messages] == ["update"]
    assert sequences(messages) == [8]


def test_the_newest_state_of_each_candle_is_sent_so_that_no_close_is_missed() -> None:
    books = Books(SYMBOL)
    log = RecordLog("klines.1m", SYMBOL)
    subscription = RecordSubscription(log, "klines.1m", SYMBOL, "number", None)
    subscription.take(books)
    for number, start in enumerate(["10:00", "10:00", "10:01", "10:00", "10:01", "10:02"]):
        log.append(number, {"start": start})
    assert sequences(subscription.take(books)) == [3, 4, 5]


@given(st.lists(st.integers(0, 100), unique=True, max_size=20), st.integers(0, 100))
def test_a_client_resumes_where_it_left_or_gets_a_snapshot(known: list[int], left: int) -> None:
    books = Books(SYMBOL)
    for sequence in sorted(known):
        books.add_row("trades", SYMBOL, sequence, {"id": sequence})
    log = RecordLog("trades", SYMBOL, [(sequence, {"id": sequence}) for sequence in known])
    messages = RecordSubscription(log, "trades", SYMBOL, "number", left).take(books)
    if known and min(known) <= left <= max(known):
        assert [message.kind for message in messages[:1]] == ["resumed"]
        assert sequences(messages) == sorted(sequence for sequence in known if sequence > left)
    else:
        assert [message.kind for message in messages] == ["conflated", "snapshot"]
        assert [row["id"] for row in read(messages[1])["data"]] == sorted(known, reverse=True)


def test_resuming_a_channel_of_last_values_loses_nothing() -> None:
    books = Books(SYMBOL)
    books.add_row("ticker", SYMBOL, 7, {"id": 7})
    log = RecordLog("ticker", SYMBOL, [(7, {"id": 7})])
    for left, expected in ((7, ["resumed"]), (3, ["resumed", "update"]), (9, ["snapshot"])):
        messages = RecordSubscription(log, "ticker", SYMBOL, "number", left).take(books)
        assert [message.kind for message in messages] == expected


def test_rows_without_an_offset_are_only_in_the_snapshot() -> None:
    books = Books(SYMBOL)
    books.add_row("trades", SYMBOL, -1, {"id": 1})
    log = RecordLog("trades", SYMBOL, [(-1, {"id": 1})])
    [snapshot] = RecordSubscription(log, "trades", SYMBOL, "number", None).take(books)
    assert read(snapshot)["data"] == [{"id": 1}]
    assert read(snapshot)["sequence"] is None


def test_a_row_is_encoded_once_for_all_clients() -> None:
    books = Books(SYMBOL)
    log = RecordLog("trades", SYMBOL)
    subscriptions = [RecordSubscription(log, "trades", SYMBOL, "number", None) for _ in range(9)]
    for each in subscriptions:
        each.take(books)
    log.append(1, {"id": 1})
    assert len({id(message) for each in subscriptions for message in each.take(books)}) == 1
