"""The sandbox reads the files of `record`: byte for byte, one copy of each frame, damaged ends skipped."""

import gzip
import json
import logging
from pathlib import Path

import pytest

from backpack_sandbox.recording import read_recording
from backpack_streams.errors import UsageError
from backpack_streams.recording.blocks import NoRecordingError
from backpack_streams.recording.records import Exchange, Note
from recorded_files import CAPTURED, ORDER_FLOW, frame, recording_of, write_recording

FRAME = '{"data":{"E":1790134357267289,"e":"trade", "s":"X_USDC","p":"1.500","q":1.50},"stream":"trade.X_USDC"}'


def answer(target: str, body: str, *, status: int = 200, method: str = "GET") -> Exchange:
    return Exchange(9, 8, method, target, status, {}, body.encode())


def test_the_text_of_a_frame_is_kept(tmp_path):
    path = write_recording(tmp_path / "a.bpr", [frame(1790134357267400, FRAME), frame(1790134357267500, FRAME + " ")])
    recording = read_recording(path)
    assert [each.payload.decode() for each in recording.frames] == [FRAME, FRAME + " "]
    assert [each.at_us for each in recording.frames] == [1790134357267400, 1790134357267500]


def test_the_order_flow(tmp_path):
    recording = read_recording(recording_of(ORDER_FLOW, tmp_path))
    with gzip.open(ORDER_FLOW, "rt") as file:
        lines = [json.loads(line) for line in file]
    assert [json.loads(each.payload) for each in recording.frames] == [line["ws"] for line in lines if "ws" in line]
    assert len(recording.snapshots) == len(recording.symbols) == 10
    assert sum(each.stream.startswith("depth.") for each in recording.frames) == 2047


def test_raw_frames_with_their_errors(tmp_path):
    recording = read_recording(recording_of(CAPTURED, tmp_path))
    assert [each.payload for each in recording.frames] == CAPTURED.read_bytes().splitlines()
    assert sum(each.stream is None for each in recording.frames) == 2
    assert "account.orderUpdate" not in recording.public_streams
    assert "liquidation" not in recording.public_streams
    assert "depth.200ms.SOL_USDC" in recording.public_streams


def test_of_two_sockets_one_copy_is_kept_even_if_the_first_one_ends(tmp_path):
    texts = [FRAME.replace("1.500", f"{number}.0") for number in range(6)]
    both = [frame(number, text, socket) for number, text in enumerate(texts[:4]) for socket in (1, 2)]
    ended = Note(4, "socket_lost", "cut", 1)
    rest = [frame(number, text, 2) for number, text in enumerate(texts[4:], 5)]
    recording = read_recording(write_recording(tmp_path / "a.bpr", [*both, ended, *rest]))
    assert [each.payload.decode() for each in recording.frames] == texts


def test_odd_frames_are_kept_unchanged(tmp_path):
    texts = ['{"error":{"code":4005}}', "[]", "no JSON", '{"stream":"trade.X_USDC","data":7}']
    path = write_recording(tmp_path / "a.bpr", [frame(number, text) for number, text in enumerate(texts)])
    recording = read_recording(path)
    assert [each.payload.decode() for each in recording.frames] == texts
    assert [each.stream for each in recording.frames] == [None, None, None, "trade.X_USDC"]
    assert all(each.data == {} for each in recording.frames)


def test_only_successful_answers_count(tmp_path):
    depth = "/api/v1/depth?symbol=X_USDC&limit=1000"
    records = [
        answer(depth, "busy", status=503),
        answer(depth, "<html>"),
        answer(depth, "[]"),
        answer("/api/v1/order", "{}", method="POST"),
        answer(depth, '{"lastUpdateId":"5"}'),
        answer(depth, '{"lastUpdateId":"6"}'),
        answer("/api/v1/markets", "[]"),
        answer("/api/v1/markets", "[1]"),
    ]
    recording = read_recording(write_recording(tmp_path / "a.bpr", records))
    assert recording.snapshots["X_USDC"].body == {"lastUpdateId": "5"}
    assert recording.bodies == {"/api/v1/markets": b"[]"}


def test_retiming_shifts_all_times_equally(tmp_path):
    now_us = 1_800_000_000_000_000
    path = recording_of(ORDER_FLOW, tmp_path)
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


def test_anything_but_a_recording_is_refused_and_a_truncated_one_is_read_up_to_its_end(tmp_path, caplog):
    with pytest.raises(UsageError, match="no recording"):
        read_recording(tmp_path / "absent.bpr")
    with pytest.raises(NoRecordingError, match=r"captured-frames\.jsonl is no recording"):
        read_recording(Path(CAPTURED))
    whole = write_recording(tmp_path / "whole.bpr", [frame(1, FRAME)])
    cut = tmp_path / "cut.bpr"
    cut.write_bytes(whole.read_bytes() + whole.read_bytes()[:30])
    with caplog.at_level(logging.WARNING):
        assert [each.payload.decode() for each in read_recording(cut).frames] == [FRAME]
    assert [record.message for record in caplog.records] == ["the recording is not complete"]
