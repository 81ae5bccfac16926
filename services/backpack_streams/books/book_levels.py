"""The levels of one side of a book by price: in Python, or compiled where a C compiler was at hand, with the same results.

What holds them was chosen by measurement (`benchmarks`, part `books`): two sorted arrays of 128-bit integers where compiled, a dict
with a sorted list of its prices elsewhere, which is the fastest that Python alone offers.
"""

import importlib
from bisect import bisect_left, insort
from collections.abc import Iterable
from itertools import islice
from operator import index
from types import ModuleType
from typing import TYPE_CHECKING, Protocol, Self

from backpack_streams.books.units import UNITS_LIMIT, plain
from backpack_streams.bus.decimals import unscaled_from_text
from backpack_streams.errors import BookError, CodecError

__all__ = ["Levels", "PlainLevels", "TextLevels", "UnitLevels", "checked_levels", "compiled", "units_of_text"]

UnitLevels = Iterable[tuple[int, int]]
"""Prices and quantities in units of 10**-18."""
TextLevels = Iterable[tuple[str, str] | list[str]]
"""Prices and quantities as an exchange writes them, such as `("86700.0", "0.00123")`."""

_SAMPLE = [(10**37 + 2**64 + 5, 10**37 + 3), (2**64 + 1, 2**100 + 7), (258, 2**63), (-(2**65) - 1, 1)]
"""Numbers that come out changed where bytes or their order are mistaken, as on a processor nobody has tried this on."""


def keeps_numbers(levels: "type[Levels]") -> bool:
    """Whether compiled levels give back the numbers they were given, in their order; Python does the work otherwise."""
    bids, asks = levels(True), levels(False)
    for price, quantity in _SAMPLE:
        bids.put(price, quantity)
        asks.put(price, quantity)
    return bids.walk(0, 4) == _SAMPLE and asks.walk(0, 4) == _SAMPLE[::-1] and bids.best == _SAMPLE[0][0]


compiled: ModuleType | None
"""What was made of `_quick_levels.c`; None where there was no compiler, or where it does not keep numbers."""
try:
    compiled = importlib.import_module("backpack_streams.books._quick_levels")
except ImportError:
    compiled = None
if TYPE_CHECKING:
    from backpack_streams.books._quick_levels import Levels as CompiledLevels  # typed by its stub
elif compiled is not None:
    CompiledLevels = compiled.Levels
if compiled is not None and not keeps_numbers(CompiledLevels):
    compiled = None


class Levels(Protocol):
    """What both ways can do; prices and quantities are integers in units of 10**-18."""

    def __init__(self, is_bid: bool) -> None: ...

    def __len__(self) -> int: ...

    @property
    def is_bid(self) -> bool:
        """Whether these are bids."""

    @property
    def best(self) -> int | None:
        """The best price known, None without any level."""

    @property
    def edge(self) -> int | None:
        """The deepest price up to which every level is known; None: all are."""

    def update(self, asks: Self, bid_levels: object, ask_levels: object, is_text: bool, /) -> bool | None:
        """Apply an update to these bids and those asks.

        Returns whether the touch can be relied on (not crossed, no truncated side exhausted), or None where something is not as
        always: `checked_levels` then finds out what, and the update is to be applied again, whole.
        """

    def put(self, price: int, quantity: int, /) -> None:
        """Set a level, or delete it with a quantity of zero."""

    def quantity_at(self, price: int, /) -> int | None:
        """Return the quantity at a price, None where no level is known."""

    def walk(self, start: int, most: int, /) -> list[tuple[int, int]]:
        """Return (price, quantity) from the touch outwards, without the first `start` and at most so many."""

    def mark_edge(self) -> None:
        """Nothing is known beyond the deepest level there is now."""

    def take_copy(self, other: Self, /) -> None:
        """Become a copy of `other`."""


class PlainLevels:
    """Levels in a dict, and their prices in a sorted list.

    The list holds one key a level, the price of a bid and the negated price of an ask: so on both sides the greater key is the
    better price and the touch is the last element, where changes are frequent and cheap.
    """

    __slots__ = ("_edge_key", "_keys", "_quantities", "is_bid")

    def __init__(self, is_bid: bool) -> None:
        self.is_bid = is_bid
        self._quantities: dict[int, int] = {}
        self._keys: list[int] = []
        self._edge_key: int | None = None

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def best(self) -> int | None:
        """See `Levels`."""
        return self._price(self._keys[-1]) if self._keys else None

    @property
    def edge(self) -> int | None:
        """See `Levels`."""
        return None if self._edge_key is None else self._price(self._edge_key)

    def update(self, asks: "PlainLevels", bid_levels: object, ask_levels: object, is_text: bool) -> bool | None:
        """See `Levels`."""
        try:
            if is_text or not self._put_all(bid_levels) or not asks._put_all(ask_levels):
                return None
        except (TypeError, ValueError):  # no pairs
            return None
        bid_keys, ask_keys = self._keys, asks._keys
        return (
            (not bid_keys or not ask_keys or bid_keys[-1] + ask_keys[-1] < 0)
            and (self._edge_key is None or (bool(bid_keys) and bid_keys[-1] >= self._edge_key))
            and (asks._edge_key is None or (bool(ask_keys) and ask_keys[-1] >= asks._edge_key))
        )

    def put(self, price: int, quantity: int) -> None:
        """See `Levels`."""
        self._put_all([(price, quantity)])

    def quantity_at(self, price: int) -> int | None:
        """See `Levels`."""
        return self._quantities.get(price)

    def walk(self, start: int, most: int) -> list[tuple[int, int]]:
        """See `Levels`."""
        quantities = self._quantities
        keys = islice(reversed(self._keys), start, start + most)
        if self.is_bid:
            return [(key, quantities[key]) for key in keys]
        return [(-key, quantities[-key]) for key in keys]

    def mark_edge(self) -> None:
        """See `Levels`."""
        self._edge_key = self._keys[0]

    def take_copy(self, other: "PlainLevels") -> None:
        """See `Levels`."""
        self.is_bid, self._edge_key = other.is_bid, other._edge_key
        self._keys, self._quantities = other._keys.copy(), other._quantities.copy()

    def _put_all(self, levels: object) -> bool:
        """Whether all were usual; the levels before one that is not are applied."""
        if not isinstance(levels, (list, tuple)):
            return False
        quantities = self._quantities
        keys = self._keys
        is_bid = self.is_bid
        for price, quantity in levels:
            if quantity.__class__ is not int:
                return False
            if 0 < quantity < UNITS_LIMIT:
                if price not in quantities:
                    if price.__class__ is not int or not -UNITS_LIMIT < price < UNITS_LIMIT:
                        return False
                    insort(keys, price if is_bid else -price)
                quantities[price] = quantity
            elif quantity or price.__class__ is not int:
                return False
            elif quantities.pop(price, None) is not None:
                del keys[bisect_left(keys, price if is_bid else -price)]
            elif not -UNITS_LIMIT < price < UNITS_LIMIT:
                return False
        return True

    def _price(self, key: int) -> int:
        return key if self.is_bid else -key


def checked_levels(levels: UnitLevels, name: str) -> list[tuple[int, int]]:
    """Return levels, in whatever they came, as a list of pairs that every way of keeping levels takes.

    Raises:
        BookError: a quantity is below zero, a number has more than 38 digits or is no integer. `name` says what the levels are.

    """
    checked = []
    try:
        for price, quantity in levels:
            checked.append((index(price), index(quantity)))
    except (TypeError, ValueError) as error:
        raise BookError(f"the {name}s are no pairs of integers: {error}") from error
    for price, quantity in checked:
        if quantity >= UNITS_LIMIT or not -UNITS_LIMIT < price < UNITS_LIMIT or quantity <= -UNITS_LIMIT:
            raise BookError(f"{name} at {_shown(price)}: a number of more than 38 digits is no price and no quantity")
        if quantity < 0:
            raise BookError(f"{name} at {plain(price)} has the negative quantity {plain(quantity)}")
    return checked


def _shown(price: int) -> str:
    """A number of thousands of digits is not even written."""
    return plain(price) if -UNITS_LIMIT < price < UNITS_LIMIT else "a price too large to be one"


def units_of_text(levels: TextLevels, name: str) -> list[tuple[int, int]]:
    """Return levels given as text in units of 10**-18.

    Raises:
        BookError: a level is no pair of texts, or a text no decimal number of at most 38 digits and 18 decimal places.

    """
    try:
        return [(_NUMBERS[price], _NUMBERS[quantity]) for price, quantity in levels]
    except (CodecError, TypeError, ValueError) as error:
        raise BookError(f"a level of the {name}s cannot be read: {error}") from error


class _Numbers(dict[str, int]):
    """Units of texts seen before: prices and lot sizes come again and again. Bounded: emptied when full."""

    __slots__ = ()

    def __missing__(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"{text!r} is no text")
        number = unscaled_from_text(text)
        if len(self) >= _NUMBERS_AT_MOST:
            self.clear()
        self[text] = number
        return number


_NUMBERS_AT_MOST = 1 << 16
_NUMBERS = _Numbers()
