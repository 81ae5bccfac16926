"""Blocks: each is compressed, has a checksum and is readable without the others, so a file that was cut is readable up to the cut.

A block consists of two zstd frames: a skippable one with our header, and an ordinary one with the records. Every other
tool therefore sees an ordinary `.zst` file. Sans I/O.
"""

import hashlib
import struct
import zlib
from dataclasses import dataclass

import zstandard

from backpack_streams.recording.records import RecordingError

MAGIC = b"BPREC\x00\x00\x01"
SKIPPABLE_FRAME = 0x184D2A5B
"""One of the sixteen magic numbers that zstd reserves for users (RFC 8878, 3.1.2)."""
DIGEST_BYTES = 16
MOST_RAW_BYTES = 64 * 1024 * 1024
"""A security limit: it bounds a reader's memory."""

_OUTER = struct.Struct("<II")  # magic and size of the skippable frame
_INNER = struct.Struct("<8sQII16sI")  # magic, number, compressed size, raw size, digest, CRC-32 of all before it
HEADER_BYTES = _OUTER.size + _INNER.size
_CRC_BYTES = 4
_CHECKED = struct.Struct("<QII")


class NoRecordingError(RecordingError):
    """The bytes are not the beginning of a recording."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Damage:
    """The position at which a recording stops being readable.

    Attributes:
        offset: the byte of the file at which the last complete block ends.
        reason: what is wrong after it, for people.
        is_cut: True if the file just ends there, as after a kill or a full disk; False if bytes were changed.
    """

    offset: int
    reason: str
    is_cut: bool


class BlockWriter:
    """Compresses records into blocks; `level` is zstd's compression level."""

    def __init__(self, level: int = 3) -> None:
        self._compressor = zstandard.ZstdCompressor(level=level, write_checksum=True)
        self._number = 0

    def block(self, raw: bytes) -> bytes:
        """Return the bytes of the next block.

        Raises:
            RecordingError: the block would be larger than readers accept.
        """
        if len(raw) > MOST_RAW_BYTES:
            raise RecordingError(f"a block of {len(raw)} bytes is too large; {MOST_RAW_BYTES} are the most")
        body = self._compressor.compress(raw)
        digest = _digest(self._number, len(body), len(raw), body)
        inner = _INNER.pack(MAGIC, self._number, len(body), len(raw), digest, 0)[:-_CRC_BYTES]
        outer = _OUTER.pack(SKIPPABLE_FRAME, _INNER.size)
        self._number += 1
        return outer + inner + zlib.crc32(outer + inner).to_bytes(_CRC_BYTES, "little") + body


class BlockScanner:
    """Takes a part's bytes as they arrive and returns complete blocks. After the first damaged block it returns nothing."""

    def __init__(self) -> None:
        self._decompressor = zstandard.ZstdDecompressor()
        self._waiting = bytearray()
        self._number = 0
        self.offset = 0
        """Number of bytes in complete blocks so far."""
        self.damage: Damage | None = None

    def feed(self, data: bytes) -> list[bytes]:
        """Return the raw bytes of the blocks that are now complete.

        Raises:
            NoRecordingError: the first bytes are not those of a recording.
        """
        if self.damage is not None:
            return []
        self._waiting += data
        found = []
        while self.damage is None:
            raw = self._next()
            if raw is None:
                break
            found.append(raw)
        return found

    def finish(self) -> Damage | None:
        """End of the file: return what is wrong with it; None if nothing is.

        Raises:
            NoRecordingError: there is not one complete block, and the bytes do not look like the start of one.
        """
        if self.damage is None and self._waiting:
            start = _OUTER.pack(SKIPPABLE_FRAME, _INNER.size) + MAGIC
            if self._number == 0 and not start.startswith(bytes(self._waiting[: len(start)])):
                raise NoRecordingError(_NOT_OURS)
            self.damage = Damage(self.offset, f"{len(self._waiting)} bytes of a block that was cut", is_cut=True)
        elif self.damage is None and self._number == 0:
            raise NoRecordingError("the file is empty")
        return self.damage

    def _next(self) -> bytes | None:
        if len(self._waiting) < HEADER_BYTES:
            return None
        header = bytes(self._waiting[:HEADER_BYTES])
        skippable, size = _OUTER.unpack_from(header)
        magic, number, body_bytes, raw_bytes, digest, checksum = _INNER.unpack_from(header, _OUTER.size)
        if checksum != zlib.crc32(header[:-_CRC_BYTES]) or magic != MAGIC or skippable != SKIPPABLE_FRAME:
            if self._number == 0 and magic != MAGIC:
                raise NoRecordingError(_NOT_OURS)
            return self._damaged("the header of a block is damaged")
        is_large = raw_bytes > MOST_RAW_BYTES or body_bytes > 2 * MOST_RAW_BYTES
        if size != _INNER.size or is_large or number != self._number:
            return self._damaged(f"block {number} stands where block {self._number} should")
        if len(self._waiting) < HEADER_BYTES + body_bytes:
            return None
        body = bytes(self._waiting[HEADER_BYTES : HEADER_BYTES + body_bytes])
        if digest != _digest(number, body_bytes, raw_bytes, body):
            return self._damaged(f"block {number} is damaged")
        try:
            # zstandard takes the size that the frame states, even above `max_output_size`.
            if zstandard.frame_content_size(body) not in (raw_bytes, _SIZE_NOT_SAID):
                return self._damaged(f"block {number} does not say that it has {raw_bytes} bytes")
            raw = self._decompressor.decompress(body, max_output_size=raw_bytes or 1)
        except zstandard.ZstdError as error:
            return self._damaged(f"block {number} does not decompress ({error})")
        if len(raw) != raw_bytes:
            return self._damaged(f"block {number} has {len(raw)} bytes, not {raw_bytes}")
        del self._waiting[: HEADER_BYTES + body_bytes]
        self._number += 1
        self.offset += HEADER_BYTES + body_bytes
        return raw

    def _damaged(self, reason: str) -> bytes | None:
        self.damage = Damage(self.offset, reason, is_cut=False)
        self._waiting.clear()
        return None


_SIZE_NOT_SAID = -1
_NOT_OURS = "the file does not begin as a recording does"


def _digest(number: int, body_bytes: int, raw_bytes: int, body: bytes) -> bytes:
    """Return a digest that covers the header's numbers too, so a block is valid only at its own position."""
    return hashlib.blake2b(_CHECKED.pack(number, body_bytes, raw_bytes) + body, digest_size=DIGEST_BYTES).digest()
