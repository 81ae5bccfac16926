"""A book at its recent update ids: periodic copies, and the updates in between."""

from collections import deque
from typing import Final, NamedTuple

from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.update_buffer import Update
from backpack_streams.errors import BookError

__all__ = ["PastBook", "RecentBooks"]

UPDATES_A_COPY: Final = 1_000
"""Updates between two copies, and so the maximum number of updates applied again to look back."""
KEPT_MICROSECONDS: Final = 30_000_000
"""Minimum time span kept, in engine time; a REST snapshot is normally younger."""
KEPT_COPIES: Final = 8
"""Maximum number of copies, however busy the market."""


class PastBook(NamedTuple):
    """A book at the requested id, or after the update that goes past it."""

    book: OrderBook
    engine_time: int | None
    """Engine time of the book's last update (µs)."""
    straddling: Update | None
    """The update that begins at or before the requested id and ends after it; None if the book is exactly at that id."""
    next_time: int | None
    """Engine time (µs) of the update after the requested id; None if there is none yet."""


class _Stretch:
    __slots__ = ("book", "engine_time", "last_id", "updates")

    def __init__(self, book: OrderBook, last_id: int, engine_time: int | None) -> None:
        self.book = book
        self.last_id = last_id
        self.engine_time = engine_time
        self.updates: list[Update] = []


class RecentBooks:
    """The recent states of one book. Levels passed in are kept by reference: do not change them."""

    __slots__ = ("_stretches", "_updates_a_copy")

    def __init__(self, updates_a_copy: int = UPDATES_A_COPY) -> None:
        """Begin without a book; `restart` gives one.

        Args:
            updates_a_copy: number of updates between two copies, 1 or more.

        Raises:
            BookError: it is below 1.
        """
        if updates_a_copy < 1:
            raise BookError(f"a copy every {updates_a_copy} updates cannot be made; set 1 or more")
        self._stretches: deque[_Stretch] = deque()
        self._updates_a_copy = updates_a_copy

    def __len__(self) -> int:
        """Return the number of updates kept."""
        return sum(len(stretch.updates) for stretch in self._stretches)

    @property
    def first_id(self) -> int | None:
        """Lowest update id at which the book is known; None before `restart`."""
        return self._stretches[0].last_id if self._stretches else None

    @property
    def last_id(self) -> int:
        """Highest update id at which the book is known; 0 before `restart`."""
        if not self._stretches:
            return 0
        last = self._stretches[-1]
        return last.updates[-1].last_id if last.updates else last.last_id

    def restart(self, book: OrderBook, last_id: int, engine_time: int | None) -> None:
        """Start over from a book that was replaced; it is at `last_id` (engine time in µs)."""
        self._stretches.clear()
        self._stretches.append(_Stretch(book.copy(), last_id, engine_time))

    def forget(self) -> None:
        """Forget everything: the book's updates are no longer a sequence."""
        self._stretches.clear()

    def append(self, book: OrderBook, update: Update) -> None:
        """Take the update just applied to the book. An update that leaves a gap starts over, in case no one called `restart`."""
        if not self._stretches:
            return
        stretch = self._stretches[-1]
        last_id = stretch.updates[-1].last_id if stretch.updates else stretch.last_id
        if not update.first_id <= last_id + 1 <= update.last_id:
            self.restart(book, update.last_id, update.engine_time)
            return
        stretch.updates.append(update)
        if len(stretch.updates) >= self._updates_a_copy:
            self._stretches.append(_Stretch(book.copy(), update.last_id, update.engine_time))
            self._trim(update.engine_time)

    def book_at(self, update_id: int) -> PastBook | None:
        """Return the book at this id, or right after the update that goes past it; None if the id is outside the range kept."""
        stretch = next((each for each in reversed(self._stretches) if each.last_id <= update_id), None)
        if stretch is None:
            return None
        book, engine_time, last_id = stretch.book.copy(), stretch.engine_time, stretch.last_id
        for update in stretch.updates:
            if last_id == update_id:
                return PastBook(book, engine_time, None, update.engine_time)
            book.apply(update.bids, update.asks)
            engine_time, last_id = update.engine_time, update.last_id
            if last_id > update_id:
                return PastBook(book, engine_time, update, update.engine_time)
        return PastBook(book, engine_time, None, None) if last_id == update_id else None

    def _trim(self, now: int | None) -> None:
        stretches = self._stretches
        while len(stretches) > KEPT_COPIES:
            stretches.popleft()
        while len(stretches) > 1 and _is_past(stretches[1].engine_time, now):
            stretches.popleft()


def _is_past(engine_time: int | None, now: int | None) -> bool:
    return engine_time is not None and now is not None and now - engine_time > KEPT_MICROSECONDS
