"""Frames become records equal in every value, however loosely the wire writes them."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.exchange.streams import split_stream
from unit.feed.captured_frames import (
    DATA_FRAMES,
    FRAMES,
    LINES,
    MUST_BE_THERE,
    PUBLIC,
    RECEIVED_US,
    STREAMS,
    TOPICS,
    WRITTEN,
    expected,
    fewer,
    frames,
    record_of,
)
from unit.feed.recorded_queues import SERVICE, STREAM_SPECS, Plant


@pytest.mark.parametrize("frame", DATA_FRAMES, ids=lambda frame: frame["stream"])
def test_a_captured_frame_becomes_a_record_equal_in_every_value(frame: dict[str, Any]) -> None:
    line = LINES[FRAMES.index(frame)]
    plant, record = record_of(line, frame["stream"])
    assert record == expected(frame)
    [arrived] = [each for each in plant.partition_queues.arrived if not each.topic.startswith("ops.")]
    assert arrived.topic == TOPICS[frame["stream"]]
    assert arrived.key == frame["data"]["s"].encode()
    assert arrived.timestamp_ms == (record["engine_time"] or record["event_time"]) // 1000


def test_every_captured_line_is_published_or_recorded_whole() -> None:
    plant = Plant(PUBLIC)
    for line in LINES:
        plant.send(line, 0, RECEIVED_US)
    published = [each for each in plant.partition_queues.arrived if not each.topic.startswith("ops.")]
    assert len(published) == len(DATA_FRAMES)
    rest = [line for line, frame in zip(LINES, FRAMES, strict=True) if frame not in DATA_FRAMES]
    assert [letter["payload"] for letter in plant.partition_queues.dead_letters] == rest
    assert {letter["reason"] for letter in plant.partition_queues.dead_letters} == {"ERROR_FRAME", "UNKNOWN_STREAM"}


@pytest.mark.parametrize("stream", [name for name in STREAMS if name.startswith("account.")])
def test_a_stream_that_was_not_requested_is_a_dead_letter(stream: str) -> None:
    line = next(line for line in LINES if stream.encode() in line)
    plant = Plant(PUBLIC)
    plant.send(line, 0, RECEIVED_US)
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["origin"], letter["payload"]) == ("UNKNOWN_STREAM", stream, line)
    assert (letter["source"], letter["service"], letter["received_time"]) == ("WEBSOCKET", SERVICE, RECEIVED_US)
    assert plant.router.unroutable == 1


@pytest.mark.parametrize(("code", "message"), [(4006, "Invalid stream"), (4008, "Invalid depth window")])
def test_an_error_frame_is_reported_and_passed_on(code: int, message: str) -> None:
    line = next(line for line in LINES if str(code).encode() in line)
    plant = Plant(PUBLIC)
    plant.send(line, 3, RECEIVED_US)
    [letter] = plant.partition_queues.dead_letters
    assert (letter["reason"], letter["payload"]) == ("ERROR_FRAME", line)
    assert str(code) in letter["detail"]
    assert message in letter["detail"]
    assert plant.error_frames == [(3, code, message)]
    assert plant.router.error_frames == 1


@pytest.mark.parametrize("body", ["text", 5, [1], {"message": "no code"}, {"code": "4002", "message": "Parse error"}])
def test_error_frames_of_other_shapes_are_reported_too(body: Any) -> None:
    plant = Plant(PUBLIC)
    plant.send({"id": None, "error": body})
    [letter] = plant.partition_queues.dead_letters
    assert letter["reason"] == "ERROR_FRAME"
    [(_, code, _)] = plant.error_frames
    assert code == (4002 if isinstance(body, dict) and "code" in body else 0)


@pytest.mark.parametrize("frame", WRITTEN, ids=lambda frame: str(frame["stream"]))
def test_documented_frames_become_records_equal_in_every_value(frame: dict[str, Any]) -> None:
    _, record = record_of(json.dumps(frame).encode(), frame["stream"])
    assert record == expected(frame)


def rewritten(value: Any, draw: st.DrawFn, key: str = "") -> str:
    """JSON of a value, randomly with numbers as text and numeric texts as bare numbers."""
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
def test_numbers_as_text_and_text_as_numbers_in_any_order_of_keys_give_the_same_record(
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
def test_a_missing_required_field_makes_a_dead_letter(frame: dict[str, Any], data: st.DataObject) -> None:
    required = sorted(MUST_BE_THERE[split_stream(frame["stream"])[0].channel])
    gone = data.draw(st.sampled_from(required))
    less = {"stream": frame["stream"], "data": {name: item for name, item in frame["data"].items() if name != gone}}
    plant = Plant([frame["stream"]])
    plant.send(less)
    [letter] = plant.partition_queues.dead_letters
    assert letter["reason"] == "UNPARSABLE"
    assert f"`{gone}`" in letter["detail"]
    assert json.loads(letter["payload"]) == less


new_values = st.one_of(
    st.none(), st.integers(), st.text(max_size=5), st.lists(st.integers(), max_size=2), st.just({"x": 1.5})
)


@fewer
@given(frames, st.dictionaries(st.sampled_from(["new", "zz", "Q9"]), new_values, min_size=1))
def test_unknown_fields_are_accepted(frame: dict[str, Any], new: dict[str, Any]) -> None:
    _, record = record_of(
        json.dumps({"stream": frame["stream"], "data": frame["data"] | new}).encode(), frame["stream"]
    )
    assert record == expected(frame)
    channel = split_stream(frame["stream"])[0].channel
    [spec] = [spec for spec in STREAM_SPECS if spec.channel == channel]
    assert spec.unknown_fields()


@fewer
@given(frames, st.dictionaries(st.sampled_from(["id", "seq"]), new_values, min_size=1))
def test_an_envelope_with_something_new_in_it_is_opened(frame: dict[str, Any], new: dict[str, Any]) -> None:
    _, record = record_of(json.dumps(new | frame).encode(), frame["stream"])
    assert record == expected(frame)


@fewer
@given(frames, st.text(max_size=8))
def test_an_unknown_event_name_is_accepted(frame: dict[str, Any], event: str) -> None:
    changed = {"stream": frame["stream"], "data": frame["data"] | {"e": event}}
    _, record = record_of(json.dumps(changed).encode(), frame["stream"])
    assert record == expected(frame)
