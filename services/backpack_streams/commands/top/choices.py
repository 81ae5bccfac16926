"""What the person at the keyboard has chosen: order, search, place in the list. Sans I/O."""

import re
from collections.abc import Iterator, Sequence
from typing import Final

from backpack_streams.screen.lines import Line, Part, Tone, line
from backpack_streams.screen.market_rows import ORDERS, MarketRow, Order, arranged, matching

__all__ = ["Choices", "keys_of"]

_LONGEST_SEARCH: Final = 40
_SEQUENCE: Final = re.compile(r"\x1b(?:\[[0-9;?]*[ -/]*[@-~]|O[@-~])|.", re.DOTALL)
_NAMES: Final = {
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\x7f": "backspace",
    "\b": "backspace",
    **{f"\x1b{start}A": "up" for start in "[O"},
    **{f"\x1b{start}B": "down" for start in "[O"},
    **{f"\x1b{start}H": "home" for start in "[O"},
    **{f"\x1b{start}F": "end" for start in "[O"},
    "\x1b[1~": "home",
    "\x1b[4~": "end",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
}


def keys_of(typed: bytes) -> Iterator[str]:
    """Yield the keys behind what a terminal sent: characters, or names such as `page up`; other keys are left out.

    Args:
        typed: bytes in UTF-8 with escape sequences (ECMA-48); a sequence must not be divided between two calls.
    """
    for found in _SEQUENCE.findall(typed.decode("utf-8", "ignore")):
        if found in _NAMES:
            yield _NAMES[found]
        elif len(found) == 1 and found.isprintable():
            yield found


class Choices:
    """Takes keys; gives the rows to show.

    Args:
        order: the order to begin with.
        search: the words to search for to begin with; empty for all markets.

    Attributes:
        has_quit: whether `q` was pressed.
    """

    def __init__(self, order: Order, search: str) -> None:
        self.order: Order = order
        self.search = search
        self.first = 0
        """Number of the first row shown, from 0."""
        self.has_quit = False
        self._is_reversed = False
        self._is_typing = False
        self._rows = 0
        self._page = 1

    def press(self, key: str) -> None:
        """Take a key. While a search is typed, characters belong to it; only Enter and Esc end that.

        Args:
            key: a character, or a name that `keys_of` yields. Keys without a meaning are ignored.
        """
        if self._is_typing:
            self._type(key)
        elif key in _COMMANDS:
            _COMMANDS[key](self)
        self._stay_in_list()

    def rows(self, rows: Sequence[MarketRow]) -> list[MarketRow]:
        """Return the rows that match the search, in order.

        Args:
            rows: all markets. The number of those that match limits how far the list can be scrolled.
        """
        found = arranged(matching(rows, self.search), self.order, is_reversed=self._is_reversed)
        self._rows = len(found)
        return found

    def turn_page_by(self, rows: int) -> None:
        """Take the size of a page, for Page Up, Page Down and the end of the list.

        Args:
            rows: the number of rows that are shown at once; less than 1 counts as 1.
        """
        self._page = max(1, rows)
        self._stay_in_list()

    def _stay_in_list(self) -> None:
        self.first = max(0, min(self.first, self._rows - self._page))

    def footer(self) -> Line:
        """Return the last line: what is chosen, and which keys change it."""
        if self._is_typing:
            return line(Part("search: ", Tone.LABEL), self.search, Part("▏  Enter keeps it, Esc ends it", Tone.DIM))
        search = f"{self.search!r}, Esc shows all" if self.search else "/"
        order = f"{self.order}{' reversed' if self._is_reversed else ''}"
        return line(
            Part("sort ", Tone.LABEL), order, Part(" (s, r)", Tone.DIM),
            Part("   search ", Tone.LABEL), search,
            Part("   scroll ", Tone.LABEL), "↑ ↓ PgUp PgDn",
            Part("   quit ", Tone.LABEL), "q",
        )  # fmt: skip

    def _type(self, key: str) -> None:
        if key == "enter":
            self._is_typing = False
        elif key == "escape":
            self._show_all()
        elif key == "backspace":
            self.search = self.search[:-1]
        elif len(key) == 1:
            self.search = (self.search + key)[:_LONGEST_SEARCH]
        elif key in _MOVES:
            _COMMANDS[key](self)

    def _sort_by_next(self) -> None:
        self.order = ORDERS[(ORDERS.index(self.order) + 1) % len(ORDERS)]
        self._is_reversed = False

    def _reverse(self) -> None:
        self._is_reversed = not self._is_reversed

    def _begin_typing(self) -> None:
        self._is_typing = True
        self.first = 0

    def _show_all(self) -> None:
        self._is_typing, self.search = False, ""

    def _quit(self) -> None:
        self.has_quit = True

    def _move(self, rows: int) -> None:
        self.first += rows


_MOVES: Final = {
    "up": lambda choices: choices._move(-1),
    "down": lambda choices: choices._move(1),
    "page up": lambda choices: choices._move(-choices._page),
    "page down": lambda choices: choices._move(choices._page),
    "home": lambda choices: choices._move(-choices.first),
    "end": lambda choices: choices._move(choices._rows),
}
_COMMANDS: Final = {
    **_MOVES,
    "s": Choices._sort_by_next,
    "r": Choices._reverse,
    "/": Choices._begin_typing,
    "escape": Choices._show_all,
    "q": Choices._quit,
}
