"""One market book, driven without Kafka."""

from collections.abc import Sequence

from backpack_streams.books.adoption import REST_OLD_SECONDS
from backpack_streams.books.market_book import BaseSnapshot, MarketBook, Outcome, Status
from backpack_streams.books.units import UNITS_PER_ONE

SECOND = 1_000_000

LIVE, STALE, SYNCING = Status.LIVE, Status.STALE, Status.SYNCING

REST_OLD = int(REST_OLD_SECONDS * SECOND)

Levels = Sequence[tuple[int, int]]


class Driver:
    """A book fed with integers; the engine time is one millisecond per id unless given."""

    def __init__(self, *, catching_up: bool = False, buffered_updates: int = 100) -> None:
        self.market = MarketBook("SOL_USDC", catching_up=catching_up, buffered_updates=buffered_updates)

    def update(
        self, first: int, last: int | None = None, *, bids: Levels = (), asks: Levels = (), at: int | None = None
    ) -> Outcome:
        last = first if last is None else last
        return self.market.on_update(first, last, last * 1000 if at is None else at, scaled(bids), scaled(asks))

    def load(
        self,
        last: int,
        *,
        bids: Levels = ((9, 1),),
        asks: Levels = ((11, 1),),
        at: int | None = None,
        bids_complete: bool = True,
        asks_complete: bool = True,
        received: int | None = None,
    ) -> Outcome:
        at = last * 1000 if at is None else at
        return self.market.on_snapshot(
            last,
            at,
            scaled(bids),
            scaled(asks),
            bids_complete=bids_complete,
            asks_complete=asks_complete,
            base=BaseSnapshot(last, at, at if received is None else received),
        )

    def is_at(self, last: int | None, status: Status, reason: str = "") -> bool:
        found = (self.market.last_update_id, self.market.status, self.market.reason)
        assert found == (last, status, reason)
        return True

    def bids(self) -> list[tuple[str, str]]:
        return self.market.book.to_lines()[0]


def scaled(levels: Levels) -> list[tuple[int, int]]:
    return [(price * UNITS_PER_ONE, quantity * UNITS_PER_ONE) for price, quantity in levels]


def live_at(last: int) -> Driver:
    book = Driver()
    book.load(last - 1)
    assert book.update(last) is Outcome.APPLIED
    return book
