"""The records of a recording: a line of text that gives the kind and the length, the bytes, a line end.

`docs/recording.md` describes the format. Payloads and bodies are the exact bytes from the wire, never parsed and re-encoded.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backpack_streams.errors import BackpackStreamsError

FORMAT_VERSION = 1


class RecordingError(BackpackStreamsError):
    """A recording cannot be written or read."""


class MalformedRecordError(RecordingError):
    """The bytes are not a record of a recording."""


@dataclass(frozen=True, slots=True)
class About:
    """The first record of every part: which recorder made it, and which part of the run it is.

    Attributes:
        at_us: when the part was begun, µs since the Unix epoch.
        run: identifies the run of the recorder, equal in all its parts; socket ids count within a run.
        part: number of the part, from 1.
        details: settings of the recorder, for people; plain JSON values.
    """

    at_us: int
    run: str
    part: int
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Frame:
    """A WebSocket message: when it was received (µs since the Unix epoch), the id of its socket, its bytes."""

    at_us: int
    socket: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Exchange:
    """A REST request and its answer.

    Attributes:
        at_us: when the last byte of the answer arrived, µs since the Unix epoch.
        sent_us: when the request was sent, µs since the Unix epoch.
        method: for example `GET`.
        target: path and query as they were sent.
        status: HTTP status.
        headers: the relevant ones, names in lower case: `age`, `content-type`, …
        body: the bytes after decompression.
    """

    at_us: int
    sent_us: int
    method: str
    target: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Streams:
    """All streams that are subscribed from now on."""

    at_us: int
    names: tuple[str, ...]


SOCKET_ENDED = frozenset(
    {
        "socket_failed",
        "socket_lost",
        "socket_dead",
        "socket_drained",
        "socket_grace_over",
        "socket_replaced",
        "socket_stopped",
    }
)
"""The kinds of notes after which a socket delivers nothing more."""


@dataclass(frozen=True, slots=True)
class Note:
    """An event of a socket or a stream: `kind` is the word of the logs; `socket` and `stream` are None if it concerns none."""

    at_us: int
    kind: str
    message: str
    socket: int | None = None
    stream: str | None = None


@dataclass(frozen=True, slots=True)
class End:
    """The last record of a part that was closed; a part without it is incomplete."""

    at_us: int


@dataclass(frozen=True, slots=True)
class Unknown:
    """A record of a kind that this version does not know."""

    at_us: int
    kind: str


Record = About | Frame | Exchange | Streams | Note | End | Unknown


def encode_frame(at_us: int, socket: int, payload: bytes) -> bytes:
    """Encode a frame: the recorder's hot path.

    Args:
        at_us: when it was received, µs since the Unix epoch.
        socket: id of the socket.
        payload: its bytes, unchanged.
    """
    return b"W %d %d %d\n%b\n" % (at_us, socket, len(payload), payload)


def encode(record: Record) -> bytes:
    """Encode any record except `Unknown`.

    Raises:
        MalformedRecordError: the record is an `Unknown`.
    """
    match record:
        case Frame(at_us, socket, payload):
            return encode_frame(at_us, socket, payload)
        case Exchange():
            head = {"method": record.method, "target": record.target, "status": record.status}
            head |= {"sent_us": record.sent_us, "headers": dict(record.headers)}
            text = _json(head)
            return _line("R", record.at_us, len(text), body=text + record.body)
        case Streams(at_us, names):
            return _line("S", at_us, body=_json(list(names)))
        case Note(at_us, kind, message, socket, stream):
            return _line("N", at_us, body=_json({"kind": kind, "message": message, "socket": socket, "stream": stream}))
        case About(at_us, run, part, details):
            about = {"format": FORMAT_VERSION, "run": run, "part": part, "details": dict(details)}
            return _line("A", at_us, body=_json(about))
        case End(at_us):
            return _line("E", at_us, body=b"")
        case Unknown():
            raise MalformedRecordError(f"a record of the unknown kind {record.kind!r} cannot be written")


def _line(kind: str, *numbers: int, body: bytes) -> bytes:
    return f"{kind} {' '.join(map(str, numbers))} {len(body)}\n".encode() + body + b"\n"


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def decode(block: bytes) -> Iterator[Record]:
    """Yield the records of one complete block, in order.

    Raises:
        MalformedRecordError: the bytes are not records: they come from another program or a newer version.
    """
    at = 0
    while at < len(block):
        end_of_line = block.find(b"\n", at)
        words = block[at:end_of_line].split(b" ") if end_of_line >= 0 else []
        try:
            numbers = [int(word) for word in words[1:]]
            size = numbers[-1]
            start = end_of_line + 1
            if len(numbers) < 2 or size < 0 or block[start + size : start + size + 1] != b"\n":
                raise ValueError("its length is wrong")
            yield _record(words[0], numbers, block[start : start + size])
        except (ValueError, IndexError, KeyError, TypeError, AttributeError) as error:
            raise MalformedRecordError(f"no record at byte {at} of a block ({error})") from error
        at = start + size + 1


def _record(kind: bytes, numbers: list[int], body: bytes) -> Record:
    at_us = numbers[0]
    if kind == b"W":
        return Frame(at_us, numbers[1], body)
    if kind == b"R":
        head, size = json.loads(body[: numbers[1]]), numbers[1]
        return Exchange(
            at_us, head["sent_us"], head["method"], head["target"], head["status"], head["headers"], body[size:]
        )
    if kind == b"S":
        return Streams(at_us, tuple(json.loads(body)))
    if kind == b"N":
        note = json.loads(body)
        # Recordings of the first version say link where this one says socket.
        name = note["kind"].replace("link_", "socket_", 1) if note["kind"].startswith("link_") else note["kind"]
        return Note(at_us, name, note["message"], note.get("socket", note.get("link")), note.get("stream"))
    if kind == b"A":
        about = json.loads(body)
        if about["format"] > FORMAT_VERSION:
            raise MalformedRecordError(
                f"the recording is of format {about['format']}, this version reads up to {FORMAT_VERSION}: upgrade"
            )
        return About(at_us, about["run"], about["part"], about["details"])
    if kind == b"E":
        return End(at_us)
    return Unknown(at_us, kind.decode("ascii", "backslashreplace"))
