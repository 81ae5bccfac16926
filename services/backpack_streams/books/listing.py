"""The market list's state: the kind of each market, and whether it is closed. Sans I/O."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

__all__ = ["Listed", "Listing", "moment_text"]

_CLOSED: Final = "Closed"
_KINDS_WITHOUT_BOOKS: Final = frozenset({"RFQ"})
_CHANGES_KEPT: Final = 64
"""Number of closures and reopenings remembered per market."""


class Listed(NamedTuple):
    """The state of a market.

    Attributes:
        symbol: as the exchange writes it.
        kind: `SPOT`, `PERP`, ... in capitals; None if unknown.
        why_closed: why the market is closed; empty while it is open.
        since_us: when the list entered this state (µs since the Unix epoch).
    """

    symbol: str
    kind: str | None
    why_closed: str
    since_us: int

    @property
    def has_book(self) -> bool:
        """Whether markets of this kind have order books; True for an unknown kind."""
        return self.kind not in _KINDS_WITHOUT_BOOKS


class Listing:
    """The current entries of the market list, by symbol, and the state of each market at past moments."""

    def __init__(self) -> None:
        self._markets: dict[str, Listed] = {}
        self._before: dict[str, deque[Listed]] = {}

    def __iter__(self) -> Iterator[Listed]:
        return iter(self._markets.values())

    def __len__(self) -> int:
        return len(self._markets)

    def get(self, symbol: str) -> Listed | None:
        """Return a market, delisted ones included; None if the list never had it."""
        return self._markets.get(symbol)

    def at(self, symbol: str, time_us: float) -> Listed | None:
        """Return a market's state at a moment; None if the market was not listed yet.

        Args:
            symbol: the market.
            time_us: the moment, in µs since the Unix epoch. The last 64 closures and reopenings of a market are
                remembered.
        """
        market = self._markets.get(symbol)
        if market is None or market.since_us <= time_us:
            return market
        past = (each for each in reversed(self._before.get(symbol, ())) if each.since_us <= time_us)
        return next(past, None)

    def kind(self, symbol: str) -> str | None:
        """Return SPOT, PERP, ... in capitals; None if unknown."""
        market = self._markets.get(symbol)
        return None if market is None else market.kind

    def only(self, keys: Collection[bytes]) -> "Listing":
        """Return a list of these markets only, selected by Kafka key."""
        some = Listing()
        some._markets = {symbol: each for symbol, each in self._markets.items() if symbol.encode() in keys}
        some._before = {symbol: each for symbol, each in self._before.items() if symbol.encode() in keys}
        return some

    def take(self, symbol: str, row: Mapping[str, Any] | None, time_us: int) -> Listed:
        """Take a record of the market list; return the market's current state.

        Args:
            symbol: the market, which is the record's key.
            row: the decoded Market record; None if the market is delisted.
            time_us: the record's timestamp, in µs since the Unix epoch.

        Raises:
            KeyError: the record is no market.
        """
        before = self._markets.get(symbol)
        if row is None:
            kind = None if before is None else before.kind
            market = Listed(symbol, kind, f"delisted: not in the market list since {moment_text(time_us)}", time_us)
        else:
            state = row["order_book_state"]
            why_closed = f"the exchange says that its book is {state}" if state == _CLOSED else ""
            market = Listed(symbol, str(row["market_type"]).upper(), why_closed, time_us)
        if before is not None and bool(before.why_closed) == bool(market.why_closed):
            market = market._replace(since_us=before.since_us)
        elif before is not None:
            self._before.setdefault(symbol, deque(maxlen=_CHANGES_KEPT)).append(before)
        self._markets[symbol] = market
        return market


def moment_text(time_us: int) -> str:
    """Return a time in microseconds as text in UTC, to the millisecond."""
    seconds, micros = divmod(time_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{micros // 1000:03d}Z"
