"""Optional libraries: imported on first use, with a one-line error if they are missing."""

import importlib
from typing import Any

from backpack_streams.errors import UsageError

__all__ = ["library"]


def library(module: str, extra: str) -> Any:
    """Import a module that an extra of this distribution installs.

    Args:
        module: the module to import, such as `nautilus_trader.model.data`.
        extra: the extra that installs it, for the message.

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
