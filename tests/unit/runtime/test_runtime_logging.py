"""Formats of log lines, hidden secrets, and the limit on repeats."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from backpack_streams.runtime.logging import (
    MAX_REPEAT_KEYS,
    JsonFormatter,
    RepeatFilter,
    RepeatLimitedHandler,
    TextFormatter,
    configure_logging,
)
from backpack_streams.runtime.settings import LogSettings
from backpack_streams.shown_text import escape_unprintable

CREATED_SECONDS = 1_700_000_000.123456


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def _logging_put_back() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def record(message: str = "gap found", **values: Any) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": "backpack_streams.probe",
            "levelno": logging.WARNING,
            "levelname": "WARNING",
            "created": CREATED_SECONDS,
            "msg": message,
            **values,
        }
    )


def test_a_json_line_has_the_fixed_fields_and_the_extra_ones() -> None:
    line = JsonFormatter().format(record("gap of %d", args=(3,), symbol="SOL_USDC", last_id=7))
    assert json.loads(line) == {
        "ts": "2023-11-14T22:13:20.123456Z",
        "level": "warning",
        "logger": "backpack_streams.probe",
        "event": "gap of 3",
        "symbol": "SOL_USDC",
        "last_id": 7,
    }


def test_an_exception_is_one_field_of_one_line() -> None:
    try:
        raise ValueError("bad frame")
    except ValueError as error:
        line = JsonFormatter().format(record(exc_info=(ValueError, error, error.__traceback__)))
    assert "\n" not in line
    assert "ValueError: bad frame" in json.loads(line)["exception"]


def test_an_extra_field_cannot_replace_a_fixed_one() -> None:
    fields = json.loads(JsonFormatter().format(record(level="mine", event="mine")))
    assert (fields["level"], fields["level_"]) == ("warning", "mine")
    assert (fields["event"], fields["event_"]) == ("gap found", "mine")


@given(st.text(), st.text())
def test_any_text_is_one_line_of_json(message: str, value: str) -> None:
    line = JsonFormatter().format(record("%s", args=(message,), value=value))
    assert "\n" not in line
    if "://" not in message + value:
        assert json.loads(line)["event"] == escape_unprintable(message)
        assert json.loads(line)["value"] == escape_unprintable(value)


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
@given(message=st.text(), value=st.text() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_no_control_character_is_logged(formatter: logging.Formatter, message: str, value: Any) -> None:
    assert formatter.format(record("%s", args=(message,), value=value)).isprintable()


def logged_exception(formatter: logging.Formatter, words: str) -> str:
    try:
        raise ValueError(words)
    except ValueError as error:
        return formatter.format(record(exc_info=(ValueError, error, error.__traceback__)))


@given(st.text())
def test_an_exception_cannot_forge_a_line_or_control_the_terminal(words: str) -> None:
    first, *lines = logged_exception(TextFormatter(), words).split("\n")
    assert first == "22:13:20.123 WARNING probe: gap found"
    assert all(line.startswith("  | ") and line.isprintable() for line in lines)
    fields = json.loads(logged_exception(JsonFormatter(), words))
    assert all(line.isprintable() for line in fields["exception"].split("\n"))


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_credentials_are_never_logged_wherever_they_occur(formatter: logging.Formatter) -> None:
    url = "http://user:p@ss/x@host/"
    lines = [
        formatter.format(record("asking %s", args=(url,))),
        formatter.format(record(url=url)),
        formatter.format(record(answers={"first": [url]})),
        logged_exception(formatter, f"no answer from {url}"),
    ]
    assert all("http://***@host/" in line and "ss/x" not in line and "user" not in line for line in lines)


def test_a_text_line_is_readable() -> None:
    line = TextFormatter().format(record(symbol="SOL_USDC", reason="two words"))
    assert line == "22:13:20.123 WARNING probe: gap found symbol=SOL_USDC reason='two words'"


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_secrets_are_hidden(formatter: logging.Formatter) -> None:
    line = formatter.format(record(password=SecretStr("hunter2"), url="https://user:hunter2@registry:8081"))
    assert "hunter2" not in line
    assert "https://***@registry:8081" in line


@pytest.mark.usefixtures("_logging_put_back")
@pytest.mark.parametrize(
    ("stream", "log_format", "is_json"),
    [
        (io.StringIO, "auto", True),
        (Terminal, "auto", False),
        (Terminal, "json", True),
        (io.StringIO, "text", False),
    ],
)
def test_the_format_follows_the_stream_unless_set(stream: type[io.StringIO], log_format: Any, is_json: bool) -> None:
    target = stream()
    configure_logging(LogSettings(log_format=log_format), target)
    logging.getLogger("backpack_streams.probe").info("hello")
    assert target.getvalue().startswith("{") is is_json
    assert "hello" in target.getvalue()


@pytest.mark.usefixtures("_logging_put_back")
def test_levels_and_quiet_libraries() -> None:
    target = io.StringIO()
    configure_logging(LogSettings(log_level="info"), target)
    logging.getLogger("backpack_streams.probe").debug("too fine")
    logging.getLogger("httpx").info("HTTP Request")
    logging.getLogger("backpack_streams.probe").info("told")
    assert [json.loads(line)["event"] for line in target.getvalue().splitlines()] == ["told"]


@pytest.mark.usefixtures("_logging_put_back")
def test_configuring_again_replaces() -> None:
    first, second = io.StringIO(), io.StringIO()
    configure_logging(LogSettings(), first)
    configure_logging(LogSettings(), second)
    logging.getLogger("backpack_streams.probe").info("hello")
    assert first.getvalue() == ""
    assert second.getvalue().count("\n") == 1


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_repeats_beyond_the_limit_are_counted_and_reported_with_the_next_one() -> None:
    clock = Clock()
    repeats = RepeatFilter(allowed=2, window_seconds=10, clock=clock)
    assert [repeats.filter(record()) for _ in range(5)] == [True, True, False, False, False]
    assert repeats.filter(record("another event"))
    clock.now = 10.0
    after = record()
    assert repeats.filter(after)
    assert after.__dict__["suppressed"] == 3


def test_the_same_event_with_other_arguments_is_a_repeat() -> None:
    repeats = RepeatFilter(allowed=1, clock=Clock())
    assert repeats.filter(record("lost %s", args=("a",)))
    assert not repeats.filter(record("lost %s", args=("b",)))


def test_suppressed_events_that_never_return_are_reported() -> None:
    clock = Clock()
    repeats = RepeatFilter(allowed=1, window_seconds=10, clock=clock)
    for _ in range(3):
        repeats.filter(record())
    assert repeats.take_expired() == []
    clock.now = 10.0
    assert repeats.take_expired() == [(("backpack_streams.probe", logging.WARNING, "gap found"), 2)]
    assert repeats.take_expired() == []


def test_endless_events_take_bounded_memory() -> None:
    repeats = RepeatFilter(clock=Clock())
    for number in range(MAX_REPEAT_KEYS + 100):
        repeats.filter(record(f"event {number}"))
    assert len(repeats._windows) == MAX_REPEAT_KEYS


@given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 4))
def test_every_record_is_shown_or_counted(events: list[int], allowed: int) -> None:
    clock = Clock()
    repeats = RepeatFilter(allowed=allowed, window_seconds=3, clock=clock)
    shown = told = 0
    for event in events:
        clock.now += event / 2
        one = record(f"event {event}")
        passes = repeats.filter(one)
        shown += passes
        told += one.__dict__.get("suppressed", 0)
    told += sum(count for _, count in repeats.take_expired(everything=True))
    assert shown + told == len(events)


def test_the_handler_reports_the_remaining_repeats_when_it_closes() -> None:
    target = io.StringIO()
    handler = RepeatLimitedHandler(target, RepeatFilter(allowed=1))
    handler.setFormatter(JsonFormatter())
    for _ in range(4):
        handler.emit(record())
    handler.close()
    first, last = (json.loads(line) for line in target.getvalue().splitlines())
    assert first["event"] == "gap found"
    assert (last["repeated_event"], last["suppressed"]) == ("gap found", 3)
