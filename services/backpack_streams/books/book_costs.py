"""Answers about the quantities of one side: the total to a price, the cost of taking a quantity."""

from decimal import ROUND_HALF_EVEN, Context, Decimal
from itertools import islice

from backpack_streams.books.book_answers import Fill
from backpack_streams.books.book_side import BookSide
from backpack_streams.books.units import SCALE, exact_decimal, plain
from backpack_streams.errors import BookError

__all__ = ["beyond_coverage", "fill_of", "quantity_of_best", "quantity_to", "quotient"]

_QUOTIENT = Context(prec=38, rounding=ROUND_HALF_EVEN)


def quotient(dividend: Decimal, divisor: Decimal) -> Decimal:
    """Return a quotient rounded to 38 significant digits, half to even; a longer dividend is not rounded first.

    Raises:
        decimal.DivisionByZero: the divisor is zero and the dividend is not.
    """
    return _QUOTIENT.divide(dividend, divisor)


def quantity_to(side: BookSide, price: int) -> int:
    """Return the total quantity from the best level to a price, inclusive, in units of 10**-18.

    Args:
        side: the side to add up.
        price: the last price that counts, in units of 10**-18. It need not be a level.

    Raises:
        BookError: the price lies beyond the coverage.
    """
    if not side.covers(price):
        raise beyond_coverage(side, f"the volume to {plain(price)}")
    total = 0
    for level_price, quantity in side.best_first():
        if (level_price < price) if side.is_bid else (level_price > price):
            break
        total += quantity
    return total


def quantity_of_best(side: BookSide, levels: int) -> int:
    """Return the total quantity of the best levels, in units of 10**-18.

    Args:
        side: the side to add up.
        levels: number of levels; all of a side that has fewer.

    Raises:
        BookError: one of them lies beyond the coverage.
    """
    total = seen = 0
    for price, quantity in islice(side.best_first(), levels):
        if not side.covers(price):
            break
        total += quantity
        seen += 1
    if seen < levels and side.edge is not None:
        raise beyond_coverage(side, f"the quantity of {levels} levels")
    return total


def fill_of(side: BookSide, wanted: int) -> Fill:
    """Return the cost of taking a quantity, level by level from the best price.

    Args:
        side: the side to take from.
        wanted: the quantity, in units of 10**-18 of the base asset.

    Raises:
        BookError: the quantity is not positive, the side holds less, or filling it would need levels beyond the
            coverage.
    """
    if wanted <= 0:
        raise BookError(f"a quantity of {plain(wanted)} has no price; ask for one above zero")
    missing, cost = wanted, 0
    for price, resting in side.best_first():
        if not side.covers(price):
            break
        taken = min(resting, missing)
        cost += price * taken
        missing -= taken
        if not missing:
            total, base = exact_decimal(cost, 2 * SCALE), exact_decimal(wanted)
            return Fill(base, total, quotient(total, base), exact_decimal(price))
    if side.edge is not None:
        raise beyond_coverage(side, f"the price for {plain(wanted)}")
    held = plain(wanted - missing)
    raise BookError(f"the {side.name}s hold {held}, less than the {plain(wanted)} asked for; ask for less")


def beyond_coverage(side: BookSide, question: str) -> BookError:
    """Return the error for a question that reaches beyond the coverage of the side.

    Args:
        side: the truncated side.
        question: what was asked for, as the subject of the message: `the price for 3`.
    """
    known = "" if side.edge is None else plain(side.edge)
    return BookError(
        f"{question} lies beyond what the truncated snapshot knows of the {side.name}s (to {known}); "
        "ask nearer the touch, or begin with a snapshot of more levels"
    )
