"""Reads recordings from their files, part after part, in bounded memory. Damaged ends are skipped and reported."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from backpack_streams.errors import UsageError
from backpack_streams.recording.blocks import BlockScanner, NoRecordingError
from backpack_streams.recording.records import About, End, MalformedRecordError, Record, RecordingError, decode

_READ_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Part:
    """A file and its first record."""

    path: Path
    about: About


@dataclass(frozen=True, slots=True)
class Loss:
    """An incomplete part: one line for people, and whether bytes were damaged rather than just cut off."""

    line: str
    is_damage: bool


class RecordingReader:
    """One or more parts, in order of time.

    Attributes:
        parts: the files.
        losses: the incomplete parts; reading fills the list.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        """Read the beginning of every file.

        Raises:
            UsageError: a file does not exist, cannot be read, or is given twice.
            NoRecordingError: a file is not a recording.
        """
        if len({path.resolve() for path in paths}) < len(paths):
            raise UsageError("a file is given twice; name each part of a recording once")
        self.parts = sorted((_part(path) for path in paths), key=lambda part: (part.about.at_us, part.about.part))
        self.losses: list[Loss] = []

    def batches(self) -> Iterator[list[Record]]:
        """Yield the records of all parts, block by block. Reads files, so run it in a thread if the event loop must not wait.

        Raises:
            RecordingError: a file can no longer be read, or was written by a newer version.
        """
        for part in self.parts:
            yield from self._batches_of(part)

    def _batches_of(self, part: Part) -> Iterator[list[Record]]:
        scanner, last = BlockScanner(), None
        for raw in _blocks(part.path, scanner):
            try:
                batch = list(decode(raw))
            except MalformedRecordError as error:
                raise RecordingError(f"{part.path}: {error}") from error
            if batch:
                last = batch[-1]
                yield batch
        damage = scanner.finish()
        if damage is not None:
            kind = "was cut" if damage.is_cut else "is damaged"
            line = f"{part.path} {kind} at byte {damage.offset}: {damage.reason}; all before it was read"
            self.losses.append(Loss(line, not damage.is_cut))
        elif not isinstance(last, End):
            line = f"{part.path} has no end mark: its recorder was killed; all that it had flushed was read"
            self.losses.append(Loss(line, is_damage=False))


def _part(path: Path) -> Part:
    try:
        scanner = BlockScanner()
        for raw in _blocks(path, scanner):
            about = next(decode(raw), None)
            if not isinstance(about, About):
                raise NoRecordingError("it does not say what it is")
            return Part(path, about)
        damage = scanner.finish()
        raise NoRecordingError(f"nothing in it is whole: {damage.reason if damage else 'it is empty'}")
    except (NoRecordingError, MalformedRecordError) as error:
        raise NoRecordingError(
            f"{path} is no recording ({error}); give files that `backpack-streams record` wrote"
        ) from error


def _blocks(path: Path, scanner: BlockScanner) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while data := file.read(_READ_BYTES):
                yield from scanner.feed(data)
                if scanner.damage is not None:
                    return
    except FileNotFoundError:
        raise UsageError(f"there is no recording {path}; give files that `backpack-streams record` wrote") from None
    except OSError as error:
        raise UsageError(f"recording {path} cannot be read: {error.strerror}") from error
