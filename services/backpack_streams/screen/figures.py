"""Formats figures for people: exact decimals, grouped thousands, compact volumes, signed percentages, ages. Sans I/O."""

from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact
from typing import Final

__all__ = ["NONE", "age", "compact", "count", "percent", "price"]

NONE: Final = "–"
"""Shown for a figure that is unknown."""
_EXACT: Final = Context(prec=120, traps=[Inexact])
_ROUNDED: Final = Context(prec=120, rounding=ROUND_HALF_EVEN)
_STEPS: Final = ((12, "T"), (9, "B"), (6, "M"), (3, "K"))
_A_STEP: Final = 1_000
_WORTH_DIGITS: Final = 6
"""Places of a compact figure below 1."""
_UNITS: Final = (
    (172_800_000, 86_400_000, "d"),
    (7_200_000, 3_600_000, "h"),
    (120_000, 60_000, "min"),
    (10_000, 1_000, "s"),
)
"""From this many ms on, an age is shown in units of this many ms."""


def price(number: Decimal | None) -> str:
    """Return a price with every digit and grouped thousands, such as `86,700.1`; `NONE` if it is unknown."""
    return NONE if number is None else f"{number:,f}"


def compact(number: Decimal | None) -> str:
    """Return a figure whose magnitude matters more than its digits, such as `1.23M`; `NONE` if it is unknown.

    From 1,000 on it has two decimals and a letter (K, M, B, T). Below, it has at most two decimals, or six if it is
    below 1.
    """
    if number is None:
        return NONE
    larger = ""
    for power, letter in _STEPS:
        if abs(number) >= Decimal(1).scaleb(power):
            figure = _rounded(number.scaleb(-power, _EXACT), 2)
            if larger and abs(figure) >= _A_STEP:  # 999,999 is 1.00M
                figure, letter = _rounded(figure / _A_STEP, 2), larger
            return f"{figure:,f}{letter}"
        larger = letter
    places = 2 if not number or abs(number) >= 1 else _WORTH_DIGITS
    text = f"{_rounded(number, places):f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(fraction: Decimal | None, places: int = 2) -> str:
    """Return a fraction as a percentage with its sign, such as `+1.25%`. A figure that rounds to zero has no sign.

    Args:
        fraction: 0.0125 for 1.25 %; None if it is unknown.
        places: the number of decimals, rounded half to even.
    """
    if fraction is None:
        return NONE
    value = _rounded(fraction.scaleb(2, _EXACT), places)
    return f"{value:+,f}%" if value else f"{abs(value):f}%"


def count(number: int | None) -> str:
    """Return a whole number with grouped thousands; `NONE` if it is unknown."""
    return NONE if number is None else f"{number:,}"


def age(milliseconds: int | None) -> str:
    """Return an age in one unit, such as `45 ms`, `1.2 s`, `3 min` or `2 h`; it is cut, not rounded.

    Args:
        milliseconds: the age; a negative one counts as 0. None if it is unknown.
    """
    if milliseconds is None:
        return NONE
    ms = max(0, milliseconds)
    if ms < 1_000:
        return f"{ms} ms"
    for least, unit, name in _UNITS:
        if ms >= least:
            return f"{ms // unit} {name}"
    return f"{ms // 1000}.{ms % 1000 // 100} s"


def _rounded(number: Decimal, places: int) -> Decimal:
    return number.quantize(Decimal(1).scaleb(-places), context=_ROUNDED)
