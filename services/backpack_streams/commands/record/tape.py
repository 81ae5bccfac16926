"""Gathers records in memory; a thread writes them to the disk, in order, part after part."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from backpack_streams.recording.parts import PartFile, part_path
from backpack_streams.recording.records import About, End, Streams, encode


class Tape:
    """One recording being written. Call `add` and `flush` from the event loop; only one task may await `flush` at a time.

    Attributes:
        waiting_bytes: bytes of records that are not on the disk yet.
        written_bytes: compressed bytes on the disk, of all parts.
        parts: number of parts begun so far.
    """

    def __init__(
        self,
        path: Path,
        details: Mapping[str, Any],
        now_us: Callable[[], int],
        *,
        rotate_bytes: int | None = None,
        rotate_us: int | None = None,
    ) -> None:
        """Create the first file, and write its first records to it.

        Args:
            path: the file; with rotation, the names of the parts are derived from it.
            details: about the recorder, for the first record of each part.
            now_us: returns the wall clock, µs since the Unix epoch.
            rotate_bytes: compressed size at which another part is begun; None for no limit.
            rotate_us: age at which another part is begun, µs; None for no limit.

        Raises:
            UsageError: it exists already, or cannot be created.
        """
        self._path = path
        self._details = details
        self._now_us = now_us
        self._rotate_bytes = rotate_bytes
        self._rotate_us = rotate_us
        self._run = os.urandom(8).hex()
        self._waiting: list[bytes] = []
        self._streams: Streams | None = None
        self._written_bytes_before = 0
        self.waiting_bytes = 0
        self.parts = 0
        self._part = self._begin()

    @property
    def written_bytes(self) -> int:
        """Compressed bytes on the disk, of all parts."""
        return self._written_bytes_before + self._part.size

    @property
    def path(self) -> Path:
        """The file that is being written."""
        return self._part.path

    def add(self, record: bytes) -> None:
        """Take an encoded record. It waits in memory until `flush` or `close`."""
        self._waiting.append(record)
        self.waiting_bytes += len(record)

    def streams(self, streams: Streams) -> None:
        """Take the streams that are subscribed from now on; each part begins with them.

        Args:
            streams: their full names, and since when.
        """
        self._streams = streams
        self.add(encode(streams))

    async def flush(self) -> bool:
        """Write the waiting records to the disk, in a thread; begin another part if this one has reached its size or age.

        Returns:
            True if a new part was begun; it holds no book yet.

        Raises:
            RecordingError: the disk is full or failing.
            UsageError: the next file cannot be created.
        """
        records, self._waiting = self._waiting, []
        size = self.waiting_bytes
        if records:
            await asyncio.to_thread(self._part.write, records)
            self.waiting_bytes -= size
        if not self._is_full():
            return False
        await self._end([])
        self._written_bytes_before += self._part.size
        self._part = await asyncio.to_thread(self._begin)
        return True

    async def close(self) -> None:
        """Write the rest to the disk, with the end mark.

        Raises:
            RecordingError: the disk is full or failing.
        """
        records, self._waiting = self._waiting, []
        self.waiting_bytes = 0
        await self._end(records)

    async def abandon(self) -> None:
        """Close the file without an end mark."""
        with contextlib.suppress(OSError):
            self._part.close()

    async def _end(self, records: list[bytes]) -> None:
        try:
            await asyncio.to_thread(self._part.write, [*records, encode(End(self._now_us()))])
        finally:
            self._part.close()

    def _is_full(self) -> bool:
        is_large = self._rotate_bytes is not None and self._part.size >= self._rotate_bytes
        is_old = self._rotate_us is not None and self._now_us() - self._begun_us >= self._rotate_us
        return is_large or is_old

    def _begin(self) -> PartFile:
        self._begun_us = self._now_us()
        is_rotated = self._rotate_bytes is not None or self._rotate_us is not None
        path = part_path(self._path, self._begun_us, is_rotated)
        while is_rotated and path.exists():  # names have a resolution of a millisecond
            self._begun_us += 1000
            path = part_path(self._path, self._begun_us, is_rotated)
        part = PartFile(path)
        self.parts += 1
        about = [encode(About(self._begun_us, self._run, self.parts, self._details))]
        if self._streams is not None:
            about.append(encode(Streams(self._begun_us, self._streams.names)))
        part.write(about)
        return part
