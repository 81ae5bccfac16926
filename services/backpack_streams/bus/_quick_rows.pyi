"""The module compiled from `_quick_rows.c`. `encode` returns None for unusual input, which the Python code handles."""

from collections.abc import Mapping
from typing import Any

def encode(header: bytes, names: tuple[str, ...], kinds: bytes, row: Mapping[str, Any], /) -> bytes | None: ...
