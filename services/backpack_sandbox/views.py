"""A book in the form in which it is shown: exact decimal text, best level first."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from backpack_sandbox.decimals import plain, trimmed
from backpack_sandbox.listings import Listing

Level = tuple[str, str]


@dataclass(frozen=True, slots=True)
class BookView:
    """All levels of one book at one update id. Prices and quantities have no trailing zeros and no exponent."""

    symbol: str
    bids: list[Level]
    asks: list[Level]
    last_update_id: int
    engine_us: int

    @classmethod
    def of_integers(
        cls, listing: Listing, bids: Mapping[int, int], asks: Mapping[int, int], last_update_id: int, engine_us: int
    ) -> "BookView":
        """Make a view from ticks and steps; levels of quantity 0 are left out."""

        def levels(side: Mapping[int, int], highest_first: bool) -> list[Level]:
            return [
                (trimmed(tick, listing.price_places), trimmed(side[tick], listing.quantity_places))
                for tick in sorted(side, reverse=highest_first)
                if side[tick]
            ]

        return cls(listing.symbol, levels(bids, True), levels(asks, False), last_update_id, engine_us)

    @classmethod
    def of_decimals(
        cls,
        symbol: str,
        bids: Mapping[Decimal, Decimal],
        asks: Mapping[Decimal, Decimal],
        last_update_id: int,
        engine_us: int,
    ) -> "BookView":
        """Make a view from Decimals; levels of quantity 0 are left out."""

        def levels(side: Mapping[Decimal, Decimal], highest_first: bool) -> list[Level]:
            return [(plain(price), plain(side[price])) for price in sorted(side, reverse=highest_first) if side[price]]

        return cls(symbol, levels(bids, True), levels(asks, False), last_update_id, engine_us)

    def depth_body(self, limit: int) -> dict[str, Any]:
        """Return the answer of `/api/v1/depth`: the `limit` levels nearest the touch, both sides in ascending order of price."""
        return {
            "asks": self.asks[:limit],
            "bids": self.bids[:limit][::-1],
            "lastUpdateId": str(self.last_update_id),
            "timestamp": self.engine_us,
        }

    def truth(self) -> dict[str, Any]:
        """Return the answer of the control API: all levels, best first."""
        return {
            "symbol": self.symbol,
            "last_update_id": self.last_update_id,
            "engine_time": self.engine_us,
            "bids": self.bids,
            "asks": self.asks,
        }
