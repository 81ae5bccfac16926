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
    """One row of the report.

    Attributes:
        part: the part that was checked.
        check: the name of the check.
        state: the result.
        found: what was found, one line.
        todo: what to do, one line; empty if nothing.
    """

    part: Part
    check: str
    state: State
    found: str
    todo: str = ""


class Verdict(NamedTuple):
    """The result of a check, without its place in the report. See `Finding` for the attributes."""

    state: State
    found: str
    todo: str = ""

    def of(self, part: Part, check: str) -> Finding:
        """Return the row of the report.

        Args:
            part: the part that was checked.
            check: the name of the check.
        """
        return Finding(part, check, *self)


def ok(found: str) -> Verdict:
    """Return the verdict of a check that passed."""
    return Verdict(State.OK, found)


def warn(found: str, todo: str) -> Verdict:
    """Return the verdict of something that works, but not as it should.

    Args:
        found: what was found, one line.
        todo: what to do, one line.
    """
    return Verdict(State.WARN, found, todo)


def fail(found: str, todo: str) -> Verdict:
    """Return the verdict of something that does not work.

    Args:
        found: what was found, one line.
        todo: what to do, one line.
    """
    return Verdict(State.FAIL, found, todo)


def skipped(found: str) -> Verdict:
    """Return the verdict of something that could not be checked. `found` is the reason."""
    return Verdict(State.SKIPPED, found)


def few(names: Iterable[str]) -> str:
    """Return the first three names, and how many more there are: `a, b, c and 4 more`. Empty without names."""
    listed = list(names)
    more = len(listed) - _NAMED_AT_MOST
    return ", ".join(listed[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def row_text(text: object, most_characters: int = 300) -> str:
    """Return text from another system in a form fit for a row: one line, without control characters.

    Args:
        text: the text or error.
        most_characters: the maximum length.
    """
    return one_line(text, most_characters)


def worst(verdicts: Sequence[Verdict], otherwise: Verdict) -> Verdict:
    """Return the first of the worst verdicts.

    Args:
        verdicts: the verdicts.
        otherwise: what to return if there are none.
    """
    order = (State.FAIL, State.WARN, State.SKIPPED, State.OK)
    return min(verdicts, key=lambda each: order.index(each.state), default=otherwise)
