"""Which markets a producer carries: by name, state and shard. Sans I/O."""

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

from backpack_streams.errors import UsageError

CLOSED = "Closed"


@dataclass(frozen=True, slots=True)
class ListedMarket:
    """A market as the exchange lists it.

    Attributes:
        symbol: such as `SOL_USDC`.
        market_type: the kind of market, such as `SPOT`.
        state: the state of its order book; `Closed` if there is no trading.
        base: the base asset; empty if it cannot name a stream.
        rwa_market_type: the kind of real-world asset that `base` is; None if it is none.
    """

    symbol: str
    market_type: str
    state: str
    base: str = ""
    rwa_market_type: str | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The markets that one producer carries.

    Attributes:
        symbols: the chosen symbols, over all shards; None for all markets.
        shard_index: the number of this shard, from 0.
        shard_count: number of shards.
    """

    symbols: frozenset[str] | None
    shard_index: int = 0
    shard_count: int = 1

    def of(self, markets: Iterable[ListedMarket]) -> list[str]:
        """Return the symbols to carry now, sorted."""
        return [market.symbol for market in self.carried(markets)]

    def carried(self, markets: Iterable[ListedMarket]) -> list[ListedMarket]:
        """Return the markets to carry now, sorted by symbol."""
        taken = [market for market in markets if market.state != CLOSED and self.takes(market.symbol)]
        return sorted(taken, key=lambda market: market.symbol)

    def takes(self, symbol: str) -> bool:
        """Return whether the market of this symbol is ours, open or not."""
        return self.names(symbol) and self.has(symbol)

    def has(self, name: str) -> bool:
        """Return whether this shard is the one of a name: a symbol, a ticker, or a stream of all markets."""
        return shard_of(name, self.shard_count) == self.shard_index

    def names(self, symbol: str) -> bool:
        """Return whether the market of this symbol is chosen, for any shard."""
        return self.symbols is None or symbol in self.symbols

    def check(self, markets: Sequence[ListedMarket]) -> None:
        """Check that the exchange lists every chosen symbol.

        Raises:
            UsageError: a symbol is not listed; the message names the first one and similar symbols.
        """
        listed = [market.symbol for market in markets]
        for symbol in sorted((self.symbols or frozenset()) - set(listed)):
            near = difflib.get_close_matches(symbol, listed, 3)
            hint = f"; did you mean {', '.join(near)}?" if near else ""
            raise UsageError(f"unknown symbol {symbol!r}: the exchange lists no such market{hint}")


def shard_of(symbol: str, shard_count: int) -> int:
    """Return the shard of a symbol by rendezvous hash: an additional shard moves only the symbols that it takes over.

    Args:
        symbol: the symbol, the ticker, or the name of a stream of all markets.
        shard_count: number of shards, 1 or more.

    Returns:
        The number of the shard, from 0; the same in every process.
    """
    if shard_count == 1:
        return 0
    return max(range(shard_count), key=lambda shard: blake2b(f"{shard}/{symbol}".encode(), digest_size=8).digest())


def check_streams(service: str, streams: Iterable[str], channels: Iterable[str]) -> None:
    """Check that the service carries these streams.

    Args:
        service: its name, for the message.
        streams: kinds of stream, such as `kline.1m`.
        channels: the channels of the service.

    Raises:
        UsageError: another service carries one of them; the message names it and the channels of this service.
    """
    known = list(channels)
    for text in streams:
        if text.partition(".")[0] not in known:
            raise UsageError(f"{service} does not carry the stream {text!r}; it carries {', '.join(known)}")
