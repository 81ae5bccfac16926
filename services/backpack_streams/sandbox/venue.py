"""What the sandbox's sockets and REST API need from whatever stands behind them: synthetic markets or a recording."""

from typing import Any, Protocol

from backpack_streams.sandbox.listings import Listing
from backpack_streams.sandbox.views import BookView

Row = dict[str, Any]


class Venue(Protocol):
    """Answers for all markets. Times are microseconds since 1970, rows are in the REST API's form."""

    def listings(self) -> list[Listing]:
        """Every market, in the order of `/markets`."""

    def listing(self, symbol: str) -> Listing | None:
        """One market, None if there is none of that name."""

    def book_symbols(self) -> list[str]:
        """Symbols that have a book."""

    def book(self, symbol: str, behind: int = 0) -> BookView | None:
        """The whole book now or `behind` update ids ago, None where there is none."""

    def sequences(self) -> Row:
        """Per symbol, the update ids and trade ids given out so far."""

    def produced(self) -> dict[str, int]:
        """Frames made so far by stream family, sent or not, for those that do not depend on subscribers."""

    def trades(self, symbol: str, offset: int, limit: int) -> list[Row]:
        """Trades, newest first."""

    def ticker(self, symbol: str, interval: str = "1d") -> Row | None:
        """Figures of the last day or week (`1d`, `1w`), None when the market has no ticker row."""

    def mark_price(self, symbol: str, now_us: int) -> Row | None:
        """Mark price, None for a market without."""

    def open_interest(self, symbol: str, now_us: int) -> Row | None:
        """Open interest, None for a market without."""

    def funding_rates(self, symbol: str, offset: int, limit: int, now_us: int) -> tuple[list[Row], int]:
        """Funding intervals, the one in progress first, and how many there are in all."""

    def klines(self, symbol: str, interval: str, from_seconds: int, to_seconds: int, now_us: int) -> list[Row]:
        """Candles that begin in [from, to], oldest first."""

    def recorded_body(self, path: str) -> bytes | None:
        """A recorded answer for exactly this path and query, other than `/depth`."""

    def watch(self, stream: str, now_us: int) -> None:
        """Somebody subscribed to a stream that nobody had."""

    def unwatch(self, stream: str) -> None:
        """Nobody is subscribed to a stream any more."""

    def list_market(self, symbol: str, now_us: int, first_id: int | None = None) -> bool:
        """Open a market, or reopen a closed one, with ids from `first_id` on if given; False when that cannot be."""

    def delist_market(self, symbol: str, now_us: int, gone: bool = False) -> bool:
        """Close a market: silence on sockets, 404 for its depth; False when there is none of that name.

        `gone`: the list of markets names it no more.
        """

    def pace(self, symbol: str, weight: float) -> bool:
        """Let a market move so often where others move once, 0: never; False when that cannot be."""
