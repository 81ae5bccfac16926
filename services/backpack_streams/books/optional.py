"""Libraries that only some users of books have: imported when they are asked for, and their lack said in one line."""

import importlib
from typing import Any

from backpack_streams.errors import UsageError

__all__ = ["library"]


def library(module: str, extra: str) -> Any:
    """Import a module that comes with an extra of this distribution.

    Raises:
        UsageError: it is not installed.

    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        name = module.partition(".")[0]
        raise UsageError(
            f'{name} cannot be imported ({error}): install it with `pip install "backpack-streams[{extra}]"`'
        ) from error
