"""What a reader found that disproves the claim of producers to have covered a book."""

from typing import NamedTuple

__all__ = ["Disproof"]


class Disproof(NamedTuple):
    """A snapshot stayed ahead of a book that watermarks called complete: no producer brought the updates in between."""

    symbol: str
    last_id: int
    """Id of the book's last update."""
    snapshot_id: int
    why: str
