"""The interface of the sandbox's sockets and REST API to their source: synthetic markets or a recording."""

from typing import Any, Protocol

from backpack_sandbox.listings import Listing
from backpack_sandbox.views import BookView

Row = dict[str, Any]


class Venue(Protocol):
    """Answers for all markets. Times are µs since the Unix epoch unless named otherwise; rows have the REST API's form."""

    def listings(self) -> list[Listing]:
        """Return every market, in the order of `/markets`."""

    def listing(self, symbol: str) -> Listing | None:
        """Return one market; None if there is none of that name."""

    def book_symbols(self) -> list[str]:
        """Return the symbols that have a book."""

    def book(self, symbol: str, behind: int = 0) -> BookView | None:
        """Return the whole book now, or `behind` update ids ago; None if there is none."""

    def sequences(self) -> Row:
        """Return the update ids and trade ids used so far, by symbol."""

    def produced(self) -> dict[str, int]:
        """Return the number of frames so far by kind, sent or not; only kinds that do not depend on subscribers."""

    def trades(self, symbol: str, offset: int, limit: int) -> list[Row]:
        """Return trades, newest first."""

    def ticker(self, symbol: str, interval: str = "1d") -> Row | None:
        """Return figures of the last day or week (`1d`, `1w`); None if the market has no ticker row."""

    def mark_price(self, symbol: str, now_us: int) -> Row | None:
        """Return the mark price; None if the market has none."""

    def open_interest(self, symbol: str, now_us: int) -> Row | None:
        """Return the open interest; None if the market has none."""

    def funding_rates(self, symbol: str, offset: int, limit: int, now_us: int) -> tuple[list[Row], int]:
        """Return funding intervals, the current one first, and their total number."""

    def klines(self, symbol: str, interval: str, from_seconds: int, to_seconds: int, now_us: int) -> list[Row]:
        """Return candles that begin in [from, to], oldest first."""

    def recorded_body(self, path: str) -> bytes | None:
        """Return the recorded answer to exactly this path and query, other than `/depth`; None if there is none."""

    def watch(self, stream: str, now_us: int) -> None:
        """A stream gets its first subscriber."""

    def unwatch(self, stream: str) -> None:
        """A stream loses its last subscriber."""

    def list_market(self, symbol: str, now_us: int, first_id: int | None = None) -> bool:
        """Open a market, or reopen a closed one, with ids from `first_id` on if given. Return False if that is impossible."""

    def delist_market(self, symbol: str, now_us: int, gone: bool = False) -> bool:
        """Close a market: no frames on sockets, 404 for its depth. Return False if there is none of that name.

        `gone`: the list of markets no longer names it.
        """

    def pace(self, symbol: str, weight: float) -> bool:
        """Give a market `weight` turns for each turn of the others, 0: none. Return False if that is impossible."""
