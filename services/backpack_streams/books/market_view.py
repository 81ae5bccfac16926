"""What users see of one market's book: everything that it says, nothing that changes it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.status import Status

if TYPE_CHECKING:
    from backpack_streams.books.market_book import MarketBook

__all__ = ["MarketView", "MarketViews"]


class MarketView:
    """The book of one market as it stands whenever it is asked; times are microseconds since the Unix epoch.

    There is one a market, for good: two of the same market are the same object. It follows the market's book; `book.copy()` keeps one.
    """

    __slots__ = ("_market",)

    def __init__(self, market: "MarketBook") -> None:
        self._market = market

    def __repr__(self) -> str:
        return f"<MarketView {self.symbol} {self.status.value} at {self.last_update_id}: {self.book!r}>"

    @property
    def symbol(self) -> str:
        """The market, as the exchange writes it."""
        return self._market.symbol

    @property
    def status(self) -> Status:
        """What the book may be used for, now."""
        return self._market.status

    @property
    def reason(self) -> str:
        """Why the book is not `LIVE`, in a few words; empty if it is."""
        return self._market.reason

    @property
    def since(self) -> int | None:
        """Engine time that the book was at when it took its status; None if that is unknown."""
        return self._market.since

    @property
    def as_of(self) -> int | None:
        """Up to when the book is known to hold all that the exchange sent, by its producer's clock; None before that is known."""
        return self._market.as_of

    @property
    def last_update_id(self) -> int | None:
        """The last update id that the book includes; None before the first snapshot."""
        return self._market.last_update_id

    @property
    def engine_time(self) -> int | None:
        """Engine time of the book's last update, or its snapshot's if none has followed."""
        return self._market.engine_time

    @property
    def book(self) -> OrderBook:
        """The levels; look at `status` before using them. The same object for good: ask it, copy it to keep or to change it."""
        return self._market.book

    @property
    def is_whole(self) -> bool:
        """Whether every update since the snapshot follows on the last, whoever vouches for that."""
        return self._market.is_whole

    @property
    def breaks(self) -> int:
        """How often the book left `LIVE` because something was missing or wrong."""
        return self._market.breaks

    @property
    def duplicates(self) -> int:
        """Updates that were included already: a second producer's, for one."""
        return self._market.duplicates


class MarketViews(Mapping[str, MarketView]):
    """The books by symbol, as they are now: a view of what the reader has, not a copy of it."""

    __slots__ = ("_markets",)

    def __init__(self, markets: Mapping[str, "MarketBook"]) -> None:
        self._markets = markets

    def __getitem__(self, symbol: str) -> MarketView:
        return self._markets[symbol].view

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._markets

    def __iter__(self) -> Iterator[str]:
        return iter(self._markets)

    def __len__(self) -> int:
        return len(self._markets)

    def __repr__(self) -> str:
        return f"<books of {len(self)} markets>"
