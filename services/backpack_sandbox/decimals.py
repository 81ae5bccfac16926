"""Exact decimals as text, from integers in units of the last place: padded as on the socket, or trimmed as in REST."""

from decimal import Decimal


def padded(value: int, places: int) -> str:
    """Format as the socket does, with every place: `padded(8667000, 2)` is `"86670.00"`.

    Args:
        value: the number in units of the last place; may be negative.
        places: decimal places, 0 or more.
    """
    if not places:
        return str(value)
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).zfill(places + 1)
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def trim(text: str) -> str:
    """Drop trailing zeros as REST does, never with an exponent: `trim("86700.0")` is `"86700"`.

    Args:
        text: a decimal without an exponent; zeros before the point stay.
    """
    if "." not in text:
        return text
    return text.rstrip("0").rstrip(".")


def trimmed(value: int, places: int) -> str:
    """Format as REST does: `trimmed(8667000, 2)` is `"86670"`.

    Args:
        value: the number in units of the last place; may be negative.
        places: decimal places, 0 or more.
    """
    return trim(padded(value, places))


def plain(value: Decimal) -> str:
    """Format a Decimal as REST does: no trailing zeros, never an exponent, every digit kept."""
    return trim(format(value, "f"))
