"""Converts decimals exactly between wire text and Avro's `decimal` bytes. Uses no binary float, and no `Decimal` on the
hot path.

Avro's decimal is the unscaled integer as big-endian two's complement (Avro specification, "Decimal").
"""

from decimal import Context, Decimal, InvalidOperation

from backpack_streams.errors import CodecError

__all__ = [
    "PRECISION_DIGITS",
    "RATE_SCALE",
    "SCALE",
    "DecimalBytes",
    "DecimalDoesNotFit",
    "UnscaledNumbers",
    "bytes_from_unscaled",
    "decimal_from_bytes",
    "plain",
    "unscaled_from_text",
]

SCALE = 18
"""Decimal places of prices and quantities."""
RATE_SCALE = 30
"""Decimal places of funding rates; the exchange sends 28."""
PRECISION_DIGITS = 38
"""Maximum digits of an unscaled value."""

_LIMIT = 10**PRECISION_DIGITS
_POWERS: tuple[int, ...] = tuple(10**exponent for exponent in range(RATE_SCALE + 1))
_EXACT = Context(prec=400, Emax=999_999, Emin=-999_999)
_CACHE_ENTRIES = 1 << 17
_LONGEST_TEXT = 200
_LONGEST_BYTES = 128
_LENGTHS = 18
"""The lengths 0 to 17 bytes: 38 digits take 16 bytes and a sign bit."""


class DecimalDoesNotFit(CodecError):  # noqa: N818  # named for what happened, as CodecError's other children
    """A text is not a decimal number, or has more digits than the schema holds."""


def unscaled_from_text(text: str, scale: int = SCALE) -> int:
    """Return a number as an integer in units of 10**-`scale`, exactly.

    Args:
        text: a decimal number; sign and exponent are allowed.
        scale: decimal places, at most `RATE_SCALE` on the fast path.

    Raises:
        DecimalDoesNotFit: not a finite decimal number, or digits would be lost.
    """
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    if (
        digits.isdecimal()
        and digits.isascii()
        and len(fraction) <= scale <= RATE_SCALE
        and len(digits) <= PRECISION_DIGITS
    ):
        unscaled = int(digits) * _POWERS[scale - len(fraction)]
    else:
        unscaled = _unscaled_the_long_way(text, scale)
    if unscaled >= _LIMIT or unscaled <= -_LIMIT:
        raise DecimalDoesNotFit(
            f"{_shown(text)} has more than the {PRECISION_DIGITS} digits a record holds at scale {scale}"
        )
    return unscaled


def _unscaled_the_long_way(text: str, scale: int) -> int:
    """Convert signs, exponents and zeros after the scale. These are rare on the wire, so this path favours correctness
    over speed.

    `Decimal` accepts more than JSON and REST do: digits of any script, surrounding blanks, underscores.
    """
    if len(text) > _LONGEST_TEXT:
        raise DecimalDoesNotFit(f"{_shown(text)} is too long to be a price or a quantity")
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise DecimalDoesNotFit(f"{_shown(text)} is not a decimal number") from error
    if not value.is_finite() or not text.isascii() or "_" in text or text != text.strip():
        raise DecimalDoesNotFit(f"{_shown(text)} is not a finite decimal number")
    if not value:
        return 0
    if value.adjusted() < -_LONGEST_TEXT:
        raise DecimalDoesNotFit(f"{_shown(text)} has more than the {scale} decimal places a record holds")
    if value.adjusted() + scale >= PRECISION_DIGITS:
        raise DecimalDoesNotFit(
            f"{_shown(text)} has more than the {PRECISION_DIGITS} digits a record holds at scale {scale}"
        )
    scaled = value.scaleb(scale, _EXACT)
    if scaled != scaled.to_integral_value(context=_EXACT):
        raise DecimalDoesNotFit(f"{_shown(text)} has more than the {scale} decimal places a record holds")
    return int(scaled)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def bytes_from_unscaled(unscaled: int) -> bytes:
    """Return the shortest two's complement form, so that equal values have equal bytes."""
    length = ((unscaled if unscaled >= 0 else ~unscaled).bit_length() >> 3) + 1
    return unscaled.to_bytes(length, "big", signed=True)


def decimal_from_bytes(data: bytes, scale: int = SCALE) -> Decimal:
    """Return the exact `Decimal` of Avro's bytes.

    Args:
        data: the unscaled integer, big-endian two's complement.
        scale: decimal places.

    Raises:
        DecimalDoesNotFit: more bytes than any valid value has.
    """
    if len(data) > _LONGEST_BYTES:
        raise DecimalDoesNotFit(f"{len(data)} bytes are not a decimal of {PRECISION_DIGITS} digits")
    return Decimal(int.from_bytes(data, "big", signed=True)).scaleb(-scale, _EXACT)


def plain(value: Decimal) -> str:
    """Return `value` without exponent and without trailing zeros: `"86700"`, `"0.00123"`."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


class DecimalBytes(dict[str, bytes]):
    """A bounded cache from number texts to Avro decimal bytes: prices and lot sizes recur.

    `table[text]` converts and keeps texts that it has not seen. The cache is emptied when it is full.

    Args:
        scale: decimal places.
        with_length: whether the bytes start with their length, as Avro writes a field of type `bytes`.

    Raises:
        DecimalDoesNotFit: on lookup, as `unscaled_from_text`.
    """

    __slots__ = ("_prefixes", "_scale")

    def __init__(self, scale: int = SCALE, with_length: bool = False) -> None:
        super().__init__()
        self._scale = scale
        self._prefixes = tuple(bytes((length << 1,)) if with_length else b"" for length in range(_LENGTHS))

    def __missing__(self, text: str) -> bytes:
        whole, _, fraction = text.partition(".")
        digits = whole + fraction
        scale = self._scale
        if (
            len(fraction) <= scale
            and len(whole) <= PRECISION_DIGITS - scale
            and digits.isdecimal()
            and digits.isascii()
        ):  # the usual case of unscaled_from_text, without its calls
            unscaled = int(digits) * _POWERS[scale - len(fraction)]
            length = (unscaled.bit_length() >> 3) + 1
        else:
            unscaled = unscaled_from_text(text, scale)
            length = ((unscaled if unscaled >= 0 else ~unscaled).bit_length() >> 3) + 1
        data = self._prefixes[length] + unscaled.to_bytes(length, "big", signed=True)
        if len(self) >= _CACHE_ENTRIES:
            self.clear()
        self[text] = data
        return data


class UnscaledNumbers(dict[bytes, int]):
    """A bounded cache from Avro decimal bytes to unscaled integers, the inverse of `DecimalBytes`."""

    __slots__ = ()

    def __missing__(self, data: bytes) -> int:
        number = int.from_bytes(data, "big", signed=True)
        if len(self) >= _CACHE_ENTRIES:
            self.clear()
        self[data] = number
        return number
