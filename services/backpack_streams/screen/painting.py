"""How tones look on a terminal. This is the only module of the package that needs rich."""

from collections.abc import Iterable
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from backpack_streams.screen.lines import Line, Tone

__all__ = ["painted"]

_STYLES: Final = {
    Tone.PLAIN: "",
    Tone.LABEL: "cyan",
    Tone.STRONG: "bold",
    Tone.DIM: "dim",
    Tone.GOOD: "green",
    Tone.WARN: "yellow",
    Tone.BAD: "bold red",
    Tone.UP: "green",
    Tone.DOWN: "red",
}


def painted(lines: Iterable[Line]) -> RenderableType:
    """Return the lines for rich, in colours. Lines that are too long are cut, not wrapped."""
    return Group(*map(_text, lines))


def _text(shown: Line) -> Text:
    text = Text(no_wrap=True, overflow="ellipsis")
    for part in shown:
        text.append(part.text, _STYLES[part.tone])
    return text
