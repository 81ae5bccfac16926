"""Which markets a producer carries, and so which streams it subscribes to: by name, by state, by shard. Sans I/O."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from backpack_streams.errors import UsageError
from backpack_streams.exchange.streams import StreamKind

CLOSED = "Closed"
FUTURES = frozenset({"PERP", "IPERP", "DATED"})


@dataclass(frozen=True, slots=True)
class ListedMarket:
    """A market as the exchange lists it."""

    symbol: str
    market_type: str
    state: str


@dataclass(frozen=True, slots=True)
class Selection:
    """Which markets: `symbols` None for all, and one shard of `shard_count`. `futures_only` leaves spot markets out."""

    symbols: frozenset[str] | None
    shard_index: int = 0
    shard_count: int = 1
    futures_only: bool = False

    def of(self, markets: Iterable[ListedMarket]) -> list[str]:
        """The symbols that are to be carried now, sorted."""
        return sorted(market.symbol for market in markets if self._takes(market))

    def _takes(self, market: ListedMarket) -> bool:
        if self.symbols is not None and market.symbol not in self.symbols:
            return False
        if market.state == CLOSED or (self.futures_only and market.market_type == "SPOT"):
            return False
        return shard_of(market.symbol, self.shard_count) == self.shard_index

    def check(self, markets: Sequence[ListedMarket]) -> None:
        """Refuses symbols that the exchange does not list.

        Raises:
            UsageError: it names the first such symbol and the nearest ones there are.
        """
        listed = [market.symbol for market in markets]
        for symbol in sorted((self.symbols or frozenset()) - set(listed)):
            near = difflib.get_close_matches(symbol, listed, 3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise UsageError(f"unknown symbol {symbol!r}: the exchange lists no such market{hint}")


def shard_of(symbol: str, shard_count: int) -> int:
    """The shard of a symbol by rendezvous hash: one shard more moves only the symbols that it takes over."""
    if shard_count == 1:
        return 0
    return max(range(shard_count), key=lambda shard: blake2b(f"{shard}/{symbol}".encode(), digest_size=8).digest())


def streams_for(kinds: Iterable[StreamKind], symbols: Sequence[str], all_in_one: frozenset[str]) -> list[str]:
    """The streams to subscribe to; channels in `all_in_one` have one stream for all markets."""
    names = []
    for kind in kinds:
        if kind.channel in all_in_one:
            names.append(kind.stream(None))
        else:
            names.extend(kind.stream(symbol) for symbol in symbols)
    return names


def check_streams(service: str, streams: Iterable[str], channels: Iterable[str]) -> None:
    """Refuses streams that another service carries.

    Raises:
        UsageError: it names the stream and the channels that there are.
    """
    known = list(channels)
    for text in streams:
        if text.partition(".")[0] not in known:
            raise UsageError(f"{service} does not carry the stream {text!r}; it carries {', '.join(known)}")
