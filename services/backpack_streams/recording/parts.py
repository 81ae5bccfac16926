"""Writes the files of a recording, one after the other, each block at once and complete, and never over an existing file."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from backpack_streams.errors import UsageError
from backpack_streams.recording.blocks import BlockWriter
from backpack_streams.recording.records import RecordingError

BLOCK_BYTES = 4 * 1024 * 1024
"""The approximate upper limit of a block's raw size; a larger record gets a block of its own."""


def part_path(path: Path, opened_us: int, is_rotated: bool) -> Path:
    """Return the file of a part.

    Args:
        path: the file that the user named.
        opened_us: when the part was begun, µs since the Unix epoch.
        is_rotated: if True, the name is `NAME-20261122T095010.123Z.SUFFIX` in the same folder, so names sort by time; else `path`.
    """
    if not is_rotated:
        return path
    moment = datetime.fromtimestamp(opened_us // 1_000_000, UTC)
    stamp = f"{moment:%Y%m%dT%H%M%S}.{opened_us // 1000 % 1000:03d}Z"
    return path.with_name(f"{path.stem}-{stamp}{path.suffix}")


class PartFile:
    """One file being written. `size` counts its bytes. When `write` has returned, its records are on the disk."""

    def __init__(self, path: Path, level: int = 3) -> None:
        """Create the file.

        Raises:
            UsageError: it exists already, or cannot be created.
        """
        self.path = path
        self.size = 0
        self._blocks = BlockWriter(level)
        try:
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        except FileExistsError:
            raise UsageError(
                f"{path} is there already, and a recording is never overwritten; give another name or move it away"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{path} cannot be made: {error.strerror}; give a file in a folder that can be written to"
            ) from error
        _sync_folder(path.parent)

    def write(self, records: Iterable[bytes]) -> None:
        """Write records to the disk, in blocks.

        Raises:
            RecordingError: the disk is full or failing. What was written before stays readable.
        """
        for raw in in_blocks(records):
            self._write_block(self._blocks.block(raw))
        try:
            os.fsync(self._file)
        except OSError as error:
            raise self._failed(error) from error

    def _write_block(self, block: bytes) -> None:
        rest = memoryview(block)
        try:
            while rest:
                rest = rest[os.write(self._file, rest) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # readers tolerate a torn block at the end
                os.ftruncate(self._file, self.size)
            raise self._failed(error) from error
        self.size += len(block)

    def _failed(self, error: OSError) -> RecordingError:
        return RecordingError(
            f"{self.path} cannot be written any more: {error.strerror}; "
            f"its first {self.size} bytes are a whole recording. Make room and start again"
        )

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def in_blocks(records: Iterable[bytes]) -> Iterator[bytes]:
    """Join records into blocks of at most `BLOCK_BYTES`; a larger record is a block of its own."""
    waiting: list[bytes] = []
    size = 0
    for record in records:
        if waiting and size + len(record) > BLOCK_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
        waiting.append(record)
        size += len(record)
    if waiting:
        yield b"".join(waiting)


def _sync_folder(folder: Path) -> None:
    """Make the file's name survive a power failure too; not every file system supports it."""
    with contextlib.suppress(OSError):
        number = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)
