"""Messages that are odd but say what they say: they become records, or dead letters, and stop nothing."""

import json
from decimal import Decimal
from typing import Any

import pytest
from aiokafka.producer.message_accumulator import BatchBuilder
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.account_producer.account_specs import ORDER_UPDATE
from backpack_streams.exchange.streams import split_stream
from backpack_streams.exchange.wire_errors import UnreadableMessageError
from backpack_streams.exchange.wire_times import EARLIEST_US, LATEST_US
from unit.feed.recorded_queues import STREAM_SPECS, Arrived, Plant

NOW_US = 1_790_134_357_267_289
BODY: dict[str, dict[str, Any]] = {
    "depth.X": {"s": "X", "U": 5, "u": 5, "b": [["100.5", "1"]], "a": []},
    "bookTicker.X": {"s": "X", "u": 5, "a": "1", "A": "1", "b": None, "B": None},
    "trade.X": {"s": "X", "p": "1", "q": "2", "t": 7, "m": True},
    "ticker.X": {"s": "X", "o": "1", "c": "2", "h": "2", "l": "1", "v": "5", "V": "6", "n": 3},
    "externalTicker.X": {"s": "X", "o": "1", "c": "2", "h": "2", "l": "1", "v": "5", "V": "6", "n": 3},
    "kline.1m.X": {
        "s": "X",
        "t": "2026-11-29T16:00:00",
        "T": "2026-11-29T16:01:00",
        "X": False,
        "n": 0,
        "o": None,
        "h": None,
        "l": None,
        "c": None,
        "v": "0",
    },
    "markPrice.X": {"s": "X", "p": "9", "f": "0.1", "i": "8", "n": 1_790_134_400_000},
    "openInterest.X": {"s": "X", "o": "5"},
    "liquidation.X": {"s": "X", "S": "Bid", "p": "1", "q": "2"},
}


def said(stream: str, **changes: Any) -> dict[str, Any]:
    return {"stream": stream, "data": {"E": NOW_US, "T": NOW_US, **BODY[stream], **changes}}


def published(plant: Plant) -> list[Arrived]:
    return [each for each in plant.partition_queues.arrived if not each.topic.startswith("ops.")]


def taken(stream: str, **changes: Any) -> dict[str, Any]:
    """The record that one message becomes."""
    plant = Plant([stream])
    plant.send(said(stream, **changes), 0, NOW_US)
    assert plant.partition_queues.dead_letters == []
    [record] = published(plant)
    return record.record


def letter(stream: str, **changes: Any) -> dict[str, Any]:
    """The dead letter that one message becomes."""
    plant = Plant([stream])
    plant.send(said(stream, **changes), 0, NOW_US)
    assert published(plant) == []
    [found] = plant.partition_queues.dead_letters
    return found


# ---- numbers


@pytest.mark.parametrize("level", [["100.5", "1", "3"], ["100.5", "1", 3], ["100.5", 1, None, {"orders": 2}]])
def test_a_level_of_more_than_two_parts_is_its_price_and_its_quantity(level: list[Any]) -> None:
    record = taken("depth.X", b=[level, ["99", "0"]])
    levels = [(each["price"], each["quantity"]) for each in record["bids"]]
    assert levels == [(Decimal("100.5"), Decimal(1)), (Decimal(99), Decimal(0))]


@pytest.mark.parametrize("nothing", ["", None])
def test_a_mark_price_without_a_funding_rate_is_a_mark_price(nothing: str | None) -> None:
    record = taken("markPrice.X", f=nothing, n=nothing, i=nothing)
    assert record["mark_price"] == 9
    assert (record["funding_rate"], record["index_price"], record["next_funding_time"]) == (None, None, None)


@pytest.mark.parametrize(
    ("stream", "fields"),
    [
        ("bookTicker.X", "aAbB"),
        ("ticker.X", "ochlvVn"),
        ("externalTicker.X", "ochlvVn"),
        ("kline.1m.X", "ohlcvn"),
        ("openInterest.X", "o"),
    ],
)
def test_empty_text_says_as_much_as_null(stream: str, fields: str) -> None:
    assert taken(stream, **dict.fromkeys(fields, "")) == taken(stream, **dict.fromkeys(fields))


@pytest.mark.parametrize(
    ("stream", "field"),
    [("markPrice.X", "p"), ("trade.X", "p"), ("trade.X", "q"), ("liquidation.X", "q"), ("bookTicker.X", "u")],
)
def test_a_number_that_must_be_there_and_is_empty_is_a_dead_letter(stream: str, field: str) -> None:
    assert letter(stream, **{field: ""})["reason"] == "UNPARSABLE"


@pytest.mark.parametrize("number", ["\uff11\uff12", "\u0663", "1.\u0966", "-\u0663"])
@pytest.mark.parametrize("stream", ["depth.X", "trade.X", "markPrice.X", "ticker.X", "kline.1m.X", "bookTicker.X"])
def test_digits_of_other_scripts_are_no_number(number: str, stream: str) -> None:
    if stream == "depth.X":
        letter(stream, b=[[number, "1"]])
        letter(stream, b=[["1", number, "3"]])
    else:
        letter(stream, **{{"ticker.X": "c", "kline.1m.X": "c", "bookTicker.X": "a"}.get(stream, "p"): number})


# ---- times

ABSURD = [
    -5,
    0,
    1_790_134_357,
    1_790_134_357_267,
    EARLIEST_US - 1,
    LATEST_US,
    NOW_US * 1000,
    2**62,
    2**63 - 1,
    -(2**63),
]
streams = pytest.mark.parametrize("stream", sorted(BODY))


def batch_takes(timestamp_ms: int) -> bool:
    """Whether the client's own batch takes a record of that time: for some it raises."""
    batch = BatchBuilder(1 << 16, 0, is_transactional=False)
    batch.append(timestamp=NOW_US // 1000, key=b"k", value=b"v")
    return batch.append(timestamp=timestamp_ms, key=b"k", value=b"v") is not None


@streams
@pytest.mark.parametrize("moment", ABSURD)
def test_a_message_of_an_absurd_time_keeps_it_and_is_stamped_with_one_that_can_be(stream: str, moment: int) -> None:
    plant = Plant([stream])
    plant.send(said(stream, E=moment, **({} if stream.startswith("kline") else {"T": moment})), 0, NOW_US)
    [arrived] = published(plant)
    assert arrived.record["event_time"] == moment
    assert arrived.timestamp_ms == NOW_US // 1000
    assert batch_takes(arrived.timestamp_ms)


@streams
@given(moment=st.integers() | st.sampled_from([2**63, -(2**63) - 1, 2**63 * 999]))
def test_whatever_its_time_a_message_is_a_record_or_a_dead_letter(stream: str, moment: int) -> None:
    plant = Plant([stream])
    plant.send(said(stream, E=moment), 0, NOW_US)
    assert len(published(plant)) + len(plant.partition_queues.dead_letters) == 1
    assert all(EARLIEST_US <= each.timestamp_ms * 1000 < LATEST_US for each in published(plant))


@pytest.mark.parametrize("stream", sorted(BODY.keys() - {"kline.1m.X"}))
def test_the_time_of_the_event_stands_in_for_an_absurd_engine_time(stream: str) -> None:
    plant = Plant([stream])
    plant.send(said(stream, T=2**62, E=NOW_US - 5_000_000), 0, NOW_US)
    [arrived] = published(plant)
    assert arrived.timestamp_ms == (NOW_US - 5_000_000) // 1000
    assert arrived.record["engine_time"] == 2**62


@pytest.mark.parametrize("stream", sorted(BODY.keys() - {"kline.1m.X", "depth.X", "trade.X", "bookTicker.X"}))
def test_an_absurd_time_does_not_order_a_stream(stream: str) -> None:
    kind, _ = split_stream(stream)
    [spec] = [each for each in STREAM_SPECS if each.channel == kind.channel]
    data = said(stream)["data"]

    def order(**changes: Any) -> tuple[int, int, int]:
        reading = spec.read(json.dumps(data | changes).encode(), kind)
        return reading.first_id, reading.last_id, reading.time_us

    assert order(E=2**62) == (NOW_US, NOW_US, NOW_US)
    assert order(T=-5) == (NOW_US, NOW_US, NOW_US)
    assert order(E=-5, T=2**62) == (0, 0, 0)


@pytest.mark.parametrize(("start", "end"), [("0001-01-01T00:00:00", None), (None, "9999-12-31T23:59:59")])
def test_a_candle_of_an_absurd_time_is_a_dead_letter(start: str | None, end: str | None) -> None:
    body = BODY["kline.1m.X"]
    found = letter("kline.1m.X", t=start or body["t"], T=end or body["T"])
    assert found["reason"] == "UNPARSABLE"
    assert (start or end or "") in found["detail"]


def test_an_order_of_an_absurd_time_is_stamped_when_it_is_received() -> None:
    kind, _ = split_stream("account.orderUpdate")
    assert ORDER_UPDATE.read(b'{"E":%d,"T":-5}' % (2**62), kind).time_us == 0
    assert ORDER_UPDATE.read(b'{"E":%d,"T":-5}' % NOW_US, kind).time_us == NOW_US
    assert ORDER_UPDATE.read(b'{"E":"","T":%d,"q":"","p":null}' % NOW_US, kind).row["quantity"] is None
    with pytest.raises(UnreadableMessageError):
        ORDER_UPDATE.read('{"E":"\u0661"}'.encode(), kind)
