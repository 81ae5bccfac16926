"""The derivative side of a synthetic market: mark price, index price, funding and open interest."""

from typing import Any

from backpack_sandbox.decimals import padded, trimmed
from backpack_sandbox.frames import Frame
from backpack_sandbox.intervals import naive_iso
from backpack_sandbox.market import SyntheticMarket
from backpack_sandbox.past import mixed

_HOUR_SECONDS = 3600
_EXTRA_PLACES = 2
_RATE_PLACES = 9


class Perpetual:
    """The derivative side of one market, computed from its book and trades.

    Args:
        market: the market.
        key: determines the figures that do not follow from the market.
    """

    def __init__(self, market: SyntheticMarket, key: int) -> None:
        self._market = market
        self.listing = market.listing
        self._key = key

    def _mark(self) -> int:
        """Return the mid price in hundredths of a tick; the anchor price while a side is empty."""
        bid, ask = self._market.bids.best, self._market.asks.best
        return (bid + ask) * 50 if bid and ask else self._market.listing.anchor * 100

    def _figures(self, now_us: int) -> tuple[int, int, str | None]:
        """Return mark and index price in hundredths of a tick, and the estimated funding rate of the current interval."""
        noise = mixed(self._key, now_us // 1_000_000)
        mark = max(1, self._mark() + noise % 61 - 30)
        index = max(1, mark + (noise >> 8) % 401 - 200)
        listing = self._market.listing
        if not listing.funding:
            return mark, index, None
        if listing.long_funding:
            return mark, index, f"0.000{noise * 7919 % 10**25:025d}"
        return mark, index, padded(noise % 4001 - 1500, 8)

    def mark_frame(self, now_us: int) -> Frame:
        """Return the frame sent every second."""
        mark, index, funding = self._figures(now_us)
        places = self._market.listing.price_places + _EXTRA_PLACES
        index_text = padded(index, places) if funding is not None else None
        next_funding_ms = _next_funding_ms(now_us) if self._market.listing.is_future else None
        return self._market.writer.mark_price(
            (now_us, now_us - 600), padded(mark, places), index_text, funding, next_funding_ms
        )

    def mark_row(self, now_us: int) -> dict[str, Any]:
        """Return the row of `/markPrices`; without funding rate and index price if the market has none.

        Prices have two places more than the book's. `nextFundingTimestamp` is the next full hour, ms since the Unix
        epoch.

        Args:
            now_us: wall clock, µs since the Unix epoch.
        """
        mark, index, funding = self._figures(now_us)
        places = self._market.listing.price_places + _EXTRA_PLACES
        row: dict[str, Any] = {"markPrice": trimmed(mark, places)}
        if self._market.listing.is_future:
            row["nextFundingTimestamp"] = _next_funding_ms(now_us)
        if funding is not None:
            row |= {"fundingRate": funding.rstrip("0").rstrip("."), "indexPrice": trimmed(index, places)}
        return row | {"symbol": self._market.listing.symbol}

    def _contracts(self) -> int:
        """Return the open interest in steps; it changes with every trade."""
        market = self._market
        step: int = 10**market.listing.quantity_places
        return 5_000 * step + market.history.next_trade_id * 37 % (200 * step)

    def open_interest_frame(self, now_us: int) -> Frame:
        """Return the frame that is sent every `open_interest_seconds` (default 60)."""
        return self._market.writer.open_interest(now_us, self._contracts())

    def open_interest_row(self, now_us: int) -> dict[str, Any]:
        """Return the row of `/openInterest`; its timestamp is in milliseconds."""
        return {
            "symbol": self._market.listing.symbol,
            "openInterest": trimmed(self._contracts(), self._market.listing.quantity_places),
            "timestamp": now_us // 1000,
        }

    def funding_rows(self, offset: int, limit: int, now_us: int) -> tuple[list[dict[str, Any]], int]:
        """Return rows of `/fundingRates`, one per hour, newest first, and their total number.

        The first of all is the current interval and still changes, once a second.

        Args:
            offset: number of newest rows to skip.
            limit: the most rows to return.
            now_us: wall clock, µs since the Unix epoch.
        """
        running_end = (now_us // 1_000_000 // _HOUR_SECONDS + 1) * _HOUR_SECONDS
        first_end = self._market.history.past.begin_seconds + _HOUR_SECONDS
        total = (running_end - first_end) // _HOUR_SECONDS + 1
        rows = []
        for back in range(offset, min(offset + limit, total)):
            end = running_end - back * _HOUR_SECONDS
            rate = mixed(self._key ^ 0xF0, end) % 200_001 - 80_000
            if back == 0:
                rate += mixed(self._key ^ 0xF1, now_us // 1_000_000) % 2_001
            rows.append(
                {
                    "symbol": self._market.listing.symbol,
                    "intervalEndTimestamp": naive_iso(end),
                    "fundingRate": trimmed(rate, _RATE_PLACES),
                }
            )
        return rows, total


def _next_funding_ms(now_us: int) -> int:
    return (now_us // 1_000_000 // _HOUR_SECONDS + 1) * _HOUR_SECONDS * 1000
