"""Keeps the updates of a market whose book has no usable seed yet, bounded, oldest dropped first."""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from backpack_streams.errors import BookError

__all__ = ["Update", "UpdateBuffer"]


class Update(NamedTuple):
    """One depth update: ids `U` and `u`, engine time in µs, levels as (price, quantity) in units of 10**-18."""

    first_id: int
    last_id: int
    engine_time: int | None
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]


class UpdateBuffer:
    """At most `limit` updates, in whatever order they came: two producers side by side may bring them out of turn."""

    __slots__ = ("_ends", "_updates", "dropped")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise BookError(f"a buffer of {limit} updates cannot hold any; set 1 or more")
        self._updates: deque[Update] = deque(maxlen=limit)
        self._ends: dict[int, int] = {}
        self.dropped = 0
        """Updates pushed out since the buffer was last empty."""

    def __len__(self) -> int:
        return len(self._updates)

    def __iter__(self) -> Iterator[Update]:
        return iter(self._updates)

    def append(self, update: Update) -> Update | None:
        """Keep an update; return the oldest if that had to go for it."""
        oldest = self._updates[0] if len(self._updates) == self._updates.maxlen else None
        if oldest is not None:
            self.dropped += 1
            self._ends.pop(oldest.first_id, None)
        self._updates.append(update)
        self._ends[update.first_id] = update.last_id
        return oldest

    def first_after(self, last_update_id: int) -> Update | None:
        """Return the first update by its ids that a snapshot up to this id does not include."""
        after = (update for update in self._updates if update.last_id > last_update_id)
        return min(after, key=_by_ids, default=None)

    def reach(self, last_id: int) -> int:
        """Return up to which id updates are here that follow on this one, each on the one before."""
        while (end := self._ends.get(last_id + 1, last_id)) > last_id:
            last_id = end
        return last_id

    def clear(self) -> None:
        """Forget all updates."""
        self._updates.clear()
        self._ends.clear()
        self.dropped = 0

    def take_all(self) -> list[Update]:
        """Return all updates in the order of their ids and forget them."""
        updates = sorted(self._updates, key=_by_ids)
        self.clear()
        return updates


def _by_ids(update: Update) -> tuple[int, int]:
    return update.last_id, update.first_id
