"""Finds the log line that explains best why a program ended, or why it makes no progress. Sans I/O."""

import re
from typing import Final

__all__ = ["last_words", "latest_trouble"]

_LONGEST_QUOTE_CHARACTERS: Final = 300
# From the most to the least informative: the program's own reason, an exception's last line, an error.
_TELLING: Final = (
    re.compile(r"\bservice failed (?!unexpectedly)|^backpack-streams [\w-]+: "),
    re.compile(r"^[\w.]+(?:Error|Exception|Exit|Interrupt)\b"),
    re.compile(r'\bERROR\b|"level": "error"'),
)
_TROUBLE: Final = re.compile(r'\b(?:WARNING|ERROR)\b|"level": "(?:warning|error)"')


def last_words(log_text: str) -> str:
    """Return the most informative line of the log, cut to 300 characters.

    The program's own reason comes first, then the last line of a traceback, then an error, then any last line.

    Args:
        log_text: the log of one run, or its end.
    """
    lines = [line.rstrip() for line in log_text.splitlines() if line.strip()]
    for pattern in _TELLING:
        telling = [line for line in lines if pattern.search(line)]
        if telling:
            return _short(telling[-1])
    return _short(lines[-1]) if lines else "it wrote nothing to its log"


def latest_trouble(log_text: str) -> str:
    """Return the last warning or error, shortened; empty if there is none."""
    troubles = [line for line in log_text.splitlines() if _TROUBLE.search(line)]
    return _short(troubles[-1]) if troubles else ""


def _short(line: str) -> str:
    line = line.strip()
    return line if len(line) <= _LONGEST_QUOTE_CHARACTERS else line[: _LONGEST_QUOTE_CHARACTERS - 3] + "..."
