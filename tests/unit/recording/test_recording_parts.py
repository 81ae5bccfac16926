"""The files: never overwritten, rotated with names in order of time, read part after part, losses reported."""

import asyncio
import os
from pathlib import Path

import pytest

from backpack_streams.commands.record.tape import Tape
from backpack_streams.errors import UsageError
from backpack_streams.recording.blocks import NoRecordingError
from backpack_streams.recording.parts import BLOCK_BYTES, PartFile, in_blocks, part_path
from backpack_streams.recording.reading import RecordingReader
from backpack_streams.recording.records import (
    About,
    End,
    Frame,
    Record,
    RecordingError,
    Streams,
    encode,
    encode_frame,
)

HOUR_US = 3_600_000_000


def part(path: Path, run: str, number: int, at_us: int, frames: int, closed: bool = True) -> list[Record]:
    records: list[Record] = [About(at_us, run, number, {})]
    records += [Frame(at_us + each, 1, b"x" * each) for each in range(frames)]
    if closed:
        records.append(End(at_us + frames))
    file = PartFile(path)
    for record in records:
        file.write([encode(record)])
    file.close()
    return records


def read(*paths: Path) -> tuple[list[Record], list[str]]:
    reader = RecordingReader(paths)
    return [record for batch in reader.batches() for record in batch], [loss.line for loss in reader.losses]


def test_parts_are_read_in_order_of_time_in_whatever_order_they_are_given(tmp_path: Path) -> None:
    second = part(tmp_path / "a.bpr", "run", 2, 2000, 3)
    first = part(tmp_path / "b.bpr", "run", 1, 1000, 3)
    assert read(tmp_path / "a.bpr", tmp_path / "b.bpr") == ([*first, *second], [])


def test_a_truncated_part_is_read_to_the_cut_and_the_next_one_follows(tmp_path: Path) -> None:
    first, second = part(tmp_path / "a", "run", 1, 1000, 3), part(tmp_path / "b", "run", 2, 2000, 2)
    os.truncate(tmp_path / "a", (tmp_path / "a").stat().st_size - 1)
    records, [line] = read(tmp_path / "a", tmp_path / "b")
    assert records == [*first[:-1], *second]
    assert "a was cut at byte" in line
    os.truncate(tmp_path / "b", 20)
    with pytest.raises(NoRecordingError, match="nothing in it is whole"):
        read(tmp_path / "a", tmp_path / "b")


def test_a_part_without_its_end_mark_is_reported(tmp_path: Path) -> None:
    records = part(tmp_path / "a", "run", 1, 1000, 3, closed=False)
    found, [line] = read(tmp_path / "a")
    assert found == records
    assert "no end mark" in line


def test_a_file_that_is_not_a_recording_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "text").write_text('{"stream":"depth.X","data":{}}\n')
    with pytest.raises(NoRecordingError, match="text is no recording"):
        RecordingReader([tmp_path / "text"])
    with pytest.raises(UsageError, match="there is no recording"):
        RecordingReader([tmp_path / "nothing"])
    part(tmp_path / "a", "run", 1, 1, 1)
    with pytest.raises(UsageError, match="given twice"):
        RecordingReader([tmp_path / "a", tmp_path / "." / "a"])


def test_a_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("precious")
    with pytest.raises(UsageError, match="never overwritten"):
        PartFile(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "precious"
    with pytest.raises(UsageError, match="cannot be made"):
        PartFile(tmp_path / "no folder" / "a")


def test_a_failing_disk_leaves_earlier_records_intact(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = PartFile(tmp_path / "a")
    file.write([encode(About(1, "run", 1, {})), encode_frame(2, 1, b"kept")])
    written = os.write

    def half(number: int, data: bytes) -> int:
        monkeypatch.setattr(os, "write", full)
        return written(number, bytes(data)[: len(data) // 2])

    def full(number: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(RecordingError, match="No space left"):
        file.write([encode_frame(3, 1, os.urandom(1000))])
    monkeypatch.undo()
    assert (tmp_path / "a").stat().st_size == file.size
    records, [line] = read(tmp_path / "a")
    assert records[-1] == Frame(2, 1, b"kept")
    assert "no end mark" in line


def test_names_of_parts_are_in_order_of_time() -> None:
    moments = [1_795_341_726_732_000 + step * 1_000_000_007 for step in range(50)]
    names = [part_path(Path("day.bpr"), moment, True).name for moment in moments]
    assert names[0] == "day-20261122T100206.732Z.bpr"
    assert names == sorted(set(names))
    assert part_path(Path("day.bpr"), moments[0], False) == Path("day.bpr")


def test_large_records_get_their_own_blocks() -> None:
    records = [b"a" * 10, b"b" * BLOCK_BYTES, b"c" * 10, b"d" * 10]
    assert list(in_blocks(records)) == [records[0], records[1], records[2] + records[3]]
    assert list(in_blocks([])) == []


class Clock:
    us = HOUR_US

    def __call__(self) -> int:
        return self.us


async def test_a_tape_is_rotated_by_size_and_by_age_and_loses_nothing(tmp_path: Path) -> None:
    clock = Clock()
    tape = Tape(tmp_path / "day.bpr", {}, clock, rotate_bytes=20_000, rotate_us=HOUR_US)
    tape.streams(Streams(clock(), ("depth.X",)))
    sent = [Frame(clock() + each, 1, os.urandom(1000)) for each in range(60)]
    new_parts = 0
    for frame in sent[:50]:
        tape.add(encode(frame))
        new_parts += await tape.flush()
    assert new_parts >= 2
    assert tape.waiting_bytes == 0
    clock.us += 2 * HOUR_US
    tape.add(encode(sent[50]))
    assert await tape.flush()
    for frame in sent[51:]:
        tape.add(encode(frame))
    await tape.close()
    paths = sorted(tmp_path.iterdir())  # noqa: ASYNC240  # nothing else is in the loop
    assert len(paths) == tape.parts == new_parts + 2
    assert sum(path.stat().st_size for path in paths) == tape.written_bytes
    records, losses = read(*paths)
    assert losses == []
    assert [record for record in records if isinstance(record, Frame)] == sent
    for path in paths:
        alone, _ = read(path)
        assert isinstance(alone[0], About)
        assert [record.names for record in alone if isinstance(record, Streams)] == [("depth.X",)]


async def test_records_added_while_the_disk_is_busy_are_kept_in_order(tmp_path: Path) -> None:
    tape = Tape(tmp_path / "a", {}, Clock())
    sent = [Frame(each, 1, b"%d" % each) for each in range(200)]
    flushing: asyncio.Task[bool] | None = None
    for frame in sent:
        tape.add(encode(frame))
        if flushing is None or flushing.done():
            flushing = asyncio.create_task(tape.flush())
        await asyncio.sleep(0)
    assert flushing is not None
    await flushing
    await tape.close()
    records, losses = read(tmp_path / "a")
    assert losses == []
    assert [record for record in records if isinstance(record, Frame)] == sent
