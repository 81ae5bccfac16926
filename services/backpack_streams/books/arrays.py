"""Levels as NumPy arrays; NumPy is imported on first use."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from backpack_streams.books.optional import library
from backpack_streams.books.units import UNITS_PER_ONE

__all__ = ["exact_array", "float_array"]


def float_array(levels: Sequence[tuple[int, int]]) -> Any:
    """Return levels in units of 10**-18 as float64, shape (levels, 2), each number rounded to the nearest float."""
    numpy = library("numpy", "numpy")
    flat = [number / UNITS_PER_ONE for level in levels for number in level]  # int / int rounds once, correctly
    return numpy.array(flat, dtype=numpy.float64).reshape(len(levels), 2)


def exact_array(levels: Sequence[tuple[Decimal, Decimal]]) -> Any:
    """Return the same `Decimal`s in an array of dtype object, shape (levels, 2)."""
    numpy = library("numpy", "numpy")
    array = numpy.empty((len(levels), 2), dtype=object)
    for place, level in enumerate(levels):
        array[place, 0], array[place, 1] = level
    return array
