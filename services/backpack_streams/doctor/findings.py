"""The results of checks. Sans I/O."""

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import NamedTuple

from backpack_streams.shown_text import one_line

_NAMED_AT_MOST = 3


class State(StrEnum):
    """The result of a check. Only `FAIL` makes the command end with exit code 1."""

    OK = "OK"
    WARN = "WARN"
    FAIL = "FAIL"
    SKIPPED = "SKIPPED"


class Part(StrEnum):
    """The parts that are checked, in the order of the report."""

    KAFKA = "kafka"
    REGISTRY = "registry"
    EXCHANGE = "exchange"
    KEY = "key"


class Finding(NamedTuple):
    """One row of the table: the check, its result, what was found, and what to do (empty if nothing is to be done)."""

    part: Part
    check: str
    state: State
    found: str
    todo: str = ""


class Verdict(NamedTuple):
    """The result of a check, before it has its row in the table."""

    state: State
    found: str
    todo: str = ""

    def of(self, part: Part, check: str) -> Finding:
        """Return the row."""
        return Finding(part, check, *self)


def ok(found: str) -> Verdict:
    """Return the verdict of a check that passed."""
    return Verdict(State.OK, found)


def warn(found: str, todo: str) -> Verdict:
    """Return the verdict of something that works, but not as it should."""
    return Verdict(State.WARN, found, todo)


def fail(found: str, todo: str) -> Verdict:
    """Return the verdict of something that does not work."""
    return Verdict(State.FAIL, found, todo)


def skipped(found: str) -> Verdict:
    """Return the verdict of something that could not be checked."""
    return Verdict(State.SKIPPED, found)


def few(names: Iterable[str]) -> str:
    """Return the first names, and how many more there are."""
    listed = list(names)
    more = len(listed) - _NAMED_AT_MOST
    return ", ".join(listed[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def row_text(text: object, most_characters: int = 300) -> str:
    """Return foreign text, fit for a row."""
    return one_line(text, most_characters)


def worst(verdicts: Sequence[Verdict], otherwise: Verdict) -> Verdict:
    """Return the first of the worst verdicts; `otherwise` if there is none."""
    order = (State.FAIL, State.WARN, State.SKIPPED, State.OK)
    return min(verdicts, key=lambda each: order.index(each.state), default=otherwise)
