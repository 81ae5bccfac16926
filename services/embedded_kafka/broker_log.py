"""Finds in a broker's log why it ended, and explains it in one line that says what to do."""

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BrokerLog", "explain_end", "last_useful_line"]

_TAIL_BYTES = 256 << 10
_ROTATE_OVER_BYTES = 16 << 20
# Below this the disk counts as full, even if the log had no room left for the error.
_FULL_BELOW_BYTES = 1 << 20
_LONGEST_QUOTE = 240

_DISK_FULL = re.compile(
    r"No space left on device|Disk quota exceeded"
    # A write to a memory-mapped index on a full disk is a fault, not an IOException.
    r"|a fault occurred in (?:a recent|an) unsafe memory access|SIGBUS"
)
_BIND_FAILED = re.compile(r"failed to bind to (\S+?):(\d+)|Address already in use")
_FOLDER_LOCKED = re.compile(
    r"Failed to acquire lock on file|Unable to lock the directory|another process.* is using this directory"
)
_JAVA_TOO_OLD = re.compile(r"UnsupportedClassVersionError")
_NO_MEMORY = re.compile(r"OutOfMemoryError|insufficient memory for the Java Runtime|Could not reserve enough space")
_SERIOUS = re.compile(r"\b(?:ERROR|FATAL)\b|Exception\b|^Error")
_STACK_FRAME = re.compile(r"^\s+at |^\s*\.\.\. \d+ more|^\s*$")


@dataclass(slots=True)
class BrokerLog:
    """One broker's log file. The output of earlier runs is not read again.

    Attributes:
        path: the file; it need not exist.
        start_bytes: offset in the file at which the current run begins.
    """

    path: Path
    start_bytes: int = 0

    def begin_run(self) -> None:
        """Call before each start: renames a log of more than 16 MiB to `.log.1`, and notes where this run begins.

        Raises:
            OSError: the log cannot be renamed.
        """
        try:
            self.start_bytes = self.path.stat().st_size
        except FileNotFoundError:
            self.start_bytes = 0
        if self.start_bytes > _ROTATE_OVER_BYTES:
            self.path.replace(self.path.with_suffix(".log.1"))
            self.start_bytes = 0

    def tail(self) -> str:
        """Return the end of what this run wrote: at most 256 KiB, with bytes that are not UTF-8 replaced. Empty without a file."""
        try:
            with self.path.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(self.start_bytes, size - _TAIL_BYTES))
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""


def explain_end(log_text: str, what_happened: str, *, data_folder: Path, log_path: Path, free_bytes: int) -> str:
    """Return one line for the user on why a broker ended.

    Recognizes a full disk (also by less than 1 MiB free), a taken port, a locked folder, a Java that is too old, and a
    lack of memory; otherwise quotes the log.

    Args:
        log_text: the end of its log.
        what_happened: for example "Kafka broker 1 ended during its start".
        data_folder: the cluster's data folder.
        log_path: the log file, for more details.
        free_bytes: free space on the disk of the data folder.
    """
    if free_bytes < _FULL_BELOW_BYTES or _DISK_FULL.search(log_text):
        return (
            f"{what_happened}: the disk under {data_folder} is full ({free_bytes >> 20} MiB free): "
            "make room there, or choose a folder on another disk with --data-dir"
        )
    if bind := _BIND_FAILED.search(log_text):
        where = f"port {bind[2]} on {bind[1]}" if bind[2] else "its port"
        return f"{what_happened}: {where} is in use by another program: stop that, or choose another port with --port"
    if _FOLDER_LOCKED.search(log_text):
        return (
            f"{what_happened}: the data folder {data_folder} is in use by another running broker: "
            "stop that one, or choose another folder with --data-dir"
        )
    if _JAVA_TOO_OLD.search(log_text):
        return f"{what_happened}: this Java is too old for Kafka: set JAVA_HOME to version 17 or newer"
    if _NO_MEMORY.search(log_text):
        return f"{what_happened}: not enough memory for the broker (it needs 600 MB): free some"
    return f"{what_happened}: {last_useful_line(log_text)} (log: {log_path})"


def last_useful_line(text: str) -> str:
    """Return the last line that mentions an error, else the last line; never a stack frame. Cut to 240 characters.

    Args:
        text: part of a log; lines without text are ignored.
    """
    lines = [line.strip() for line in text.splitlines() if not _STACK_FRAME.match(line)]
    serious = [line for line in lines if _SERIOUS.search(line)]
    chosen = (serious or lines or ["it wrote nothing to its log"])[-1]
    return chosen if len(chosen) <= _LONGEST_QUOTE else chosen[: _LONGEST_QUOTE - 1] + "…"
