"""Reads recordings: lines of `{"received_us", "ws": frame}`, `{"received_us", "rest": path, "body": …}`, or raw frames.

The text of frames and bodies is cut out of the line, never parsed and re-encoded: it goes out byte for byte, except times that
`retime_to_us` shifts.
"""

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from backpack_sandbox.streams import StreamName, parse_stream
from backpack_streams.errors import BackpackStreamsError, UsageError

RAW_FRAME_SPACING_US = 10_000
"""Raw frames carry no time of receipt; at speed 1 they are played this far apart."""

_BLANK = re.compile(r"[ \t\r\n]*")
_TIMES = re.compile(r'("(?:E|T|timestamp)":"?)(\d{16})\b')
_DECODER = json.JSONDecoder()


class RecordingError(BackpackStreamsError):
    """The recording cannot be read."""


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


def members(text: str) -> dict[str, tuple[int, int]]:
    """Return the start and end of each member's value in the text of a JSON object.

    Raises:
        ValueError: the text is not a JSON object.
    """
    spans: dict[str, tuple[int, int]] = {}
    at = _skip(text, 0)
    if text[at : at + 1] != "{":
        raise ValueError("not a JSON object")
    at = _skip(text, at + 1)
    while text[at : at + 1] == '"':
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, at)
        if text[at : at + 1] != ":":
            raise ValueError("no colon after a key")
        start = _skip(text, at + 1)
        _, end = _DECODER.raw_decode(text, start)
        spans[key] = start, end
        at = _skip(text, end)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
    if text[at:].rstrip() != "}":
        raise ValueError("text after the object")
    return spans


def _skip(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def read_recording(path: Path, retime_to_us: int | None = None) -> Recording:
    """Read a recording, plain or `.gz`.

    Args:
        path: the file.
        retime_to_us: shift all microsecond times so that the first line was received at this moment.

    Raises:
        UsageError: there is no such file.
        RecordingError: a line is neither a frame nor an answer; the message names it.
    """
    recording = Recording()
    shift: int | None = None if retime_to_us is not None else 0
    for number, line in enumerate(_lines(path), 1):
        try:
            if shift is None:
                shift = (retime_to_us or 0) - _first_time(line)
            _take(recording, line, shift)
        except (ValueError, KeyError, TypeError) as error:
            raise RecordingError(
                f"{path}: line {number} is neither a recorded frame nor an answer ({error}); "
                'write {"received_us":N,"ws":FRAME}, {"received_us":N,"rest":PATH,"body":BODY} or a raw frame'
            ) from error
    return recording


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
            for line in file:
                if line.strip():
                    yield line.rstrip("\r\n")
    except FileNotFoundError as error:
        raise UsageError(f"there is no recording {path}; give the path of a .jsonl or .jsonl.gz file") from error
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise RecordingError(f"recording {path} cannot be read: {error}") from error


def _first_time(line: str) -> int:
    value = json.loads(line)
    return int(value.get("received_us") or value.get("data", {}).get("E") or 0)


def _take(recording: Recording, line: str, shift_us: int) -> None:
    spans = members(line)

    def raw(key: str) -> str:
        start, end = spans[key]
        return _shifted(line[start:end], shift_us)

    if "ws" in spans:
        recording.frames.append(_frame(int(raw("received_us")) + shift_us, raw("ws")))
    elif "rest" in spans:
        _take_answer(recording, int(raw("received_us")) + shift_us, json.loads(raw("rest")), raw("body"))
    elif "stream" in spans or "error" in spans:
        at_us = recording.frames[-1].at_us + RAW_FRAME_SPACING_US if recording.frames else 0
        recording.frames.append(_frame(at_us, _shifted(line, shift_us)))
    else:
        raise ValueError(f"unknown members {', '.join(spans)}")


def _shifted(text: str, shift_us: int) -> str:
    if not shift_us:
        return text
    return _TIMES.sub(lambda found: f"{found[1]}{int(found[2]) + shift_us}", text)


def _frame(at_us: int, text: str) -> RecordedFrame:
    value = json.loads(text)
    data = value.get("data")
    stream = value.get("stream")
    return RecordedFrame(
        at_us, str(stream) if stream is not None else None, text.encode(), data if isinstance(data, dict) else {}
    )


def _take_answer(recording: Recording, at_us: int, path: str, body: str) -> None:
    parts = urlsplit(path)
    if parts.path != "/api/v1/depth":
        recording.bodies.setdefault(path, body.encode())
        return
    symbol = parse_qs(parts.query)["symbol"][0]
    if symbol not in recording.snapshots:
        recording.snapshots[symbol] = RecordedSnapshot(at_us, symbol, json.loads(body))
