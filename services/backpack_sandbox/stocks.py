"""A data provider: quotes of stocks, and tickers of markets on real-world assets. Generated from seed and time."""

import zlib
from dataclasses import dataclass

from backpack_sandbox.decimals import padded
from backpack_sandbox.frames import Frame, FrameWriter, enveloped
from backpack_sandbox.listings import Listing
from backpack_sandbox.past import mixed

SESSION = "US_EQUITIES_REGULAR"
_SECONDS_OF_A_ROUND = 5
_SECONDS_CLOSED = 1
"""How long in each round the provider is closed: no bid, no ask, no session."""
_CENTS, _MID_PLACES = 2, 3


@dataclass(frozen=True, slots=True)
class Security:
    """A stock that can be traded as an asset. `cents` is its typical price."""

    asset: str
    name: str
    cusip: str | None
    cents: int

    @property
    def ticker(self) -> str:
        """The name of its `stockPrice` stream."""
        return self.asset.removesuffix(".US")


SECURITIES = (
    Security("AAPL.US", "Apple Inc.", "037833100", 34_032),
    Security("NVDA.US", "NVIDIA Corporation", "67066G104", 18_250),
    Security("BRK.B.US", "Berkshire Hathaway Inc. Class B", None, 49_193),
)
"""The first has a market from the start, the second only if `every_kind` is set, the third has none."""


class Provider:
    """The data provider behind `stockPrice` and `externalTicker`."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._by_ticker = {security.ticker: security for security in SECURITIES}

    def knows(self, ticker: str) -> bool:
        """Whether there are quotes of this stock."""
        return ticker in self._by_ticker

    def quote(self, ticker: str, now_us: int) -> Frame:
        """Return the quote of a second. `mid` has one place more than bid and ask; outside of the session only `mid` is set."""
        seconds = now_us // 1_000_000
        noise = mixed(self._seed ^ zlib.crc32(ticker.encode()), seconds)
        bid = self._by_ticker[ticker].cents + noise % 61 - 30
        ask = bid + 1 + (noise >> 8) % 4
        mid = padded((bid + ask) * 5, _MID_PLACES)
        is_open = seconds % _SECONDS_OF_A_ROUND >= _SECONDS_CLOSED
        b, a, session = (
            (f'"{padded(bid, _CENTS)}"', f'"{padded(ask, _CENTS)}"', f'"{SESSION}"') if is_open else ("null",) * 3
        )
        millis = now_us // 1000
        if noise & 1:
            data = f'"ask":{a},"bid":{b},"e":"stockPrice","mid":"{mid}","session":{session},"symbol":"{ticker}","timestamp":{millis}'
        else:
            data = f'"e":"stockPrice","symbol":"{ticker}","bid":{b},"ask":{a},"mid":"{mid}","timestamp":{millis},"session":{session}'
        return enveloped(f"stockPrice.{ticker}", data, now_us)

    def ticker(self, listing: Listing, writer: FrameWriter, now_us: int) -> Frame:
        """Return the external ticker of a market: near its typical price, traded elsewhere."""
        noise = mixed(self._seed ^ zlib.crc32(listing.symbol.encode()), now_us // 1_000_000)
        spread = max(2, listing.anchor // 200)
        first, last = listing.anchor + noise % spread, listing.anchor + (noise >> 16) % spread
        high = max(first, last) + (noise >> 32) % spread
        low = max(1, min(first, last) - (noise >> 40) % spread)
        return writer.external_ticker(
            now_us, (first, high, low, last), 1_000_000 + (noise >> 20) % 100_000, 40_000 + noise % 977
        )
