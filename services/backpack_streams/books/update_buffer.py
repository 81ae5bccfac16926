"""Buffers updates of a market whose book has no usable snapshot yet, limited in number and bytes; drops the oldest first."""

import pickle
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple
from weakref import WeakSet

from backpack_streams.errors import BookError

__all__ = ["BOOK_BYTES", "TOTAL_BYTES", "BufferBudget", "Update", "UpdateBuffer"]

TOTAL_BYTES: Final = 96 << 20
"""Default memory limit for the buffers of all books of one reader."""
BOOK_BYTES: Final = 8 << 20
"""Memory limit for the buffer of one book."""
_UPDATE_BYTES: Final = 96
"""Measured overhead of one update beyond its packed bytes: bytes object header, deque slot, malloc rounding."""
_END_BYTES: Final = 160
"""Memory of its entry in `_ends`: a dict entry and two integers."""
_RELEASED_PARTS: Final = 256
"""Share of the total (1/256) that is freed at once, so that not every update has to look for the fullest buffer."""
_PARTS_OF_FULLEST: Final = 16
"""Share of the fullest buffer (1/16) that is dropped before looking for the fullest one again."""


class Update(NamedTuple):
    """One depth update: ids `U` and `u`, engine time in µs, levels as (price, quantity) in units of 10**-18."""

    first_id: int
    last_id: int
    engine_time: int | None
    bids: Sequence[tuple[int, int]]
    asks: Sequence[tuple[int, int]]


class BufferBudget:
    """A memory limit that several books' buffers share; above it, the oldest updates of the fullest buffer are dropped."""

    __slots__ = ("_buffers", "_held", "book_bytes", "dropped", "total_bytes")

    def __init__(self, total_bytes: int = TOTAL_BYTES, book_bytes: int = BOOK_BYTES) -> None:
        """Create a limit that no buffer uses yet.

        Args:
            total_bytes: memory for all buffers together.
            book_bytes: memory for the buffer of one book; no more than `total_bytes` counts.
        """
        self.total_bytes = total_bytes
        self.book_bytes = min(book_bytes, total_bytes)
        self.dropped = 0
        """Total number of updates that buffers dropped because of this limit or their own."""
        self._buffers: WeakSet[UpdateBuffer] = WeakSet()
        self._held = 0

    @property
    def held_bytes(self) -> int:
        """Current memory of all buffers."""
        return sum(buffer.held_bytes for buffer in self._buffers)

    def join(self, buffer: "UpdateBuffer") -> None:
        """Add a buffer, which counts as long as it exists."""
        self._buffers.add(buffer)

    def change(self, by: int) -> None:
        """Take note that a buffer has grown by this many bytes (negative: shrunk)."""
        self._held += by
        if by > 0 and self._held > self.total_bytes:
            self._make_room()

    def _make_room(self) -> None:
        self._held = self.held_bytes  # the running count is too high if books were deleted with their buffers
        if self._held <= self.total_bytes:
            return
        wanted = self.total_bytes - self.total_bytes // _RELEASED_PARTS
        while self._held > wanted:
            fullest = max(self._buffers, key=lambda buffer: buffer.held_bytes)
            left = fullest.held_bytes * (_PARTS_OF_FULLEST - 1) // _PARTS_OF_FULLEST
            while self._held > wanted and fullest.held_bytes > left:
                fullest.drop_oldest()


class UpdateBuffer:
    """At most `limit` updates in order of arrival, which may not be the order of their ids if there are two producers."""

    __slots__ = (
        "__weakref__",
        "_budget",
        "_ends",
        "_limit",
        "_packed",
        "dropped",
        "dropped_ever",
        "dropped_to",
        "held_bytes",
    )

    def __init__(self, limit: int, budget: BufferBudget | None = None) -> None:
        """Create an empty buffer.

        Args:
            limit: maximum number of updates, 1 or more.
            budget: the memory limit to share with other buffers; None for one of its own.

        Raises:
            BookError: `limit` is below 1.
        """
        if limit < 1:
            raise BookError(f"a buffer of {limit} updates cannot hold any; set 1 or more")
        self._limit = limit
        self._budget = BufferBudget() if budget is None else budget
        # Packed, an update takes a quarter of the memory of its tuples and integers.
        self._packed: deque[bytes] = deque()
        # Created on first use: most buffers belong to books without any snapshot, which cannot resume.
        self._ends: dict[int, int] | None = None
        self.held_bytes = 0
        """Approximate memory use."""
        self.dropped = 0
        """Number of updates dropped since the buffer was last empty."""
        self.dropped_to = 0
        """Highest id among the dropped updates: an older snapshot cannot be continued."""
        self.dropped_ever = 0
        self._budget.join(self)

    def __len__(self) -> int:
        return len(self._packed)

    def __iter__(self) -> Iterator[Update]:
        return map(_unpacked, self._packed)

    def append(self, update: Update) -> None:
        """Append an update; drops the oldest if there is no room."""
        packed = pickle.dumps(tuple(update), pickle.HIGHEST_PROTOCOL)
        size = len(packed) + _UPDATE_BYTES
        self._packed.append(packed)
        if self._ends is not None and update.first_id not in self._ends:
            size += _END_BYTES
        if self._ends is not None:
            self._ends[update.first_id] = update.last_id
        self.held_bytes += size
        self._budget.change(size)
        while len(self._packed) > self._limit or self.held_bytes > self._budget.book_bytes:
            self.drop_oldest()

    def drop_oldest(self) -> None:
        """Drop the update that came first, and count it."""
        self._forget_ends()
        packed = self._packed.popleft()
        size = len(packed) + _UPDATE_BYTES
        self.held_bytes -= size
        self._budget.change(-size)
        self._budget.dropped += 1
        self.dropped += 1
        self.dropped_ever += 1
        self.dropped_to = max(self.dropped_to, _unpacked(packed).last_id)

    def first_after(self, last_update_id: int) -> Update | None:
        """Return the first update by id that a snapshot at this id does not include."""
        after = (update for update in self if update.last_id > last_update_id)
        return min(after, key=_by_ids, default=None)

    def gap_after(self, snapshot_id: int) -> str | None:
        """Return why the buffered updates do not continue a snapshot; None if they do.

        Args:
            snapshot_id: id of the last update that the snapshot includes.
        """
        first = self.first_after(snapshot_id)
        if first is None or first.first_id <= snapshot_id + 1:
            return None
        return f"snapshot {snapshot_id} behind the first update {first.first_id}"

    def reach(self, last_id: int) -> int:
        """Return the id up to which buffered updates continue the sequence from this id without a gap."""
        if self._ends is None:
            self._ends = {update.first_id: update.last_id for update in self}
            size = len(self._ends) * _END_BYTES
            self.held_bytes += size
            self._budget.change(size)
        ends = self._ends or {}
        while (end := ends.get(last_id + 1, last_id)) > last_id:
            last_id = end
        return last_id

    def clear(self) -> None:
        """Drop all updates, without counting them."""
        self._budget.change(-self.held_bytes)
        self._packed.clear()
        self.held_bytes = 0
        self._ends = None
        self.dropped = self.dropped_to = 0

    def take_all(self) -> Iterator[Update]:
        """Return all updates in the order of their ids; clears the buffer at once, and unpacks them one by one."""
        packed = sorted(self._packed, key=lambda each: _by_ids(_unpacked(each)))
        self.clear()
        return map(_unpacked, packed)

    def _forget_ends(self) -> None:
        if self._ends is not None:
            size = len(self._ends) * _END_BYTES
            self.held_bytes -= size
            self._budget.change(-size)
            self._ends = None


def _by_ids(update: Update) -> tuple[int, int]:
    return update.last_id, update.first_id


def _unpacked(packed: bytes) -> Update:
    return Update(*pickle.loads(packed))
