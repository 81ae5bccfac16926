"""Exact decimals as text: from integers in units of the last place, padded as sockets send or trimmed as REST does."""

from decimal import Decimal


def padded(value: int, places: int) -> str:
    """`padded(8667000, 2)` is `"86670.00"`: every place written, as the socket writes it."""
    if not places:
        return str(value)
    sign = "-" if value < 0 else ""
    digits = str(abs(value)).zfill(places + 1)
    return f"{sign}{digits[:-places]}.{digits[-places:]}"


def trim(text: str) -> str:
    """`trim("86700.0")` is `"86700"`: no trailing zeros, never an exponent, as REST writes it."""
    if "." not in text:
        return text
    return text.rstrip("0").rstrip(".")


def trimmed(value: int, places: int) -> str:
    """`trimmed(8667000, 2)` is `"86670"`."""
    return trim(padded(value, places))


def plain(value: Decimal) -> str:
    """A Decimal as REST writes it: no trailing zeros, never an exponent, every digit kept."""
    return trim(format(value, "f"))
