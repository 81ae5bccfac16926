"""The parameters of a URL, declared once for the validation of requests and for the OpenAPI document."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from backpack_streams.gateway.errors import BadRequestError

__all__ = [
    "DECIMALS",
    "KEY_IN_URL",
    "NAMES_OF_KEYS",
    "Parameter",
    "choice",
    "parse",
    "symbol_parameter",
    "whole",
    "words",
]

MAX_WORDS: Final = 1_000
_SYMBOL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_DIGITS: Final = re.compile(r"[0-9]{1,18}")
NAMES_OF_KEYS: Final = frozenset(
    {"key", "apikey", "api_key", "api-key", "x-api-key", "x-oanor-key", "token", "access_token", "authorization"}
)
_SHOWN_CHARACTERS: Final = 40
KEY_IN_URL: Final = (
    "a key in the URL is refused, since proxies and logs keep URLs; "
    "send it in the header X-API-Key, and replace the key that was sent"
)


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Attributes:
        name: as in the URL.
        description: one sentence for the documents.
        kind: `whole`, `choice`, `symbol` or `words` (several names, separated by commas).
        default: the value if it is left out; None if there is no default.
        is_required: whether leaving it out is an error.
        example: a value for the documents.
        least: the minimum of a whole number.
        most: the maximum of a whole number, or the maximum number of words.
        values: the possible values of a choice; the possible words, if the documents shall list them.
    """

    name: str
    description: str
    kind: str
    default: Any = None
    is_required: bool = False
    example: Any = None
    least: int = 0
    most: int = 0
    values: tuple[str, ...] = field(default=())

    def read(self, text: str) -> Any:
        """Return the value of a text from the URL: an int, a str, or for `words` a tuple without repetitions.

        Args:
            text: the percent-decoded text.

        Raises:
            BadRequestError: the text is not valid; the message says what is.
        """
        if not text:
            raise BadRequestError(f"{self.name} is empty; {self.expected()}")
        if self.kind == "whole":
            return self._read_whole(text)
        if self.kind == "choice":
            return self._read_choice(text)
        if self.kind == "words":
            return self._read_words(text)
        return self._read_symbol(text)

    def expected(self) -> str:
        """Return what the parameter accepts, as the end of a message."""
        if self.kind == "whole":
            return f"give a whole number from {self.least} to {self.most}"
        if self.kind == "choice":
            return f"give one of {', '.join(self.values)}"
        if self.kind == "words":
            return f"give names with commas between them, {self.most} at most"
        return "give a market such as SOL_USDC or BTC_USDC_PERP; /v1/markets lists them"

    def schema(self) -> dict[str, Any]:
        """Return the JSON Schema of its values."""
        text: dict[str, Any] = {"type": "string", "pattern": f"^{_SYMBOL.pattern}$"}
        words = {"type": "string", "enum": list(self.values)} if self.values else text
        kinds: dict[str, dict[str, Any]] = {
            "whole": {"type": "integer", "minimum": self.least, "maximum": self.most},
            "choice": {"type": "string", "enum": list(self.values)},
            "words": {"type": "array", "items": words, "minItems": 1, "maxItems": self.most},
            "symbol": text,
        }
        found = kinds[self.kind]
        return found if self.default is None else found | {"default": self.default}

    def _read_whole(self, text: str) -> int:
        if not _DIGITS.fullmatch(text) or not self.least <= int(text) <= self.most:
            raise BadRequestError(f"{self.name}={_shown(text)} cannot be; {self.expected()}")
        return int(text)

    def _read_choice(self, text: str) -> str:
        if text not in self.values:
            raise BadRequestError(f"{self.name}={_shown(text)} cannot be; {self.expected()}")
        return text

    def _read_symbol(self, text: str) -> str:
        if not _SYMBOL.fullmatch(text):
            raise BadRequestError(f"{self.name}={_shown(text)} is no symbol; {self.expected()}")
        return text

    def _read_words(self, text: str) -> tuple[str, ...]:
        words = tuple(dict.fromkeys(text.split(",")))
        if len(words) > self.most or not all(_SYMBOL.fullmatch(word) for word in words):
            raise BadRequestError(f"{self.name}={_shown(text)} cannot be; {self.expected()}")
        return words


def symbol_parameter(
    *, is_required: bool = True, description: str = "market, as the exchange writes it", example: str = "SOL_USDC"
) -> Parameter:
    """Return the parameter `symbol`."""
    return Parameter("symbol", description, "symbol", is_required=is_required, example=example)


def whole(name: str, least: int, most: int, *, default: int, description: str) -> Parameter:
    """Return a parameter for a whole number from `least` to `most`."""
    return Parameter(name, description, "whole", default=default, example=default, least=least, most=most)


def choice(name: str, values: Iterable[str], *, default: str | None, description: str) -> Parameter:
    """Return a parameter for one of several words."""
    known = tuple(values)
    return Parameter(name, description, "choice", default=default, example=default or known[0], values=known)


def words(
    name: str, description: str, example: str, *, is_required: bool = True, known: Iterable[str] = ()
) -> Parameter:
    """Return a parameter for several names, separated by commas.

    Args:
        name: as in the URL.
        description: one sentence for the documents.
        example: a value for the documents.
        is_required: whether leaving it out is an error.
        known: the possible words, for the documents; empty if any name is possible. The endpoint checks them.
    """
    values = tuple(known)
    return Parameter(
        name, description, "words", is_required=is_required, example=example, most=MAX_WORDS, values=values
    )


DECIMALS: Final = choice(
    "decimals",
    ("number", "string"),
    default="number",
    description="how prices and quantities are written; both keep every digit, but many JSON readers round numbers",
)


def parse(query: bytes, declared: Mapping[str, Parameter]) -> dict[str, Any]:
    """Return the value of each declared parameter, in the order of declaration.

    Args:
        query: the part of the URL after `?`, as sent.
        declared: the parameters by name.

    Raises:
        BadRequestError: a parameter is missing, repeated, unknown or not valid, or the URL contains a key.
    """
    given: dict[str, str] = {}
    for part in query.split(b"&") if query else ():
        if not part:
            continue
        name, equals, value = (_decoded(each) for each in part.partition(b"="))
        parameter = declared.get(name)
        if parameter is None:
            raise _unknown(name, declared)
        if name in given:
            raise BadRequestError(f"{name} is given twice; give it once")
        given[name] = value if equals else ""
    found = {}
    for name, parameter in declared.items():
        if name in given:
            found[name] = parameter.read(given[name])
        elif parameter.is_required:
            raise BadRequestError(f"{name} is missing; {parameter.expected()}")
        else:
            found[name] = parameter.default
    return found


def _unknown(name: str, declared: Mapping[str, Parameter]) -> BadRequestError:
    if name.lower() in NAMES_OF_KEYS:
        return BadRequestError(KEY_IN_URL)
    near = get_close_matches(name, declared, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(declared)}"
    return BadRequestError(f"{_shown(name)} is no parameter here; {hint}")


def _decoded(text: bytes) -> str:
    """Decode a part of a query (WHATWG URL, application/x-www-form-urlencoded).

    Invalid UTF-8 becomes U+FFFD, which no value may contain.
    """
    return unquote_to_bytes(text.replace(b"+", b" ")).decode("utf-8", "replace")


def _shown(text: str) -> str:
    short = text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…"
    return ascii(short) if not short.isprintable() else repr(short)
