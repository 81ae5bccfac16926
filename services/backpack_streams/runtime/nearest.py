"""Finds the known name closest to a misspelt one, for error messages."""

import difflib
from collections.abc import Collection

_CLOSE_ENOUGH = 0.6


def nearest(name: str, candidates: Collection[str]) -> str:
    """Return the words `; did you mean 'x'?` for the name closest to a misspelt one, or an empty string if none is close.

    `-` and `_` count as equal, and so do lower and upper case.

    Args:
        name: the misspelt name.
        candidates: the known names.
    """
    by_form = {_form(candidate): candidate for candidate in sorted(candidates)}
    found = difflib.get_close_matches(_form(name), by_form, n=1, cutoff=_CLOSE_ENOUGH)
    return f"; did you mean {by_form[found[0]]!r}?" if found else ""


def _form(name: str) -> str:
    return name.replace("-", "_").lower()
