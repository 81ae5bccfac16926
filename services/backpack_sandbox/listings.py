"""The markets of the sandbox: the fixed ones first, then generated ones, and special cases."""

from dataclasses import dataclass, field, replace
from typing import Any

from backpack_sandbox.decimals import trimmed

DEFAULT_MARKET_TYPES = frozenset({"SPOT", "PERP"})
KNOWN_MARKET_TYPES = frozenset({"SPOT", "PERP", "IPERP", "DATED", "PREDICTION", "RFQ", "EXOTIC"})
FUNDING_INTERVAL_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Listing:
    """One market of `/markets`.

    Attributes:
        symbol: the exchange's name of it.
        market_type: such as `SPOT` or `PERP`.
        price_places: decimal places of prices; a tick is one unit of the last place.
        quantity_places: decimal places of quantities; a step is one unit of the last place.
        anchor: its typical price in ticks, near which the random walk stays.
        state: the `orderBookState`.
        created_at: ISO 8601 in UTC without a zone.
        rwa_market_type: kind of the real-world asset; None for a crypto asset.
        funding_interval: ms, as a number or, as the exchange also sends it, as text.
        extra: further fields of its row, or other values of known ones.
    """

    symbol: str
    market_type: str
    price_places: int
    quantity_places: int
    anchor: int
    state: str = "Open"
    created_at: str = "2024-06-03T08:00:00.103581"
    rwa_market_type: str | None = None
    thin: bool = False
    """Has a handful of levels per side, at times none."""
    quiet: bool = False
    """Never trades."""
    funding: bool = True
    """Its mark price has a funding rate and an index price (perpetuals only)."""
    long_funding: bool = False
    """Its funding rate is written with 28 places."""
    funding_interval: int | str = FUNDING_INTERVAL_MS
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def is_perp(self) -> bool:
        """Whether the market has funding."""
        return self.market_type in ("PERP", "IPERP")

    @property
    def is_future(self) -> bool:
        """Whether the market has open interest, liquidations and margin."""
        return self.is_perp or self.market_type == "DATED"

    @property
    def has_mark_price(self) -> bool:
        """Whether the market has a mark price."""
        return self.is_future or self.market_type == "PREDICTION"

    @property
    def has_book(self) -> bool:
        """Whether the market has an order book; RFQ markets have none, prices are requested."""
        return self.market_type != "RFQ"

    @property
    def base(self) -> str:
        """The traded asset."""
        return self.symbol.split("_", 1)[0]

    def closed(self) -> "Listing":
        """Return the same market, closed."""
        return replace(self, state="Closed")

    def row(self) -> dict[str, Any]:
        """Return the market as `/api/v1/markets` shows it."""
        row: dict[str, Any] = {
            "symbol": self.symbol,
            "baseSymbol": self.base,
            "quoteSymbol": self.symbol.split("_")[1] if "_" in self.symbol else "USDC",
            "marketType": self.market_type,
            "filters": self._filters(),
            "fundingInterval": self.funding_interval,
            "orderBookState": self.state,
            "createdAt": self.created_at,
            "visible": True,
            "positionLimitWeight": None,
        }
        if self.is_future:
            row["imfFunction"] = {"type": "sqrt", "base": "0.02", "factor": "0.0001"}
            row["mmfFunction"] = {"type": "sqrt", "base": "0.0125", "factor": "0.00006"}
            row["fundingRateUpperBound"] = "100"
            row["fundingRateLowerBound"] = "-100"
            row["openInterestLimit"] = "4000000"
        if self.rwa_market_type:
            row["rwaMarketType"] = self.rwa_market_type
        return row | self.extra

    def _filters(self) -> dict[str, Any]:
        tick, step = trimmed(1, self.price_places), trimmed(1, self.quantity_places)
        price: dict[str, Any] = {
            "minPrice": tick,
            "maxPrice": None,
            "tickSize": tick,
            "maxMultiplier": "1.25",
            "minMultiplier": "0.75",
            "maxImpactMultiplier": "1.05",
            "minImpactMultiplier": "0.95",
        }
        if self.is_future:
            price["meanMarkPriceBand"] = {"maxMultiplier": "1.1", "minMultiplier": "0.9"}
            price["meanPremiumBand"] = {"tolerancePct": "0.05"}
        return {"price": price, "quantity": {"minQuantity": step, "maxQuantity": None, "stepSize": step}}


_FIXED = (
    Listing("BTC_USDC_PERP", "PERP", 1, 5, 866_559, long_funding=True),
    Listing("SOL_USDC", "SPOT", 2, 2, 21_850),
    Listing("ETH_USDC_PERP", "PERP", 2, 4, 423_636, funding_interval=str(FUNDING_INTERVAL_MS)),
    Listing("kSHIB_USDC_PERP", "PERP", 6, 0, 12_345, funding=False),
    Listing("AAPL.US_USDC_PERP", "PERP", 2, 2, 34_032, rwa_market_type="STOCK"),
    Listing("SOL_USDC_PERP", "PERP", 2, 2, 21_842),
    Listing("ETH_USDC", "SPOT", 2, 4, 423_510, extra={"settlementHint": {"venue": "new", "delayMs": 5}}),
    Listing("BTC_USDC", "SPOT", 1, 5, 866_402),
    Listing("XRP_USDC_PERP", "PERP", 4, 1, 28_914),
    Listing("HYPE_USDC_PERP", "PERP", 3, 2, 47_120),
    Listing("THIN_USDC", "SPOT", 4, 2, 12_070, thin=True),
    Listing("QUIET_USDC", "SPOT", 3, 1, 5_310, quiet=True),
)

BYSTANDERS = (
    Listing("WIF_USDC", "SPOT", 4, 1, 46_771, state="Closed"),
    Listing("RAINFALL2026_USDC_PREDICTION", "PREDICTION", 3, 0, 420, state="Closed", quiet=True),
    Listing("BASKET_USDC_EXOTIC", "EXOTIC", 2, 2, 10_000, quiet=True),
)
"""Listed, but without a synthetic market: one closed, one settled and shown only if its type is requested, one of an unknown type."""

EVERY_KIND = (
    Listing("ETH_USDC_IPERP", "IPERP", 2, 4, 423_700),
    Listing("BTC_USDC_270326", "DATED", 1, 5, 871_230, funding=False),
    Listing("SNOWFALL2026_USDC_PREDICTION", "PREDICTION", 3, 0, 420, funding=False),
    Listing("SOL_USDC_RFQ", "RFQ", 2, 2, 21_850, quiet=True),
    Listing("WEATHER_USDC_EXOTIC", "EXOTIC", 2, 2, 10_000),
    Listing("NVDA.US_USDC", "SPOT", 2, 2, 18_250, rwa_market_type="STOCK"),
)
"""An open market of every type that the fixed ones lack, for the setting `every_kind`; one type is unknown to clients."""


def synthetic_listings(count: int) -> list[Listing]:
    """Return the first `count` markets: the fixed ones in their order, then generated ones, five of six perpetual."""
    return [*_FIXED[:count], *(_generated(number) for number in range(len(_FIXED), count))]


def _generated(number: int) -> Listing:
    perp = number % 6 != 5
    return Listing(
        symbol=f"TKN{number:03d}_USDC{'_PERP' if perp else ''}",
        market_type="PERP" if perp else "SPOT",
        price_places=2 + number % 4,
        quantity_places=number % 3,
        anchor=9_000 + 811 * (number % 97),
        funding=number % 7 != 3,
        long_funding=number % 5 == 0,
    )


def opened_listing(symbol: str) -> Listing:
    """Return a market that opens while the sandbox runs.

    Args:
        symbol: its ending decides the type: `_PERP` and the other types as they are, digits for a dated future,
            everything else is spot.
    """
    ending = symbol.rpartition("_")[2]
    kind = "DATED" if ending.isdecimal() else ending
    market_type = kind if kind in KNOWN_MARKET_TYPES else "SPOT"
    return Listing(symbol, market_type, 3, 1, 25_000, created_at="2026-01-05T12:00:00")
