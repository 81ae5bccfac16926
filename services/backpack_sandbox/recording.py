"""Reads a recording of `backpack-streams record` into memory, for the sandbox to play with faults.

Frames and bodies go out byte for byte, except times that `retime_to_us` shifts.
"""

import json
import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backpack_sandbox.replay.choice import OneSocket, stream_of
from backpack_sandbox.streams import StreamName, parse_stream
from backpack_streams.recording.reading import RecordingReader
from backpack_streams.recording.records import SOCKET_ENDED, Exchange, Frame, Note, Record

_TIMES = re.compile(rb'("(?:E|T|timestamp)":"?)(\d{16})\b')

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecordedFrame:
    """One frame of the socket, received at `at_us` (µs). `stream` is None for an error frame, which goes to every socket."""

    at_us: int
    stream: str | None
    payload: bytes
    data: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedSnapshot:
    """One answer of `/depth`, received at `at_us` (µs)."""

    at_us: int
    symbol: str
    body: dict[str, Any]


@dataclass(slots=True)
class Recording:
    """A whole recording in memory, in order of receipt."""

    frames: list[RecordedFrame] = field(default_factory=list)
    snapshots: dict[str, RecordedSnapshot] = field(default_factory=dict)
    """The first snapshot of each symbol."""
    bodies: dict[str, bytes] = field(default_factory=dict)
    """Other REST answers by path and query."""

    @property
    def public_streams(self) -> set[str]:
        """The public streams that a client must subscribe to in order to receive all frames."""
        names = {frame.stream for frame in self.frames if frame.stream is not None}
        return {name for name in names if isinstance(parsed := parse_stream(name), StreamName) and not parsed.private}

    @property
    def symbols(self) -> list[str]:
        """Symbols in order of appearance."""
        found = dict.fromkeys(self.snapshots)
        for frame in self.frames:
            name = parse_stream(frame.stream) if frame.stream else None
            if isinstance(name, StreamName):
                symbol = name.symbol or frame.data.get("s")
                if symbol:
                    found[str(symbol)] = None
        return list(found)


def read_recording(path: Path, retime_to_us: int | None = None) -> Recording:
    """Read a recording. Of streams that several sockets delivered, one copy is kept.

    Args:
        path: the file.
        retime_to_us: shift all microsecond times so that the first frame or answer was received at this moment.

    Raises:
        UsageError: there is no such file.
        RecordingError: the file is no recording, or was written by a newer version.
    """
    reader = RecordingReader([path])
    recording = Recording()
    shift_us = None if retime_to_us is not None else 0
    for record in _one_copy(record for batch in reader.batches() for record in batch):
        if shift_us is None:
            shift_us = (retime_to_us or 0) - record.at_us
        if isinstance(record, Frame):
            recording.frames.append(_frame(record.at_us + shift_us, _shifted(record.payload, shift_us)))
        else:
            _take_answer(recording, record, shift_us)
    for loss in reader.losses:
        logger.warning("the recording is not complete", extra={"detail": loss.line})
    return recording


def _one_copy(records: Iterable[Record]) -> Iterator[Frame | Exchange]:
    """Yield frames and usable REST answers; each frame once, if it names a stream."""
    sockets: defaultdict[str, OneSocket] = defaultdict(OneSocket)
    at_us = 0
    for record in records:
        at_us = record.at_us
        if isinstance(record, Frame):
            stream = stream_of(record.payload)
            if stream is None:
                yield record
                continue
            chosen = sockets[stream].take(record.socket, record.payload, at_us)
            yield from (Frame(at_us, record.socket, payload) for payload in chosen)
        elif isinstance(record, Exchange):
            if record.method == "GET" and record.status == 200:
                yield record
        elif isinstance(record, Note) and record.kind in SOCKET_ENDED and record.socket is not None:
            for each in sockets.values():
                yield from (Frame(at_us, record.socket, payload) for payload in each.gone(record.socket, at_us))
    for each in sockets.values():
        yield from (Frame(at_us, 0, payload) for payload in each.end())


def _shifted(text: bytes, shift_us: int) -> bytes:
    if not shift_us:
        return text
    return _TIMES.sub(lambda found: b"%b%d" % (found[1], int(found[2]) + shift_us), text)


def _frame(at_us: int, payload: bytes) -> RecordedFrame:
    data = _object(payload).get("data")
    return RecordedFrame(at_us, stream_of(payload), payload, data if isinstance(data, dict) else {})


def _take_answer(recording: Recording, answer: Exchange, shift_us: int) -> None:
    body = _shifted(answer.body, shift_us)
    parts = urlsplit(answer.target)
    if parts.path != "/api/v1/depth":
        recording.bodies.setdefault(answer.target, body)
        return
    snapshot = _object(body)
    for symbol in parse_qs(parts.query).get("symbol", ())[:1]:
        if snapshot and symbol not in recording.snapshots:
            recording.snapshots[symbol] = RecordedSnapshot(answer.at_us + shift_us, symbol, snapshot)


def _object(text: bytes) -> dict[str, Any]:
    """Return a JSON object; an empty one if the text is anything else, since odd frames and answers are recorded as they came."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
