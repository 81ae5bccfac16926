"""Expands `~` in paths that users give."""

import os
from pathlib import Path

__all__ = ["expanded"]


def expanded(path: Path | str) -> Path:
    """Return a path with `~` replaced by the home folder. The `~` of a user that does not exist stays, and opening the path fails.

    Args:
        path: the path as the user gave it.
    """
    return Path(os.path.expanduser(path))
