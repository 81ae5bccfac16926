"""Unusable frames: each is a dead letter, the loss is recorded, and the stream goes on."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.publishing.reports import MAX_PAYLOAD_BYTES
from unit.feed.captured_frames import PUBLIC, fewer, frames
from unit.feed.recorded_queues import Plant, depth_frame, trade_frame

FORTY_DIGITS = "1234567890" * 4


@pytest.mark.parametrize(
    "levels", [[[FORTY_DIGITS, "1"]], [["1", FORTY_DIGITS]], [["1.0000000000000000001", "1"]], [["NaN", "1"]]]
)
def test_an_invalid_price_makes_a_dead_letter_and_a_gap_and_the_stream_goes_on(levels: list[list[str]]) -> None:
    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 1000), 0, 1)
    bad = json.dumps(depth_frame(2, 2, 2000, b=levels)).encode()
    plant.send(bad, 0, 2)
    plant.send(depth_frame(3, 3, 3000), 0, 3)
    plant.send(depth_frame(4, 4, 4000), 0, 4)
    assert [row["last_update_id"] for row in plant.partition_queues.of("market.depth")] == [1, 3, 4]
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["origin"], letter["symbol"]) == ("VALUE_DOES_NOT_FIT", "depth.X", "X")
    assert (letter["payload"], letter["payload_truncated"], letter["received_time"]) == (bad, False, 2)
    assert [
        (gap["reason"], gap["last_id"], gap["next_id"], gap["lost_records"]) for gap in plant.partition_queues.gaps[1:]
    ] == [
        ("UNREADABLE_FRAME", 1, None, 1),
        ("SEQUENCE_BREAK", 1, 3, None),
    ]


def test_an_invalid_trade_leaves_a_gap_too() -> None:
    plant = Plant(["trade.X"])
    plant.send(trade_frame(1, 1))
    plant.send({"stream": "trade.X", "data": trade_frame(2, 2)["data"] | {"p": FORTY_DIGITS}})
    plant.send(trade_frame(3, 3))
    assert [row["trade_id"] for row in plant.partition_queues.of("market.trade")] == [1, 3]
    assert [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.partition_queues.gaps] == [
        ("STREAM_START", None, 1),
        ("UNREADABLE_FRAME", 1, None),
        ("SEQUENCE_BREAK", 1, 3),
    ]


def test_an_invalid_ticker_is_only_a_dead_letter() -> None:
    plant = Plant(["ticker.X"])
    plant.send({"stream": "ticker.X", "data": {"E": 1, "s": "X", "c": FORTY_DIGITS}})
    plant.send({"stream": "ticker.X", "data": {"E": 2, "s": "X", "c": "1"}})
    assert len(plant.partition_queues.of("market.ticker")) == 1
    assert [letter["reason"] for letter in plant.partition_queues.dead_letters] == ["VALUE_DOES_NOT_FIT"]
    assert plant.partition_queues.gaps == []


@pytest.mark.parametrize(("found", "put"), [(b'"s": "X"', b'"s": "X\xff"'), (b'"e": "depth"', b'"e": "\xff"')])
def test_invalid_utf_8_in_a_message_makes_a_dead_letter_of_its_stream_and_a_gap(found: bytes, put: bytes) -> None:
    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 1000), 0, 1)
    bad = json.dumps(depth_frame(2, 2, 2000)).encode()
    assert found in bad
    plant.send(bad.replace(found, put), 0, 2)
    plant.send(depth_frame(3, 3, 3000), 0, 3)
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["origin"], letter["symbol"]) == ("UNPARSABLE", "depth.X", "X")
    assert [(gap["reason"], gap["last_id"]) for gap in plant.partition_queues.gaps[1:]] == [
        ("UNREADABLE_FRAME", 1),
        ("SEQUENCE_BREAK", 1),
    ]


def test_invalid_utf_8_in_an_envelope_is_a_dead_letter() -> None:
    plant = Plant(["depth.X"])
    plant.send(b'{"stream":"depth.X\xff","data":{}}', 0, 7)
    [letter] = plant.partition_queues.dead_letters
    assert letter["reason"] == "UNPARSABLE"


def test_a_frame_that_breaks_its_handler_makes_a_dead_letter_and_a_gap(monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 1000), 0, 1)
    with monkeypatch.context() as broken:
        broken.setattr(type(plant.router.feeds["depth.X"]), "on_data", breaks)
        plant.send(depth_frame(2, 2, 2000), 0, 2)
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["origin"], letter["detail"]) == ("INTERNAL", "depth.X", "ZeroDivisionError()")
    assert plant.partition_queues.gaps[-1]["reason"] == "UNREADABLE_FRAME"


NO_MESSAGES = [
    b"",
    b"pong",
    b"\xff\xfe\x00",
    b"{",
    b"[" * 100_000,
    b'{"stream":"depth.X","data":' + b"[" * 100_000,
]


@pytest.mark.parametrize("payload", NO_MESSAGES, ids=range(len(NO_MESSAGES)))
def test_invalid_json_is_a_dead_letter(payload: bytes) -> None:
    plant = Plant(["depth.X"])
    plant.send(payload, 0, 7)
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["payload"]) == ("UNPARSABLE", payload)


@pytest.mark.parametrize("payload", [b"null", b"5", b'"text"', b"[]", b"{}", b'{"stream":null}', b'{"data":{}}'])
def test_json_without_a_stream_name_is_a_dead_letter(payload: bytes) -> None:
    plant = Plant(["depth.X"])
    plant.send(payload)
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["payload"], letter["origin"]) == ("UNKNOWN_STREAM", payload, "")


@pytest.mark.parametrize("data", ["", ',"data":null', ',"data":5', ',"data":[]', ',"data":"text"', ',"data":{}'])
def test_a_message_without_its_data_is_a_dead_letter_and_a_gap(data: str) -> None:
    plant = Plant(["depth.X"])
    plant.send(f'{{"stream":"depth.X"{data}}}'.encode())
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["origin"]) == ("UNPARSABLE", "depth.X")
    assert [gap["reason"] for gap in plant.partition_queues.gaps] == ["UNREADABLE_FRAME"]


@pytest.mark.parametrize("text", ["\\ud800", "\\udfff x", "\\u0000"])
@pytest.mark.parametrize(
    "shape",
    [
        '{"error":{"code":1,"message":"%s"}}',
        '{"stream":"%s","data":{}}',
        '{"stream":"depth.X","data":{"E":1,"s":"%s","U":1,"u":1}}',
        '{"stream":"liquidation","data":{"E":1,"s":"%s","S":"Bid","p":"1","q":1}}',
        '{"stream":"liquidation","data":{"E":1,"s":"X","S":"%s","p":"1","q":1}}',
        '{"stream":"depth.X","data":{"E":"%s","s":"X","U":1,"u":1}}',
    ],
)
def test_text_that_utf_8_cannot_carry_stops_nothing(shape: str, text: str) -> None:
    plant = Plant(["depth.X", "liquidation"])
    payload = (shape % text).encode()
    plant.send(payload)
    plant.send(depth_frame(2, 2, 2))
    assert plant.partition_queues.of("market.depth")[-1]["symbol"] == "X"
    published = plant.partition_queues.of("perp.liquidation") or len(plant.partition_queues.of("market.depth")) == 2
    assert published or [letter["payload"] for letter in plant.partition_queues.dead_letters] == [payload]


@pytest.mark.parametrize("sockets", [1, 2])
@pytest.mark.parametrize(
    "data",
    [
        {"U": 2**63, "u": 2**63},
        {"U": 2**80, "u": 2**80},
        {"E": 2**63},
        {"T": 2**70},
        {"U": -5, "u": -5},
        {"U": 9, "u": 3},
    ],
)
def test_numbers_beyond_64_bits_and_nonsensical_ids_stop_nothing(data: dict[str, Any], sockets: int) -> None:
    plant = Plant(["depth.X"], sockets)
    plant.send(depth_frame(1, 1, 1_000_000), 0, 1_000_000)
    bad = json.dumps(depth_frame(2, 2, 2_000_000, **data)).encode()
    plant.send(bad, 0, 2_000_000)
    plant.send(depth_frame(3, 3, 3_000_000), 0, 3_000_000)
    plant.tick(9.0)
    assert [row["last_update_id"] for row in plant.partition_queues.of("market.depth")] == [1, 3]
    assert [letter["payload"] for letter in plant.partition_queues.dead_letters] == [bad]
    assert ("SEQUENCE_BREAK", 1, 3) in [
        (gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.partition_queues.gaps
    ]


def test_a_payload_too_long_for_a_record_is_truncated_and_marked_as_such() -> None:
    plant = Plant([])
    plant.send(b"x" * (MAX_PAYLOAD_BYTES + 1))
    [letter] = plant.partition_queues.dead_letters
    assert letter["payload"] == b"x" * MAX_PAYLOAD_BYTES
    assert letter["payload_truncated"] is True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list("ETsUuabABe")), inner, max_size=6),
    max_leaves=10,
)

odd_frames = st.one_of(
    st.binary(max_size=30),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.builds(
        lambda stream, value: json.dumps({"stream": stream, "data": value}).encode(),
        st.sampled_from(PUBLIC),
        json_values,
    ),
    st.builds(
        lambda frame, changes: json.dumps({"stream": frame["stream"], "data": frame["data"] | changes}).encode(),
        frames,
        st.dictionaries(st.sampled_from(list("ETsUuabABeptqm")), json_values, max_size=2),
    ),
)


@fewer
@given(st.lists(odd_frames, max_size=4), st.integers(1, 2))
def test_any_frame_is_published_or_a_duplicate_or_recorded(payloads: list[bytes], sockets: int) -> None:
    plant = Plant(PUBLIC, sockets)
    for place, payload in enumerate(payloads):
        plant.send(payload, place % sockets, 1000 + place)
    plant.tick(1000.0)
    published = sum(1 for each in plant.partition_queues.arrived if not each.topic.startswith("ops."))
    duplicates = sum(plant.router.totals("duplicates").values())
    assert published + duplicates + len(plant.partition_queues.dead_letters) == len(payloads)
