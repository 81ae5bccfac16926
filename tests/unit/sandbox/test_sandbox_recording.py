"""Recordings are read byte for byte, whatever the order of keys and blanks around them."""

import gzip
import json
from pathlib import Path

import pytest

from backpack_sandbox.recording import members, read_recording
from backpack_streams.errors import BackpackStreamsError, UsageError

DATA = Path(__file__).parents[2] / "data"


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "recording.jsonl"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_members_are_found_in_any_form():
    text = ' { "b" : {"x":[1,{"}":"{"}]} ,"a":"q\\"}", "n":-1.50e3,"z":null}'
    assert {key: text[start:end] for key, (start, end) in members(text).items()} == {
        "b": '{"x":[1,{"}":"{"}]}',
        "a": '"q\\"}"',
        "n": "-1.50e3",
        "z": "null",
    }


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a"}', '{"a":1} x', '{"a":1', "null"])
def test_what_is_no_object_is_refused(text):
    with pytest.raises(ValueError):  # noqa: PT011  # json's own messages differ between Python versions
        members(text)


def test_a_frames_text_is_kept(tmp_path):
    frame = '{"data":{"E":1790134357267289,"e":"trade", "s":"X_USDC","p":"1.500","q":1.50},"stream":"trade.X_USDC"}'
    path = written(tmp_path, f'{{ "ws": {frame} , "received_us": 1790134357267400}}', frame)
    recording = read_recording(path)
    assert [one.payload.decode() for one in recording.frames] == [frame, frame]
    assert recording.frames[0].at_us == 1790134357267400


def test_the_order_flow(tmp_path):
    recording = read_recording(DATA / "recorded-order-flow.jsonl.gz")
    with gzip.open(DATA / "recorded-order-flow.jsonl.gz", "rt") as file:
        lines = [json.loads(line) for line in file]
    assert [json.loads(frame.payload) for frame in recording.frames] == [line["ws"] for line in lines if "ws" in line]
    assert len(recording.snapshots) == len(recording.symbols) == 10
    assert sum(frame.stream.startswith("depth.") for frame in recording.frames) == 2047


def test_raw_frames_with_their_errors():
    lines = (DATA / "captured-frames.jsonl").read_bytes().splitlines()
    recording = read_recording(DATA / "captured-frames.jsonl")
    assert [frame.payload for frame in recording.frames] == lines
    assert sum(frame.stream is None for frame in recording.frames) == 2
    assert "account.orderUpdate" not in recording.public_streams
    assert "liquidation" not in recording.public_streams
    assert "depth.200ms.SOL_USDC" in recording.public_streams


def test_retiming_moves_all_times_alike():
    now_us = 1_800_000_000_000_000
    path = DATA / "recorded-order-flow.jsonl.gz"
    was, moved = read_recording(path), read_recording(path, now_us)
    shift = now_us - was.frames[0].at_us
    assert moved.frames[0].at_us == now_us
    for before, after in zip(was.frames, moved.frames, strict=True):
        assert after.at_us - before.at_us == shift
        assert after.data["E"] - before.data["E"] == shift
        assert {k: v for k, v in after.data.items() if k not in "ET"} == {
            k: v for k, v in before.data.items() if k not in "ET"
        } or before.data["e"] == "kline"
    symbol = "BCH_USDC_PERP"
    assert moved.snapshots[symbol].body["timestamp"] - was.snapshots[symbol].body["timestamp"] == shift
    assert moved.snapshots[symbol].body["bids"] == was.snapshots[symbol].body["bids"]


def test_what_cannot_be_read_is_said_with_its_line(tmp_path):
    with pytest.raises(UsageError, match="no recording"):
        read_recording(tmp_path / "absent.jsonl")
    with pytest.raises(BackpackStreamsError, match="line 2 is neither"):
        read_recording(written(tmp_path, '{"stream":"trade.X","data":{}}', '{"what":1}'))
    broken = tmp_path / "broken.jsonl.gz"
    broken.write_bytes(gzip.compress(b'{"stream":"trade.X","data":{}}\n')[:20])
    with pytest.raises(BackpackStreamsError, match="cannot be read"):
        read_recording(broken)
