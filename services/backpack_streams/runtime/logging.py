"""Logging of every process: to stderr, one JSON object per line for machines, or readable text for people.

Library code calls `logger.info("event words", extra={...})`; this module decides the format. It hides secrets, and
it limits how often a repeated event is shown and counts the rest.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TextIO

from backpack_streams.runtime.settings import LogSettings
from backpack_streams.shown_text import loggable_lines, loggable_text

REPEATS_ALLOWED = 20
REPEAT_WINDOW_SECONDS = 10.0
MAX_REPEAT_KEYS = 4096

_STANDARD_ATTRIBUTES = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# These log every reconnect attempt of every connection; what matters reaches us as errors.
_QUIET_LOGGERS = ("aiokafka", "httpx", "httpx2", "httpcore", "httpcore2", "kafka", "asyncio")
_BEFORE_EXCEPTION_LINE = "  | "
"""A record begins with its time, so no line of an exception's text can pass for a record."""
_RepeatKey = tuple[str, int, str]


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Send all logging of this process to a stream. Replaces any earlier configuration.

    Args:
        settings: the level and the format.
        stream: the destination, stderr by default.
    """
    stream = sys.stderr if stream is None else stream
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    handler = RepeatLimitedHandler(stream)
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        if isinstance(old, RepeatLimitedHandler):
            old.close()
    root.addHandler(handler)
    root.setLevel(settings.log_level.upper())
    for name in _QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)


class JsonFormatter(logging.Formatter):
    """One JSON object per line: `ts` (UTC, microseconds), `level`, `logger`, `event`, the `extra` fields, `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as one line of JSON."""
        fields: dict[str, Any] = {
            "ts": _utc(record).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": loggable_text(record.getMessage()),
        }
        for name, value in _extra(record).items():
            fields[name + "_" if name in fields else name] = _loggable(value)
        if record.exc_info:
            fields["exception"] = "\n".join(loggable_lines(self.formatException(record.exc_info)))
        return json.dumps(fields, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """A line for people: time (UTC), level, event, `key=value`. An exception follows on lines of its own, each after a bar."""

    def format(self, record: logging.LogRecord) -> str:
        """Return `record` as a line of text; control characters from outside cannot reach the terminal."""
        time_of_day = _utc(record).strftime("%H:%M:%S.%f")[:-3]
        logger = record.name.removeprefix("backpack_streams.")
        words = [time_of_day, f"{record.levelname:<7}", f"{logger}:", loggable_text(record.getMessage())]
        words += [f"{name}={_text_value(value)}" for name, value in _extra(record).items()]
        line = " ".join(words)
        if record.exc_info:
            line += "".join(
                "\n" + _BEFORE_EXCEPTION_LINE + each for each in loggable_lines(self.formatException(record.exc_info))
            )
        return line


class RepeatFilter(logging.Filter):
    """Lets an event of a logger pass at most `allowed` times per `window_seconds`.

    Two records are the same event if logger, level and message (before its arguments are filled in) are equal. The first record
    that passes in a later window gives in `suppressed` how many were not shown; if none follows, `take_expired` returns the count.
    """

    def __init__(
        self,
        allowed: int = REPEATS_ALLOWED,
        window_seconds: float = REPEAT_WINDOW_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Start without events.

        Args:
            allowed: how many records of an event pass per window.
            window_seconds: the length of a window.
            clock: monotonic seconds.
        """
        super().__init__()
        self._allowed = allowed
        self._window_seconds = window_seconds
        self._clock = clock
        self._windows: dict[_RepeatKey, tuple[float, int]] = {}  # start of the window, records seen in it

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to show `record`; add `suppressed` to it if earlier ones were not shown."""
        key = (record.name, record.levelno, str(record.msg))
        now = self._clock()
        began, seen = self._windows.get(key, (now, 0))
        if now - began >= self._window_seconds:
            if seen > self._allowed:
                record.suppressed = seen - self._allowed
            began, seen = now, 0
        if key not in self._windows and len(self._windows) >= MAX_REPEAT_KEYS:
            self._windows.pop(next(iter(self._windows)))
        self._windows[key] = (began, seen + 1)
        return seen < self._allowed

    def take_expired(self, *, everything: bool = False) -> list[tuple[_RepeatKey, int]]:
        """Forget each event whose window has ended (or every event). Return those that have records not shown, with the counts."""
        now = self._clock()
        expired = [
            key for key, (began, _) in self._windows.items() if everything or now - began >= self._window_seconds
        ]
        counts = [(key, self._windows.pop(key)[1] - self._allowed) for key in expired]
        return [(key, suppressed) for key, suppressed in counts if suppressed > 0]


class RepeatLimitedHandler(logging.StreamHandler[TextIO]):
    """A stream handler behind a `RepeatFilter` that reports suppressed records even if the event never recurs."""

    def __init__(self, stream: TextIO, repeats: RepeatFilter | None = None) -> None:
        """Prepare.

        Args:
            stream: the destination.
            repeats: the limit on repeated events, None for the default one.
        """
        super().__init__(stream)
        self._repeats = RepeatFilter() if repeats is None else repeats
        self._next_look = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Report the counts of events whose windows have ended; then write `record`, unless it repeats too often."""
        passes = self._repeats.filter(record)
        now = time.monotonic()
        if now >= self._next_look:
            self._next_look = now + 1.0
            self._tell_suppressed(everything=False)
        if passes:
            super().emit(record)

    def close(self) -> None:
        """Report all counts that are not yet reported, then close."""
        if not self.stream.closed:
            self._tell_suppressed(everything=True)
        super().close()

    def _tell_suppressed(self, *, everything: bool) -> None:
        for (logger, level, message), suppressed in self._repeats.take_expired(everything=everything):
            values = {"name": logger, "levelno": level, "levelname": logging.getLevelName(level)}
            record = logging.makeLogRecord({**values, "msg": "repeats of an event were not shown"})
            record.repeated_event = message
            record.suppressed = suppressed
            super().emit(record)


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}


def _utc(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _text_value(value: Any) -> str:
    text = loggable_text(str(value))
    return f"'{text}'" if text == "" or any(c.isspace() or c in "='\"" for c in text) else text


def _loggable(value: Any) -> Any:
    """Return `value` as JSON types whose texts are safe to show."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, dict):
        return {loggable_text(str(name)): _loggable(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_loggable(each) for each in value]
    return loggable_text(str(value))
