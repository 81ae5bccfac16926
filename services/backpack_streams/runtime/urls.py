"""Checks addresses in settings, and never shows their credentials."""

from collections.abc import Iterable
from urllib.parse import urlsplit

from backpack_streams.shown_text import hide_credentials_in_url

_SHOWN_CHARACTERS = 60


def check_url(value: str, schemes: Iterable[str]) -> str:
    """Return `value` if it is an absolute URL.

    Args:
        value: the text to check.
        schemes: the accepted schemes.

    Raises:
        ValueError: it is not such a URL; the message hides credentials.
    """
    schemes = tuple(schemes)
    try:
        parts = urlsplit(value)
        valid = parts.scheme in schemes and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        valid = (
            valid and "@" not in parts.path + parts.query + parts.fragment
        )  # a password with a `/` parses as host and path
    except ValueError:  # a port that is not a number, or an unclosed bracket
        valid = False
    if not valid or any(character in " ," or not character.isprintable() for character in value):
        wanted = " or ".join(f"{scheme}://HOST[:PORT]" for scheme in schemes)
        advice = "; in a user name or password, write / @ : , as %2F %40 %3A %2C" if "@" in value else ""
        raise ValueError(f"{_shown(value)} is not a URL of the form {wanted}{advice}")
    return value


def _shown(value: str) -> str:
    text = hide_credentials_in_url(value)
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[: _SHOWN_CHARACTERS - 1] + "…")
