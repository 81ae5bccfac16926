"""Levels as NumPy arrays; NumPy is imported on first use."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from backpack_streams.books.optional import library
from backpack_streams.books.units import UNITS_PER_ONE

__all__ = ["exact_array", "float_array"]


def float_array(levels: Sequence[tuple[int, int]]) -> Any:
    """Return levels as a NumPy array of dtype float64 and shape (levels, 2).

    Args:
        levels: (price, quantity) in units of 10**-18. Each number is rounded once, to the nearest float.

    Raises:
        UsageError: NumPy is not installed.
    """
    numpy = library("numpy", "numpy")
    flat = [number / UNITS_PER_ONE for level in levels for number in level]  # int / int rounds once, correctly
    return numpy.array(flat, dtype=numpy.float64).reshape(len(levels), 2)


def exact_array(levels: Sequence[tuple[Decimal, Decimal]]) -> Any:
    """Return levels as a NumPy array of dtype object and shape (levels, 2), which holds the same `Decimal`s.

    Args:
        levels: (price, quantity).

    Raises:
        UsageError: NumPy is not installed.
    """
    numpy = library("numpy", "numpy")
    array = numpy.empty((len(levels), 2), dtype=object)
    for place, level in enumerate(levels):
        array[place, 0], array[place, 1] = level
    return array
