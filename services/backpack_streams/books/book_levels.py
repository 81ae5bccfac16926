"""The levels of one side of a book by price: in Python, or compiled if a C compiler was available, with the same results.

The data structures were chosen by measurement (`benchmarks`, part `books`): two sorted arrays of 128-bit integers in C, and a dict with a
sorted list of its prices in Python, the fastest option without a compiler.
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
"""Prices and quantities as the exchange writes them, such as `("86700.0", "0.00123")`."""

_SAMPLE = [(10**37 + 2**64 + 5, 10**37 + 3), (2**64 + 1, 2**100 + 7), (258, 2**63), (-(2**65) - 1, 1)]
"""Numbers that change if bytes or their order are mistaken, for example on an untested processor."""


def keeps_numbers(levels: "type[Levels]") -> bool:
    """Return whether compiled levels return the numbers they were given, in order; otherwise the Python version is used."""
    bids, asks = levels(True), levels(False)
    for price, quantity in _SAMPLE:
        bids.put(price, quantity)
        asks.put(price, quantity)
    return bids.walk(0, 4) == _SAMPLE and asks.walk(0, 4) == _SAMPLE[::-1] and bids.best == _SAMPLE[0][0]


compiled: ModuleType | None
"""The compiled `_quick_levels.c`; None if there was no compiler, or if it fails `keeps_numbers`."""
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
    """Interface of both versions; prices and quantities are integers in units of 10**-18."""

    def __init__(self, is_bid: bool) -> None: ...

    def __len__(self) -> int: ...

    @property
    def is_bid(self) -> bool:
        """Whether these are bids."""

    @property
    def best(self) -> int | None:
        """Best known price; None without levels."""

    @property
    def edge(self) -> int | None:
        """Deepest price up to which every level is known; None if all are."""

    def update(self, asks: Self, bid_levels: object, ask_levels: object, is_text: bool, /) -> bool | None:
        """Apply an update to these bids and to `asks`. Quantities are absolute; zero deletes a level.

        Args:
            asks: the other side of the same book.
            bid_levels: (price, quantity) pairs of the bids.
            ask_levels: (price, quantity) pairs of the asks.
            is_text: whether the numbers are text as the exchange writes them, not integers.

        Returns:
            Whether the best levels are reliable (not crossed, no truncated side exhausted). None if the input is
            unusual: `checked_levels` then finds the problem, and the whole update has to be applied again.
        """

    def put(self, price: int, quantity: int, /) -> None:
        """Set a level; a quantity of zero deletes it."""

    def quantity_at(self, price: int, /) -> int | None:
        """Return the quantity at a price; None if no level is known there."""

    def walk(self, start: int, most: int, /) -> list[tuple[int, int]]:
        """Return levels from the best one outwards, as (price, quantity).

        Args:
            start: number of best levels to skip.
            most: maximum number of levels to return.
        """

    def mark_edge(self) -> None:
        """Mark the current deepest level as the edge of what is known."""

    def take_copy(self, other: Self, /) -> None:
        """Become a copy of `other`."""


class PlainLevels:
    """Levels in a dict, with their prices in a sorted list.

    The list holds one key per level, the price of a bid or the negated price of an ask. So the greater key is the better price on both
    sides, and the best level is last, where changes are frequent and cheap.
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
        except (TypeError, ValueError):  # the levels are no pairs
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
        """Apply levels; returns False at the first unusual one, with the levels before it applied."""
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
    """Return levels of any iterable type as a list of pairs that both versions accept.

    Args:
        levels: (price, quantity) in units of 10**-18.
        name: the side, `bid` or `ask`, for the message.

    Raises:
        BookError: a quantity is negative, or a number has more than 38 digits or is no integer.
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
    """Return a price as text, but do not format one with thousands of digits."""
    return plain(price) if -UNITS_LIMIT < price < UNITS_LIMIT else "a price too large to be one"


def units_of_text(levels: TextLevels, name: str) -> list[tuple[int, int]]:
    """Return levels given as text as (price, quantity) in units of 10**-18.

    Args:
        levels: pairs of texts as the exchange writes them, such as `("86700.0", "0.00123")`.
        name: the side, `bid` or `ask`, for the message.

    Raises:
        BookError: a level is no pair of texts, or a text is no decimal number of at most 38 digits and 18 decimal
            places.
    """
    try:
        return [(_NUMBERS[price], _NUMBERS[quantity]) for price, quantity in levels]
    except (CodecError, TypeError, ValueError) as error:
        raise BookError(f"a level of the {name}s cannot be read: {error}") from error


class _Numbers(dict[str, int]):
    """Cache of converted texts, since prices and lot sizes repeat. Bounded: cleared when full."""

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
