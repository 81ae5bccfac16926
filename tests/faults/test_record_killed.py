"""A killed recorder leaves a recording that is complete up to its last flush, and replay says so."""

import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from backpack_streams.recording.reading import RecordingReader
from backpack_streams.recording.records import Exchange, Frame, Record
from plant import Process, free_port, running_plant, wait_until


def records_of(path: Path) -> tuple[list[Record], list[str]]:
    reader = RecordingReader([path])
    return [record for batch in reader.batches() for record in batch], [loss.line for loss in reader.losses]


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """A recording whose recorder was killed at full load, and the minimum number of frames on disk."""
    folder = tmp_path_factory.mktemp("killed")
    file = folder / "session.bpr"
    with running_plant("", folder, "") as plant:
        plant.start_exchange("--symbols", "3", "--rate", "800")
        record = plant.start_record(file, "--streams", "depth,trade", "--flush-seconds", "0.2")
        wait_until("it records", record.is_ready)
        wait_until("it has recorded something", lambda: record.metric("recorded_frames_total") > 500)
        known, flushed = record.metric("recorded_frames_total"), record.metric("recording_bytes_total")
        wait_until("all of that was flushed", lambda: record.metric("recording_bytes_total") > flushed)
        flushed = record.metric("recording_bytes_total")
        wait_until("and more", lambda: record.metric("recording_bytes_total") > flushed)
        record.kill()
    return file, known


def test_a_killed_recording_is_complete_up_to_the_last_flush(killed: tuple[Path, float]) -> None:
    file, known = killed
    records, losses = records_of(file)
    assert len(losses) == 1
    frames = [record for record in records if isinstance(record, Frame)]
    assert len(frames) >= known
    ids: defaultdict[str, list[tuple[int, int]]] = defaultdict(list)
    for frame in frames:
        message = msgspec.json.decode(frame.payload)
        if message["stream"].startswith("depth."):
            ids[message["stream"]].append((message["data"]["U"], message["data"]["u"]))
    assert ids
    for updates in ids.values():
        assert all(before[1] + 1 == after[0] for before, after in pairwise(updates))
    seeds = [record for record in records if isinstance(record, Exchange) and "/depth?" in record.target]
    assert {seed.target.split("symbol=")[1].split("&")[0] for seed in seeds} >= {name[6:] for name in ids}


@pytest.mark.parametrize("cut_bytes", [0, 7])
def test_a_replay_plays_the_intact_part_and_reports_the_cut(
    killed: tuple[Path, float], tmp_path: Path, cut_bytes: int
) -> None:
    file = tmp_path / "session.bpr"
    file.write_bytes(killed[0].read_bytes())
    os.truncate(file, file.stat().st_size - cut_bytes)
    replay = run_replay(file, tmp_path)
    assert replay.popen.wait(60) == 0, replay.log_tail()
    frames = sum(1 for record in records_of(file)[0] if isinstance(record, Frame))
    log = replay.log.read_text()
    assert f'"frames": {frames}' in log
    assert ("was cut at byte" if cut_bytes else "") in log
    assert str(file) in log
    assert "Traceback" not in log


def test_damage_within_a_recording_is_a_failure_after_the_intact_part(
    killed: tuple[Path, float], tmp_path: Path
) -> None:
    file = tmp_path / "session.bpr"
    data = bytearray(killed[0].read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    replay = run_replay(file, tmp_path)
    assert replay.popen.wait(60) == 1, replay.log_tail()
    assert "is damaged at byte" in replay.log_tail()
    records, _ = records_of(file)
    assert records == records_of(killed[0])[0][: len(records)]


def run_replay(file: Path, folder: Path) -> Process:
    ports = ("--ws-port", str(free_port()), "--rest-port", str(free_port()))
    how = ("--speed", "max", "--start", "now", "--exit-when-done", "--log-format", "json")
    return Process(("replay", str(file), *ports, *how), folder / "replay.log")
