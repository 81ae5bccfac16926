"""The user's view of one market's book: read-only access to its state."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from backpack_streams.books.order_book import OrderBook
from backpack_streams.books.status import Status

if TYPE_CHECKING:
    from backpack_streams.books.market_book import MarketBook

__all__ = ["MarketView", "MarketViews"]


class MarketView:
    """The current state of one market's book; times are microseconds since the Unix epoch.

    Each market has exactly one view, and the view follows the market's book; use `book.copy()` to keep a state.
    """

    __slots__ = ("_market",)

    def __init__(self, market: "MarketBook") -> None:
        self._market = market

    def __repr__(self) -> str:
        return f"<MarketView {self.symbol} {self.status.value} at {self.last_update_id}: {self.book!r}>"

    @property
    def symbol(self) -> str:
        """The market's symbol, as the exchange writes it."""
        return self._market.symbol

    @property
    def status(self) -> Status:
        """The current status of the book, which says whether you may use it."""
        return self._market.status

    @property
    def reason(self) -> str:
        """Why the book is not `LIVE`, in a few words; empty if it is."""
        return self._market.reason

    @property
    def since(self) -> int | None:
        """Start of the status: by the market list for a closure or a reopening, otherwise by engine time; None if unknown."""
        return self._market.since

    @property
    def as_of(self) -> int | None:
        """Time up to which the book is known to hold everything that the exchange sent, by its producer's clock; None if unknown."""
        return self._market.as_of

    @property
    def last_update_id(self) -> int | None:
        """Id of the last update that the book includes; None before the first snapshot."""
        return self._market.last_update_id

    @property
    def engine_time(self) -> int | None:
        """Engine time of the book's last update, or of its snapshot if no update has followed; None if unknown."""
        return self._market.engine_time

    @property
    def book(self) -> OrderBook:
        """The live book object, always the same one; check `status` before you use it, and copy it to keep or change it."""
        return self._market.book

    @property
    def is_whole(self) -> bool:
        """Whether every update since the snapshot continues the sequence, whether or not a producer vouches for that."""
        return self._market.is_whole

    @property
    def breaks(self) -> int:
        """How often the book left `LIVE` because updates were missing, wrong or no longer vouched for."""
        return self._market.breaks

    @property
    def duplicates(self) -> int:
        """Number of updates that the book already included, for example those of a second producer."""
        return self._market.duplicates


class MarketViews(Mapping[str, MarketView]):
    """The books by symbol: a live view of the reader's books, not a copy."""

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
