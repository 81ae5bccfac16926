"""Every frame ends as the record it is, or on record as what it was; nothing that comes stops a stream."""

import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.bus.topics import topic
from backpack_streams.exchange.streams import split_stream
from backpack_streams.feed.reports import MAX_PAYLOAD_BYTES
from expected_records import expected as expected_record
from unit.feed.recorded_lanes import FAMILIES, SERVICE, Plant, depth_frame, liquidation_frame, ticker_frame, trade_frame

LINES = (Path(__file__).parents[2] / "data" / "captured-frames.jsonl").read_bytes().splitlines()
fewer = settings(max_examples=40)
RECEIVED_US = 1_800_000_000_123_456


def numbers_exact(payload: bytes) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(payload, parse_float=Decimal)
    return frame


FRAMES = [numbers_exact(line) for line in LINES]
STREAMS = sorted({frame["stream"] for frame in FRAMES if "stream" in frame})
PUBLIC = [name for name in STREAMS if not name.startswith("account.")]
DATA_FRAMES = [frame for frame in FRAMES if frame.get("stream") in PUBLIC]

MUST_BE_THERE = {
    "depth": {"E", "s", "U", "u"},
    "bookTicker": {"E", "s", "u"},
    "trade": {"E", "s", "t", "p", "q", "m"},
    "ticker": {"E", "s"},
    "kline": {"E", "s", "t", "T", "X"},
    "markPrice": {"E", "s", "p"},
    "openInterest": {"E", "s"},
    "liquidation": {"E", "s", "S", "p", "q"},
    "externalTicker": {"E", "s"},
    "stockPrice": {"symbol", "timestamp"},
}


def expected(frame: Mapping[str, Any]) -> dict[str, Any]:
    """What the record must say."""
    return expected_record(frame, RECEIVED_US)


def record_of(payload: bytes, stream: str) -> tuple[Plant, dict[str, Any]]:
    plant = Plant([stream])
    plant.send(payload, 0, RECEIVED_US)
    assert plant.lanes.dead_letters == []
    [record] = plant.lanes.of(plant.feed(stream).topic)
    return plant, record


# ---- captured frames

TOPICS = {
    "depth.BTC_USDC_PERP": "market.depth",
    "depth.AAPL.US_USDC_PERP": "market.depth",
    "depth.ETH_USDC": "market.depth",
    "depth.200ms.SOL_USDC": "market.depth_200ms",
    "bookTicker.BTC_USDC_PERP": "market.book_ticker",
    "markPrice.AAPL.US_USDC_PERP": "perp.mark_price",
    "ticker.BTC_USDC_PERP": "market.ticker",
    "trade.SOL_USDC": "market.trade",
    "kline.2h.ETH_USDC": "market.kline",
}


@pytest.mark.parametrize("frame", DATA_FRAMES, ids=lambda frame: frame["stream"])
def test_a_captured_frame_becomes_a_record_equal_in_every_value(frame: dict[str, Any]) -> None:
    line = LINES[FRAMES.index(frame)]
    plant, record = record_of(line, frame["stream"])
    assert record == expected(frame)
    [arrived] = [each for each in plant.lanes.arrived if not each.topic.startswith("ops.")]
    assert arrived.topic == TOPICS[frame["stream"]]
    assert arrived.key == frame["data"]["s"].encode()
    assert arrived.timestamp_ms == (record["engine_time"] or record["event_time"]) // 1000


def test_every_captured_line_is_published_or_on_record_whole() -> None:
    plant = Plant(PUBLIC)
    for line in LINES:
        plant.send(line, 0, RECEIVED_US)
    published = [each for each in plant.lanes.arrived if not each.topic.startswith("ops.")]
    assert len(published) == len(DATA_FRAMES)
    rest = [line for line, frame in zip(LINES, FRAMES, strict=True) if frame not in DATA_FRAMES]
    assert [letter["payload"] for letter in plant.lanes.dead_letters] == rest
    assert {letter["reason"] for letter in plant.lanes.dead_letters} == {"ERROR_FRAME", "UNKNOWN_STREAM"}


@pytest.mark.parametrize("stream", [name for name in STREAMS if name.startswith("account.")])
def test_a_stream_that_nobody_asked_for_is_a_dead_letter(stream: str) -> None:
    line = next(line for line in LINES if stream.encode() in line)
    plant = Plant(PUBLIC)
    plant.send(line, 0, RECEIVED_US)
    [letter] = plant.lanes.dead_letters
    assert (letter["reason"], letter["origin"], letter["payload"]) == ("UNKNOWN_STREAM", stream, line)
    assert (letter["source"], letter["service"], letter["received_time"]) == ("WEBSOCKET", SERVICE, RECEIVED_US)
    assert plant.router.unroutable == 1


@pytest.mark.parametrize(("code", "message"), [(4006, "Invalid stream"), (4008, "Invalid depth window")])
def test_an_error_frame_is_reported_and_handed_on(code: int, message: str) -> None:
    line = next(line for line in LINES if str(code).encode() in line)
    plant = Plant(PUBLIC)
    plant.send(line, 3, RECEIVED_US)
    [letter] = plant.lanes.dead_letters
    assert (letter["reason"], letter["payload"]) == ("ERROR_FRAME", line)
    assert str(code) in letter["detail"]
    assert message in letter["detail"]
    assert plant.error_frames == [(3, code, message)]
    assert plant.router.error_frames == 1


@pytest.mark.parametrize("body", ["text", 5, [1], {"message": "no code"}, {"code": "4002", "message": "Parse error"}])
def test_error_frames_of_other_shapes_are_reported_all_the_same(body: Any) -> None:
    plant = Plant(PUBLIC)
    plant.send({"id": None, "error": body})
    [letter] = plant.lanes.dead_letters
    assert letter["reason"] == "ERROR_FRAME"
    [(_, code, _)] = plant.error_frames
    assert code == (4002 if isinstance(body, dict) and "code" in body else 0)


# ---- how loosely the wire writes

# Not captured, but documented in the same way.
WRITTEN = [
    {"stream": "openInterest.BTC_USDC_PERP", "data": {"e": "openInterest", "E": 1, "T": 2, "s": "BTC_USDC_PERP", "o": "1432.50"}},
    {"stream": "liquidation", "data": {"e": "liquidation", "E": 7, "T": 2, "s": "kSHIB_USDC_PERP", "S": "Ask", "p": "0.012", "q": "10"}},
    {"stream": "liquidation.BTC_USDC", "data": {"e": "liquidation", "E": 7, "T": 2, "s": "BTC_USDC", "S": "Bid", "p": "9", "q": "1"}},
    {"stream": "markPrice.BTC_USDC", "data": {"e": "markPrice", "E": 7, "T": 2, "s": "BTC_USDC", "p": "9", "n": 5, "i": "8.5",
                                              "f": "0.0002438565367033305404731178"}},
    {"stream": "depth.1000ms.SOL_USDC", "data": {"e": "depth", "E": 7, "T": 2, "s": "SOL_USDC", "U": 5, "u": 9,
                                                 "a": [["1.5", "0"], ["1e-7", "2"]], "b": [["0.00", "1"]]}},
    {"stream": "externalTicker.MSFT.US_USDC", "data": {"e": "externalTicker", "E": 7, "s": "MSFT.US_USDC", "o": "491.937", "c": "493.952",
                                                       "h": "500", "l": "490.1", "v": "12.5", "V": "6174.4", "n": 3}},
    {"stream": "stockPrice.BRK.B", "data": {"e": "stockPrice", "symbol": "BRK.B", "bid": "491.9", "ask": "492.10", "mid": "492",
                                            "timestamp": 1790134357267, "session": "US_EQUITIES_REGULAR"}},
    {"stream": "stockPrice.AAPL", "data": {"symbol": "AAPL", "bid": None, "ask": None, "mid": "207.2", "timestamp": 1790134357267,
                                           "session": None}},
]  # fmt: skip
ALL_FRAMES = [*DATA_FRAMES, *WRITTEN]
frames = st.sampled_from(ALL_FRAMES)


@pytest.mark.parametrize("frame", WRITTEN, ids=lambda frame: str(frame["stream"]))
def test_documented_frames_become_records_equal_in_every_value(frame: dict[str, Any]) -> None:
    _, record = record_of(json.dumps(frame).encode(), frame["stream"])
    assert record == expected(frame)


def rewritten(value: Any, draw: st.DrawFn, key: str = "") -> str:
    """JSON of a value in which numbers are text, or texts that are numbers are bare numbers, as it comes."""
    if isinstance(value, dict):
        items = draw(st.permutations(list(value.items())))
        return "{" + ",".join(f"{json.dumps(name)}:{rewritten(item, draw, name)}" for name, item in items) + "}"
    if isinstance(value, list):
        return "[" + ",".join(rewritten(item, draw, "number") for item in value) + "]"
    if isinstance(value, bool) or value is None or key in ("s", "e", "S", "stream", "symbol", "session"):
        return json.dumps(value)
    text = str(value)
    bare = draw(st.booleans()) and "-" not in text.partition("e")[0] and text.count(".") <= 1 and ":" not in text
    return text if bare else json.dumps(text)


@fewer
@given(frames, st.data())
def test_numbers_as_text_and_text_as_numbers_in_any_order_of_keys_say_the_same(
    frame: dict[str, Any], data: st.DataObject
) -> None:
    payload = data.draw(st.composite(lambda draw: rewritten(frame, draw))())
    _, record = record_of(payload.encode(), frame["stream"])
    assert record == expected(frame)


@fewer
@given(frames, st.data(), st.booleans())
def test_optional_fields_may_be_null_or_missing(frame: dict[str, Any], data: st.DataObject, as_null: bool) -> None:
    optional = sorted(frame["data"].keys() - MUST_BE_THERE[split_stream(frame["stream"])[0].channel])
    gone = data.draw(st.sets(st.sampled_from(optional)))
    kept = {name: value for name, value in frame["data"].items() if name not in gone}
    less = {"stream": frame["stream"], "data": kept | dict.fromkeys(gone) if as_null else kept}
    _, record = record_of(json.dumps(less).encode(), frame["stream"])
    assert record == expected({"stream": frame["stream"], "data": kept})


@fewer
@given(frames, st.data())
def test_a_field_that_must_be_there_and_is_not_makes_a_dead_letter(frame: dict[str, Any], data: st.DataObject) -> None:
    required = sorted(MUST_BE_THERE[split_stream(frame["stream"])[0].channel])
    gone = data.draw(st.sampled_from(required))
    less = {"stream": frame["stream"], "data": {name: item for name, item in frame["data"].items() if name != gone}}
    plant = Plant([frame["stream"]])
    plant.send(less)
    [letter] = plant.lanes.dead_letters
    assert letter["reason"] == "UNPARSABLE"
    assert f"`{gone}`" in letter["detail"]
    assert json.loads(letter["payload"]) == less


new_values = st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.just({"x": 1.5})
)


@fewer
@given(frames, st.dictionaries(st.sampled_from(["new", "zz", "Q9"]), new_values, min_size=1))
def test_fields_not_known_yet_cost_nothing(frame: dict[str, Any], new: dict[str, Any]) -> None:
    _, record = record_of(
        json.dumps({"stream": frame["stream"], "data": frame["data"] | new}).encode(), frame["stream"]
    )
    assert record == expected(frame)
    channel = split_stream(frame["stream"])[0].channel
    [family] = [family for family in FAMILIES if family.channel == channel]
    assert family.unknown_fields()


@fewer
@given(frames, st.dictionaries(st.sampled_from(["id", "seq"]), new_values, min_size=1))
def test_an_envelope_with_something_new_in_it_is_opened_all_the_same(
    frame: dict[str, Any], new: dict[str, Any]
) -> None:
    _, record = record_of(json.dumps(new | frame).encode(), frame["stream"])
    assert record == expected(frame)


@fewer
@given(frames, st.text(max_size=8))
def test_an_event_name_not_known_yet_costs_nothing(frame: dict[str, Any], event: str) -> None:
    changed = {"stream": frame["stream"], "data": frame["data"] | {"e": event}}
    _, record = record_of(json.dumps(changed).encode(), frame["stream"])
    assert record == expected(frame)


# ---- what cannot be used

FORTY_DIGITS = "1234567890" * 4


@pytest.mark.parametrize(
    "levels", [[[FORTY_DIGITS, "1"]], [["1", FORTY_DIGITS]], [["1.0000000000000000001", "1"]], [["NaN", "1"]]]
)
def test_a_price_that_does_not_fit_is_a_dead_letter_and_a_gap_and_the_stream_goes_on(levels: list[list[str]]) -> None:
    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 1000), 0, 1)
    bad = json.dumps(depth_frame(2, 2, 2000, b=levels)).encode()
    plant.send(bad, 0, 2)
    plant.send(depth_frame(3, 3, 3000), 0, 3)
    plant.send(depth_frame(4, 4, 4000), 0, 4)
    assert [row["last_update_id"] for row in plant.lanes.of("market.depth")] == [1, 3, 4]
    [letter] = plant.lanes.dead_letters
    assert (letter["reason"], letter["origin"], letter["symbol"]) == ("VALUE_DOES_NOT_FIT", "depth.X", "X")
    assert (letter["payload"], letter["payload_truncated"], letter["received_time"]) == (bad, False, 2)
    assert [(gap["reason"], gap["last_id"], gap["next_id"], gap["lost_records"]) for gap in plant.lanes.gaps[1:]] == [
        ("UNREADABLE_FRAME", 1, None, 1),
        ("SEQUENCE_BREAK", 1, 3, None),
    ]


def test_a_trade_that_does_not_fit_leaves_a_gap_too() -> None:
    plant = Plant(["trade.X"])
    plant.send(trade_frame(1, 1))
    plant.send({"stream": "trade.X", "data": trade_frame(2, 2)["data"] | {"p": FORTY_DIGITS}})
    plant.send(trade_frame(3, 3))
    assert [row["trade_id"] for row in plant.lanes.of("market.trade")] == [1, 3]
    assert [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.lanes.gaps] == [
        ("STREAM_START", None, 1),
        ("UNREADABLE_FRAME", 1, None),
        ("SEQUENCE_BREAK", 1, 3),
    ]


def test_a_ticker_that_does_not_fit_is_a_dead_letter_alone() -> None:
    plant = Plant(["ticker.X"])
    plant.send({"stream": "ticker.X", "data": {"E": 1, "s": "X", "c": FORTY_DIGITS}})
    plant.send({"stream": "ticker.X", "data": {"E": 2, "s": "X", "c": "1"}})
    assert len(plant.lanes.of("market.ticker")) == 1
    assert [letter["reason"] for letter in plant.lanes.dead_letters] == ["VALUE_DOES_NOT_FIT"]
    assert plant.lanes.gaps == []


NO_MESSAGES = [
    b"",
    b"pong",
    b"\xff\xfe\x00",
    b"{",
    b"[" * 100_000,
    b'{"stream":"depth.X","data":' + b"[" * 100_000,
]


@pytest.mark.parametrize("payload", NO_MESSAGES, ids=range(len(NO_MESSAGES)))
def test_what_is_no_json_is_a_dead_letter(payload: bytes) -> None:
    plant = Plant(["depth.X"])
    plant.send(payload, 0, 7)
    [letter] = plant.lanes.dead_letters
    assert (letter["reason"], letter["payload"]) == ("UNPARSABLE", payload)


@pytest.mark.parametrize("payload", [b"null", b"5", b'"text"', b"[]", b"{}", b'{"stream":null}', b'{"data":{}}'])
def test_json_that_names_no_stream_is_a_dead_letter(payload: bytes) -> None:
    plant = Plant(["depth.X"])
    plant.send(payload)
    [letter] = plant.lanes.dead_letters
    assert (letter["reason"], letter["payload"], letter["origin"]) == ("UNKNOWN_STREAM", payload, "")


@pytest.mark.parametrize("data", ["", ',"data":null', ',"data":5', ',"data":[]', ',"data":"text"', ',"data":{}'])
def test_a_message_without_its_data_is_a_dead_letter_and_a_gap(data: str) -> None:
    plant = Plant(["depth.X"])
    plant.send(f'{{"stream":"depth.X"{data}}}'.encode())
    [letter] = plant.lanes.dead_letters
    assert (letter["reason"], letter["origin"]) == ("UNPARSABLE", "depth.X")
    assert [gap["reason"] for gap in plant.lanes.gaps] == ["UNREADABLE_FRAME"]


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
    assert plant.lanes.of("market.depth")[-1]["symbol"] == "X"
    published = plant.lanes.of("perp.liquidation") or len(plant.lanes.of("market.depth")) == 2
    assert published or [letter["payload"] for letter in plant.lanes.dead_letters] == [payload]


@pytest.mark.parametrize("links", [1, 2])
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
def test_numbers_beyond_64_bits_and_ids_that_make_no_sense_stop_nothing(data: dict[str, Any], links: int) -> None:
    plant = Plant(["depth.X"], links)
    plant.send(depth_frame(1, 1, 1_000_000), 0, 1_000_000)
    bad = json.dumps(depth_frame(2, 2, 2_000_000, **data)).encode()
    plant.send(bad, 0, 2_000_000)
    plant.send(depth_frame(3, 3, 3_000_000), 0, 3_000_000)
    plant.tick(9.0)
    assert [row["last_update_id"] for row in plant.lanes.of("market.depth")] == [1, 3]
    assert [letter["payload"] for letter in plant.lanes.dead_letters] == [bad]
    assert ("SEQUENCE_BREAK", 1, 3) in [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.lanes.gaps]


def test_a_payload_too_long_for_a_record_is_cut_and_says_so() -> None:
    plant = Plant([])
    plant.send(b"x" * (MAX_PAYLOAD_BYTES + 1))
    [letter] = plant.lanes.dead_letters
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
def test_whatever_comes_is_published_or_a_duplicate_or_on_record(payloads: list[bytes], links: int) -> None:
    plant = Plant(PUBLIC, links)
    for place, payload in enumerate(payloads):
        plant.send(payload, place % links, 1000 + place)
    plant.tick(1000.0)
    published = sum(1 for each in plant.lanes.arrived if not each.topic.startswith("ops."))
    duplicates = sum(plant.router.totals("duplicates").values())
    assert published + duplicates + len(plant.lanes.dead_letters) == len(payloads)


# ---- streams come and go


def test_streams_are_wanted_by_name_and_dropped_when_they_are_not() -> None:
    unwanted: list[str] = []
    plant = Plant(["depth.X", "trade.X"], on_unwanted=unwanted.append)
    assert [feed.name for feed in plant.router.want(["trade.X", "kline.1m.AAPL.US_USDC_PERP"])] == [
        "kline.1m.AAPL.US_USDC_PERP"
    ]
    assert plant.feed("kline.1m.AAPL.US_USDC_PERP").symbol == "AAPL.US_USDC_PERP"
    plant.send(depth_frame(1, 1, 1))
    assert plant.lanes.dead_letters == [], "what was on its way when it was dropped is nobody's fault"
    assert (plant.router.unwanted, unwanted) == (1, ["depth.X"])
    plant.send(depth_frame(1, 1, 1, "depth.Y"))
    assert [letter["reason"] for letter in plant.lanes.dead_letters] == ["UNKNOWN_STREAM"]
    assert plant.lanes.dead_letters[0]["symbol"] == "Y"
    assert unwanted == ["depth.X"]


def test_a_stream_that_is_wanted_again_goes_on_with_what_it_missed_on_record() -> None:
    plant = Plant(["depth.X", "bookTicker.X"])
    plant.send(depth_frame(1, 1, 1))
    plant.want(["bookTicker.X"])
    plant.uncover(0, "depth.X", through=10.0, cause="UNSUBSCRIBED")
    plant.send(depth_frame(2, 2, 2))  # was on its way
    plant.want(["bookTicker.X", "depth.X"])
    plant.cover(0, "depth.X", at=99.0)
    plant.send(depth_frame(7, 7, 7))
    plant.tick(120.0)
    assert [row["last_update_id"] for row in plant.lanes.of("market.depth")] == [1, 7]
    [gap] = plant.lanes.gaps[1:]
    assert (gap["reason"], gap["last_id"], gap["next_id"]) == ("NOT_SUBSCRIBED", 1, 7)
    assert gap["last_time"] == 10_000_000
    assert [row["status"] for row in plant.lanes.statuses] == ["LIVE", "LIVE"], "it is news that it delivers again"


def test_what_came_before_a_stream_was_dropped_tells_nothing_of_the_time_until_it_is_wanted_again() -> None:
    """Its new socket had brought messages, but was confirmed only after it was asked anew."""
    plant = Plant(["depth.X", "bookTicker.X"])
    plant.send(depth_frame(1, 1, 1))
    plant.uncover(0, "depth.X", through=1.0)
    plant.send(depth_frame(2, 2, 2), link=1)
    plant.want(["bookTicker.X"])
    plant.want(["bookTicker.X", "depth.X"])
    plant.cover(1, "depth.X", at=99.0)
    plant.tick(100.0)
    plant.tick(120.0)
    assert [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.lanes.gaps[1:]] == [
        ("DISCONNECTED", 2, None)
    ]


def test_a_stream_that_is_dropped_tells_what_it_lost_before() -> None:
    plant = Plant(["depth.X", "trade.X"])
    plant.send(depth_frame(1, 1, 1))
    plant.lanes.room = False
    plant.send(depth_frame(2, 2, 2))
    plant.want(["trade.X"])
    assert plant.router.owes_reports()
    plant.lanes.room = True
    plant.tick(1.0)
    assert [(gap["reason"], gap["last_id"], gap["next_id"]) for gap in plant.lanes.gaps[1:]] == [("BUFFER_FULL", 1, 3)]
    assert not plant.router.owes_reports()


def test_what_a_dropped_stream_held_goes_out() -> None:
    plant = Plant(["depth.X", "trade.X"], links=2)
    plant.send(depth_frame(1, 1, 1))
    plant.tick(1.0)
    plant.send(depth_frame(3, 3, 3))
    plant.want(["trade.X"])
    assert plant.router.held_since() is not None
    plant.tick(2.0)
    assert [row["last_update_id"] for row in plant.lanes.of("market.depth")] == [1, 3]
    assert plant.router.held_since() is None


@pytest.mark.parametrize(
    "frame",
    [
        depth_frame(2, 2, 2, s="Y"),
        {"stream": "trade.X", "data": trade_frame(2, 2)["data"] | {"s": "Y"}},
        {"stream": "bookTicker.X", "data": {"e": "bookTicker", "E": 1, "T": 1, "s": "Y", "u": 1, "a": "1", "A": "1"}},
    ],
    ids=["depth", "trade", "bookTicker"],
)
def test_a_message_about_another_market_is_a_dead_letter(frame: dict[str, Any]) -> None:
    plant = Plant([frame["stream"]])
    plant.send(frame)
    [letter] = plant.lanes.dead_letters
    assert (letter["reason"], letter["origin"]) == ("UNPARSABLE", frame["stream"])
    assert "'Y'" in letter["detail"]
    assert all(each.topic.startswith("ops.") for each in plant.lanes.arrived)


def test_what_is_wanted_again_keeps_its_place() -> None:
    plant = Plant(["depth.X"])
    plant.send(depth_frame(1, 1, 1))
    assert plant.router.want(["depth.X"]) == []
    plant.send(depth_frame(2, 2, 2))
    assert [gap["reason"] for gap in plant.lanes.gaps] == ["STREAM_START"]


def test_counts_outlive_the_streams_they_came_from() -> None:
    plant = Plant(["depth.X", "depth.Y"])
    plant.send(depth_frame(1, 1, 1))
    plant.send(depth_frame(1, 1, 1))
    plant.router.want(["depth.Y"])
    assert plant.router.totals("frames")["depth"] == 2
    assert plant.router.totals("published")["depth"] == 1
    assert plant.router.totals("duplicates")["depth"] == 1
    assert plant.router.totals("frames")["trade"] == 0


def test_every_family_s_topics_carry_its_record() -> None:
    for family in FAMILIES:
        for name in family.topics.values():
            assert topic(name).record == family.record


def test_a_stock_price_is_keyed_by_its_ticker_and_stamped_with_the_provider_s_time() -> None:
    plant = Plant(["stockPrice.BRK.B"])
    quote = {"symbol": "BRK.B", "bid": "1", "ask": "2", "mid": "1.5", "timestamp": 1790134357267, "session": "X"}
    plant.send({"stream": "stockPrice.BRK.B", "data": quote}, 0, RECEIVED_US)
    [arrived] = [each for each in plant.lanes.arrived if each.topic == "market.stock_price"]
    assert (arrived.key, arrived.timestamp_ms) == (b"BRK.B", 1790134357267)


def test_of_a_stream_of_all_markets_only_what_is_ours_is_published() -> None:
    plant = Plant(["liquidation"], carries=lambda symbol: symbol == "A")
    for symbol in ("B", "A", "C", "A"):
        plant.send(liquidation_frame(5, symbol), 0, 6)
    assert [row["symbol"] for row in plant.lanes.of("perp.liquidation")] == ["A", "A"]
    assert plant.router.totals("frames")["liquidation"] == 4
    assert plant.lanes.dead_letters == []


def test_a_stream_that_was_refused_and_delivers_again_is_live_again() -> None:
    plant = Plant(["depth.X", "bookTicker.X"])
    for number in (1, 2):
        plant.send(depth_frame(number, number, number))
        plant.send(ticker_frame(number, number))
    for stream in ("depth.X", "bookTicker.X"):
        plant.feed(stream).amiss()
    for number in (3, 4):
        plant.send(depth_frame(number, number, number))
        plant.send(ticker_frame(number, number))
    assert [row["stream"] for row in plant.lanes.statuses] == ["depth.X", "bookTicker.X"] * 2
    assert {row["status"] for row in plant.lanes.statuses} == {"LIVE"}


def test_streams_that_are_refused_after_a_reconnect_are_uncovered_until_they_are_a_gap() -> None:
    streams = ["depth.X", "trade.X", "liquidation", "kline.1m.X"]
    plant = Plant(streams)
    plant.send(depth_frame(10, 10, 1))
    plant.send(trade_frame(7, 1))
    plant.send(liquidation_frame(1))
    plant.tick(2.0)
    plant.lanes.arrived.clear()
    plant.uncover(0)
    for stream in streams:  # another socket is up, and its subscriptions are refused for 15 minutes
        plant.coverage.refused(stream)
    plant.prove(1, at=900.0)
    plant.tick(900.0)
    assert plant.coverage.uncovered() == set(streams)
    assert all(interval.until == 2_000_000 for interval, _ in plant.coverage.statement())
    assert plant.lanes.gaps == [], "while it lasts the watermarks tell"
    plant.cover(1, at=901.0)
    plant.tick(902.0)
    plant.tick(910.0)
    gaps = {
        gap["stream"]: (gap["reason"], gap["last_id"], gap["last_time"], gap["next_time"]) for gap in plant.lanes.gaps
    }
    times = 2_000_000, 901_000_000
    assert gaps == {
        "depth.X": ("SUBSCRIPTION_REFUSED", 10, *times),
        "trade.X": ("SUBSCRIPTION_REFUSED", 7, *times),
        "liquidation": ("SUBSCRIPTION_REFUSED", None, *times),
        "kline.1m.X": ("SUBSCRIPTION_REFUSED", None, *times),
    }


def test_a_new_socket_whose_subscriptions_come_after_the_old_one_went_leaves_a_gap() -> None:
    plant = Plant(["depth.X", "liquidation"])
    plant.send(depth_frame(10, 10, 1))
    plant.tick(2.0)
    plant.lanes.arrived.clear()
    plant.prove(1)
    plant.uncover(0)
    plant.prove(1, at=12.0)
    assert plant.coverage.uncovered() == {"depth.X", "liquidation"}
    plant.cover(1)
    plant.tick(12.0)
    plant.tick(20.0)
    assert [(gap["stream"], gap["reason"], gap["last_time"], gap["next_time"]) for gap in plant.lanes.gaps] == [
        ("liquidation", "DISCONNECTED", 2_000_000, 12_000_000),
        ("depth.X", "DISCONNECTED", 2_000_000, 12_000_000),
    ]


def test_text_that_is_no_json_is_an_error_without_a_code() -> None:
    """What is in front of the exchange may answer in its place; whoever subscribed has to know that nobody took that."""
    plant = Plant(["depth.X"])
    plant.send(b"Bad gateway", 3)
    [(link, code, message)] = plant.error_frames
    assert (link, code) == (3, 0)
    assert "Bad gateway" in message
    assert [letter["reason"] for letter in plant.lanes.dead_letters] == ["UNPARSABLE"]
