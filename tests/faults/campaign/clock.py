"""The wall clock of one service, changed by libfaketime if that is installed; the monotonic clock stays correct."""

import glob
import os
from pathlib import Path

_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")
_LOOKS_EVERY_SECONDS = "1"


def library() -> str | None:
    """The library, None if the machine has none."""
    return next((found for pattern in _LIBRARIES for found in sorted(glob.glob(pattern))), None)


class Clock:
    """A wall clock that can be stepped while a process uses it."""

    def __init__(self, file: Path, preload: str) -> None:
        self._file = file
        self._preload = preload
        self.step(0)

    def step(self, seconds: int) -> None:
        """Set the difference from the machine's clock; takes effect within about a second."""
        written = self._file.with_suffix(".new")
        written.write_text(f"{seconds:+d}\n")
        written.replace(self._file)

    def environment(self) -> dict[str, str]:
        """The environment for a process with this clock."""
        return {
            **os.environ,
            "LD_PRELOAD": self._preload,
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_CACHE_DURATION": _LOOKS_EVERY_SECONDS,
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "DONT_FAKE_MONOTONIC": "1",
        }
