"""Converts the integers that books use (units of 10**-18) to exact decimals and plain strings, and back."""

from decimal import Context, Decimal, Inexact, InvalidOperation

from backpack_streams.errors import BookError

__all__ = ["SCALE", "UNITS_LIMIT", "UNITS_PER_ONE", "exact_decimal", "plain", "to_units"]

SCALE = 18
"""Decimal places of a price or quantity on the bus: Avro `decimal(38, 18)`."""

UNITS_PER_ONE = 10**SCALE

_PRECISION_DIGITS = 38
UNITS_LIMIT = 10**_PRECISION_DIGITS
"""Smallest number of units that does not fit the bus."""
# Rounding would be an error here, so it raises: every value leaves this module exact.
_EXACT = Context(prec=_PRECISION_DIGITS, traps=[Inexact, InvalidOperation])

# Shifting the decimal point changes no digit; a total with two scales has more digits than a price.
_SHIFTING = Context(prec=10 * _PRECISION_DIGITS, traps=[Inexact, InvalidOperation])
_USUAL_ZEROS = 12
_USUAL_ZEROS_POWER = 10**_USUAL_ZEROS


def plain(value: int, scale: int = SCALE) -> str:
    """Return `value` × 10**-`scale` as text with every digit, no trailing zero and no exponent: `"86700"`, `"0.00123"`."""
    if value < 0:
        return "-" + plain(-value, scale)
    whole, fraction = divmod(value, 10**scale)
    if not fraction:
        return str(whole)
    return f"{whole}.{fraction:0{scale}d}".rstrip("0")


def exact_decimal(value: int, scale: int = SCALE) -> Decimal:
    """Return `value` × 10**-`scale` as a `Decimal` with every digit and no trailing zero, independent of the caller's decimal context."""
    if scale > _USUAL_ZEROS and not value % _USUAL_ZEROS_POWER:  # most values have few places
        value //= _USUAL_ZEROS_POWER
        scale -= _USUAL_ZEROS
    while scale and not value % 10:
        value //= 10
        scale -= 1
    return Decimal(value).scaleb(-scale, _SHIFTING)


def to_units(value: Decimal | int | str) -> int:
    """Return `value` in units of 10**-18.

    Raises:
        BookError: the value is not a finite number, has more than 18 decimal places, needs more than 38 digits, or is a binary float
            (which cannot hold a price exactly; pass a `Decimal` or a string).

    """
    if isinstance(value, bool) or not isinstance(value, (Decimal, int, str)):
        raise BookError(
            f"{value!r} is a {type(value).__name__}, not an exact decimal; pass a Decimal, an int or a string"
        )
    units = value * UNITS_PER_ONE if isinstance(value, int) else _units_of_decimal(value)
    if abs(units) >= UNITS_LIMIT:
        raise BookError(f"{value} does not fit 38 digits with 18 decimal places; no market has such a value")
    return units


def _units_of_decimal(value: Decimal | str) -> int:
    try:
        number = Decimal(value)
    except InvalidOperation:
        raise BookError(f"{value!r} is not a decimal number; write it like 86700.5") from None
    if not number.is_finite():
        raise BookError(f"{value} is not a finite number; prices and quantities are")
    # Reject a huge exponent first: it must not become an integer with millions of digits.
    if number and number.adjusted() >= _PRECISION_DIGITS - SCALE:
        raise BookError(f"{value} does not fit 38 digits with 18 decimal places; no market has such a value")
    try:
        return int(number.scaleb(SCALE, _EXACT).to_integral_exact(context=_EXACT))
    except (Inexact, InvalidOperation):
        raise BookError(f"{value} has more than 18 decimal places; no market's tick is that fine") from None
