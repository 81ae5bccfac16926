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
    """Updates in order of arrival, at most `limit` of them."""

    __slots__ = ("_updates", "dropped")

    def __init__(self, limit: int) -> None:
        if limit < 1:
            raise BookError(f"a buffer of {limit} updates cannot hold any; set 1 or more")
        self._updates: deque[Update] = deque(maxlen=limit)
        self.dropped = 0
        """Updates pushed out since the buffer was last empty."""

    def __len__(self) -> int:
        return len(self._updates)

    def __iter__(self) -> Iterator[Update]:
        return iter(self._updates)

    def append(self, update: Update) -> Update | None:
        """Keep an update; return the oldest if that had to go for it."""
        oldest = self._updates[0] if len(self._updates) == self._updates.maxlen else None
        self.dropped += oldest is not None
        self._updates.append(update)
        return oldest

    def first_after(self, last_update_id: int) -> Update | None:
        """Return the first update, in order of arrival, that a snapshot up to this id does not include."""
        return next((update for update in self._updates if update.last_id > last_update_id), None)

    def clear(self) -> None:
        """Forget all updates."""
        self._updates.clear()
        self.dropped = 0

    def take_all(self) -> list[Update]:
        """Return all updates in order of arrival and forget them."""
        updates = list(self._updates)
        self.clear()
        return updates
