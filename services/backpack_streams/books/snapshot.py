"""A snapshot of a book as `MarketBook` takes it, with its base snapshot."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

__all__ = ["SEED", "Levels", "Root", "Snapshot"]

SEED: Final = "SEED"
"""Origin of a BookSnapshot record that holds the exchange's own answer; every other origin was built from Kafka."""

Levels = Sequence[tuple[int, int]]
"""Prices and quantities in units of 10**-18."""


class Root(NamedTuple):
    """Base snapshot: the exchange's snapshot that a book is based on; its update id, engine time and receive time (µs, None if unknown)."""

    last_update_id: int
    engine_time: int | None
    received_time: int | None = None

    @classmethod
    def of_record(cls, snapshot: Mapping[str, Any]) -> "Root":
        """Return the base snapshot of a BookSnapshot record: the record itself if it is the exchange's.

        Without `seed_update_id`, treat the base as id 0, so that any later audit mismatch invalidates it.
        """
        if snapshot["origin"] == SEED:
            return cls(snapshot["last_update_id"], snapshot["engine_time"], snapshot["received_time"])
        return cls(
            snapshot.get("seed_update_id") or 0, snapshot.get("seed_engine_time"), snapshot.get("seed_received_time")
        )


class Snapshot(NamedTuple):
    """A snapshot with its levels in any order; `engine_time` in µs, None if unknown."""

    last_update_id: int
    engine_time: int | None
    bids: Levels
    asks: Levels
    bids_complete: bool
    asks_complete: bool
    root: Root
