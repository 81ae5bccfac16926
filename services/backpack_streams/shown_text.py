"""Text that is safe to show in a log, on a terminal or in an error: the one place that hides credentials and control characters.

Text from outside may hold line breaks and escape sequences, which forge log lines and control terminals. URLs may
hold a user and a password, and a password may hold `@`, `/` and commas, although a URL should have them percent-encoded.
"""

import re

HIDDEN = "***"
LINE_ENDS = "\r\n"
"""The line ends that editors and `echo` add to a value."""

_ADDRESS = re.compile(r"://\S+")
_NEXT_ADDRESS = re.compile(r",(?=\s*[A-Za-z][A-Za-z0-9+.-]*://)")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_UNPRINTABLE = re.compile(r"[^ -~]")


def hide_credentials(text: str) -> str:
    """Return `text` with `***` in place of all that comes between the `://` and the last `@` of each URL."""
    if "@" not in text or "://" not in text:
        return text
    return _ADDRESS.sub(lambda match: "://" + hide_credentials_in_url(match[0][3:]), text)


def hide_credentials_in_url(urls: str) -> str:
    """Return one URL, or several separated by commas, without credentials. A URL need not be valid and may lack its scheme."""
    return ",".join(_without_credentials(url) for url in split_urls(urls))


def split_urls(urls: str) -> list[str]:
    """Split a list of URLs at its commas. A comma that is not followed by a scheme belongs to its URL."""
    return [url.strip() for url in _NEXT_ADDRESS.split(urls)]


def holds_credentials(urls: str) -> bool:
    """Whether one of the URLs contains an `@`, and so may name a user or a password."""
    return any("@" in url for url in split_urls(urls))


def escape_unprintable(text: str) -> str:
    """Return `text` with Python's escape (such as `\\x1b`) for each character that is not printable, line breaks included."""
    if text.isprintable():
        return text
    return _UNPRINTABLE.sub(lambda match: match[0] if match[0].isprintable() else ascii(match[0])[1:-1], text)


def loggable_text(text: str) -> str:
    """Return `text` without credentials, its control characters escaped."""
    return escape_unprintable(hide_credentials(text))


def loggable_lines(text: str) -> list[str]:
    """Return the lines of `text`, such as those of a traceback, each as `loggable_text` returns it."""
    return [loggable_text(line) for line in text.split("\n")]


def one_line(text: object, most_characters: int | None = None) -> str:
    """Return foreign text as words on one line, without credentials.

    Args:
        text: anything; its `str` is used. A character that is not printable becomes a blank.
        most_characters: longer text is cut to this many characters, the last of them `…`; None for any length.
    """
    raw = hide_credentials(str(text))
    printable = raw if raw.isprintable() else "".join(each if each.isprintable() else " " for each in raw)
    words = " ".join(printable.split())
    if most_characters is None or len(words) <= most_characters:
        return words
    return words[: most_characters - 1] + "…"


def _without_credentials(url: str) -> str:
    before, at, after = url.rpartition("@")
    if not at:
        return url
    scheme = _SCHEME.match(before)
    return f"{scheme[0] if scheme else ''}{HIDDEN}@{after}"
