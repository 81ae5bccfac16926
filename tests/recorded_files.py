"""Writes the recorded frames of `tests/data` as files in the format of `record`, byte for byte."""

import gzip
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from backpack_streams.recording.parts import PartFile
from backpack_streams.recording.records import About, End, Exchange, Frame, Record, encode

DATA = Path(__file__).parent / "data"
ORDER_FLOW, CAPTURED = DATA / "recorded-order-flow.jsonl.gz", DATA / "captured-frames.jsonl"
SPACING_US = 10_000
"""Captured frames have no received time; they are written this far apart."""


def recording_of(path: Path, folder: Path) -> Path:
    """The recording of a file of `tests/data`, in a folder of the test."""
    file = folder / f"{path.name.partition('.')[0]}.bpr"
    if not file.exists():
        write_recording(file, _records(path))
    return file


def write_recording(path: Path, records: Iterable[Record]) -> Path:
    """A complete recording of one part."""
    recorded = list(records)
    at_us = recorded[0].at_us if recorded else 0
    part = PartFile(path)
    try:
        part.write(encode(each) for each in (About(at_us, "run", 1), *recorded, End(at_us)))
    finally:
        part.close()
    return path


def frame(at_us: int, text: str, socket: int = 1) -> Frame:
    return Frame(at_us, socket, text.encode())


def _records(path: Path) -> Iterator[Frame | Exchange]:
    """Frames and answers, with their text cut out of the line, never parsed and written again."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    for number, line in enumerate(text.decode().splitlines()):
        if not line.startswith('{"received_us":'):
            yield frame(number * SPACING_US, line)
            continue
        at_us = json.loads(line)["received_us"]
        _, is_frame, message = line.partition('"ws":')
        if is_frame:
            yield frame(at_us, message[:-1])
        else:
            body = line.partition('"body":')[2][:-1].encode()
            yield Exchange(at_us, at_us, "GET", json.loads(line)["rest"], 200, {}, body)
