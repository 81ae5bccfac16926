"""What the market list says of markets: their kind, and whether they are closed. Sans I/O."""

from collections import deque
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

__all__ = ["Listed", "Listing", "moment_text"]

_CLOSED: Final = "Closed"
_CHANGES_KEPT: Final = 64
"""How often a market may close and open again within what is remembered of it."""


class Listed(NamedTuple):
    """One market as the list has it. `why_closed` is empty while it is open; `since_us` is when the list said so (µs)."""

    symbol: str
    kind: str | None
    why_closed: str
    since_us: int


class Listing:
    """The rows of the market list, by symbol, as they are told, and what each market was at a past moment."""

    def __init__(self) -> None:
        self._markets: dict[str, Listed] = {}
        self._before: dict[str, deque[Listed]] = {}

    def __iter__(self) -> Iterator[Listed]:
        return iter(self._markets.values())

    def __len__(self) -> int:
        return len(self._markets)

    def get(self, symbol: str) -> Listed | None:
        """A market, delisted ones included; None where the list never had it."""
        return self._markets.get(symbol)

    def at(self, symbol: str, time_us: float) -> Listed | None:
        """What the list said of a market at a moment (µs), as far as is remembered; None where it had not told of it."""
        market = self._markets.get(symbol)
        if market is None or market.since_us <= time_us:
            return market
        past = (each for each in reversed(self._before.get(symbol, ())) if each.since_us <= time_us)
        return next(past, None)

    def kind(self, symbol: str) -> str | None:
        """SPOT, PERP, ... in capitals; None where it is not known."""
        market = self._markets.get(symbol)
        return None if market is None else market.kind

    def only(self, keys: Collection[bytes]) -> "Listing":
        """The same of some markets alone, by Kafka key."""
        some = Listing()
        some._markets = {symbol: each for symbol, each in self._markets.items() if symbol.encode() in keys}
        some._before = {symbol: each for symbol, each in self._before.items() if symbol.encode() in keys}
        return some

    def take(self, symbol: str, row: Mapping[str, Any] | None, time_us: int) -> Listed:
        """Take a row (None: the market is listed no more), which the list got at `time_us`; returns the market as it is now.

        Raises:
            KeyError: the row is no market's.
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
    """A time in microseconds as people read it, in UTC."""
    seconds, micros = divmod(time_us, 1_000_000)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}.{micros // 1000:03d}Z"
