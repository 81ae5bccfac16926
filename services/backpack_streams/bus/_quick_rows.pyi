"""What `_quick_rows.c` makes, where a C compiler was at hand."""

from collections.abc import Mapping
from typing import Any

def encode(header: bytes, names: tuple[str, ...], kinds: bytes, row: Mapping[str, Any], /) -> bytes | None: ...
