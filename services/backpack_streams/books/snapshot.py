"""A snapshot of a book as a `MarketBook` takes it, and the exchange's answer that it goes back to."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

__all__ = ["SEED", "Levels", "Root", "Snapshot"]

SEED: Final = "SEED"
"""Origin of a BookSnapshot record that is the exchange's answer; any other was built from Kafka."""

Levels = Sequence[tuple[int, int]]
"""Prices and quantities in units of 10**-18."""


class Root(NamedTuple):
    """The exchange's snapshot that a book goes back to: its update id, its time and when we received it (µs, None unknown)."""

    last_update_id: int
    engine_time: int | None
    received_time: int | None = None

    @classmethod
    def of_record(cls, snapshot: Mapping[str, Any]) -> "Root":
        """What a BookSnapshot record goes back to: itself, where it is the exchange's.

        A checkpoint that does not say goes back to nothing that could be trusted after an audit.
        """
        if snapshot["origin"] == SEED:
            return cls(snapshot["last_update_id"], snapshot["engine_time"], snapshot["received_time"])
        return cls(
            snapshot.get("seed_update_id") or 0, snapshot.get("seed_engine_time"), snapshot.get("seed_received_time")
        )


class Snapshot(NamedTuple):
    """Levels in any order; `engine_time` in µs, None unknown."""

    last_update_id: int
    engine_time: int | None
    bids: Levels
    asks: Levels
    bids_complete: bool
    asks_complete: bool
    root: Root
