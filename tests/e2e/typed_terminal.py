"""A command in its own terminal: its output, typed input, and the terminal's mode after it has ended."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Sequence
from typing import Any, Self

_SEQUENCE = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|[()][A-Z0-9]|[=>])")
ALTERNATE_SCREEN, USUAL_SCREEN = "\x1b[?1049h", "\x1b[?1049l"
HIDDEN_CURSOR, SHOWN_CURSOR = "\x1b[?25l", "\x1b[?25h"


class TypedTerminal:
    """Leaving the context ends the command. Its output is read at once, so that it never blocks."""

    def __init__(self, command: Sequence[str], columns: int = 120, lines: int = 40) -> None:
        self._ours, self._its = pty.openpty()
        self.resize(columns, lines)
        self.mode_before = self.mode()
        self._is_left = threading.Event()
        self._raw: list[str] = []
        self.process = subprocess.Popen(
            command,
            stdin=self._its,
            stdout=self._its,
            stderr=self._its,
            start_new_session=True,
            preexec_fn=self._take_over,  # noqa: PLW1509 - it has one thread, and Ctrl-C needs a controlling terminal
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "", "LINES": ""},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        while not self._is_left.is_set():
            if select.select([self._ours], [], [], 0.1)[0]:
                self._raw.append(decoder.decode(os.read(self._ours, 65536)))

    def _take_over(self) -> None:
        fcntl.ioctl(self._its, termios.TIOCSCTTY, 0)

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self._its, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def mode(self) -> list[Any]:
        return termios.tcgetattr(self._its)

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def raw(self) -> str:
        """All output so far, with control sequences."""
        return "".join(self._raw)

    def wait_for(self, pattern: str, seconds: float = 60.0) -> "re.Match[str]":
        """Return the first match in the output from now on."""
        start, deadline = len(self.raw()), time.monotonic() + seconds
        while True:
            if found := re.search(pattern, _SEQUENCE.sub("", self.raw()[start:]), re.DOTALL):
                return found
            shown = _SEQUENCE.sub("", self.raw())[-3000:]
            assert self.process.poll() is None, f"it ended: {shown}"
            assert time.monotonic() < deadline, f"no {pattern!r} within {seconds:g} s: {shown}"
            time.sleep(0.05)

    def end(self, seconds: float = 30.0) -> int:
        """Wait for the exit code."""
        return self.process.wait(seconds)

    def check_restored(self) -> None:
        """Check that the terminal is as it was: its mode, its screen and its cursor."""
        time.sleep(0.2)  # the last output is still on its way through the reader
        assert self.mode() == self.mode_before
        assert self.raw().rfind(USUAL_SCREEN) > self.raw().rfind(ALTERNATE_SCREEN) >= 0
        assert self.raw().rfind(SHOWN_CURSOR) > self.raw().rfind(HIDDEN_CURSOR) >= 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        self._is_left.set()
        self._reader.join()
        os.close(self._ours)
        os.close(self._its)
