"""Lines of text in parts, each with a tone that says what the part means. How a tone looks is up to `painting`. Sans I/O."""

from collections.abc import Iterable
from enum import Enum
from typing import Final, NamedTuple

from backpack_streams.shown_text import loggable_text

__all__ = ["LABEL_WIDTH", "Line", "Part", "Tone", "cut", "labelled", "line", "plain_text", "width"]

_CUT: Final = "…"
LABEL_WIDTH: Final = 10
"""Columns of the label at the beginning of a line."""


class Tone(Enum):
    """The meaning of a part of a line."""

    PLAIN = "plain"
    LABEL = "label"
    STRONG = "strong"
    DIM = "dim"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    UP = "up"
    DOWN = "down"


class Part(NamedTuple):
    """Text with its tone."""

    text: str
    tone: Tone = Tone.PLAIN


Line = tuple[Part, ...]


def line(*parts: Part | str) -> Line:
    """Return a line of these parts; plain text gets the tone PLAIN.

    Unprintable characters, which a record may contain, are escaped.
    """
    toned = (each if isinstance(each, Part) else Part(each) for each in parts)
    return tuple(Part(loggable_text(each.text), each.tone) for each in toned)


def labelled(label: str, parts: Iterable[Part | str]) -> Line:
    """Return a line that begins with a label, padded to `LABEL_WIDTH` columns.

    Args:
        label: the label.
        parts: the rest of the line.
    """
    return line(Part(f"{label:<{LABEL_WIDTH}}", Tone.LABEL), *parts)


def width(shown: Line) -> int:
    """Return the number of characters of a line."""
    return sum(len(part.text) for part in shown)


def plain_text(shown: Line) -> str:
    """Return the text of a line without tones and without trailing blanks."""
    return "".join(part.text for part in shown).rstrip()


def cut(shown: Line, columns: int) -> Line:
    """Return a line of at most `columns` characters; an ellipsis stands for the rest.

    Args:
        shown: the line.
        columns: the limit; with 0 or less, the line is empty.
    """
    if width(shown) <= columns:
        return shown
    kept: list[Part] = []
    room = columns - len(_CUT)
    for part in shown:
        if room <= 0:
            break
        kept.append(Part(part.text[:room], part.tone))
        room -= len(part.text)
    return (*kept, Part(_CUT, Tone.DIM)) if columns > 0 else ()
