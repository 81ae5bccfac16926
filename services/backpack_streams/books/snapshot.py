"""A snapshot of a book as `MarketBook` takes it, with its base snapshot."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

__all__ = ["SEED", "BaseSnapshot", "Levels", "Snapshot"]

SEED: Final = "SEED"
"""Origin of a BookSnapshot record that holds the exchange's own answer; every other origin was built from Kafka."""

Levels = Sequence[tuple[int, int]]
"""Prices and quantities in units of 10**-18."""


class BaseSnapshot(NamedTuple):
    """The exchange's snapshot that a book is based on.

    Attributes:
        last_update_id: the id of the last update that it includes; 0 if unknown.
        engine_time: its time (µs since the Unix epoch); None if unknown.
        received_time: when it was received (µs since the Unix epoch); None if unknown.
    """

    last_update_id: int
    engine_time: int | None
    received_time: int | None = None

    @classmethod
    def of_record(cls, snapshot: Mapping[str, Any]) -> "BaseSnapshot":
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
    base: BaseSnapshot

    @property
    def sides(self) -> tuple[Levels, Levels, bool, bool]:
        """Bids and asks, and whether each is complete, as `OrderBook.load` takes them."""
        return self.bids, self.asks, self.bids_complete, self.asks_complete

    def without_time(self) -> "Snapshot":
        """Return the snapshot as one of unknown engine time, because the one that it names is impossible."""
        return self._replace(engine_time=None, base=self.base._replace(engine_time=None))
