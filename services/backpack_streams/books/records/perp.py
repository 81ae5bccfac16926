"""Records of futures, as `RecordStream` gives them. Made by `make docs` from `schemas/` and the list of topics: do not edit."""

from decimal import Decimal
from typing import Final, TypedDict

from backpack_streams.books.record_topic import RecordTopic

__all__ = [
    "PERP_FUNDING_RATE",
    "PERP_LIQUIDATION",
    "PERP_MARK_PRICE",
    "PERP_OPEN_INTEREST",
    "FundingRate",
    "Liquidation",
    "MarkPrice",
    "OpenInterest",
]


class MarkPrice(TypedDict):
    """Mark price, index price and the funding rate of the interval in progress."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    mark_price: Decimal
    index_price: Decimal | None
    funding_rate: Decimal | None
    next_funding_time: int | None
    cache_age_seconds: int | None


class OpenInterest(TypedDict):
    """Open interest of a market."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    open_interest: Decimal | None
    cache_age_seconds: int | None


class Liquidation(TypedDict):
    """One public liquidation."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    side: str
    price: Decimal
    quantity: Decimal


class FundingRate(TypedDict):
    """Funding rate of one interval of a perpetual."""

    symbol: str
    source: str
    event_time: int | None
    engine_time: int | None
    received_time: int
    interval_end_time: int
    funding_rate: Decimal
    is_settled: bool
    cache_age_seconds: int | None


PERP_MARK_PRICE: Final = RecordTopic[MarkPrice]("perp.mark_price")
PERP_OPEN_INTEREST: Final = RecordTopic[OpenInterest]("perp.open_interest")
PERP_LIQUIDATION: Final = RecordTopic[Liquidation]("perp.liquidation")
PERP_FUNDING_RATE: Final = RecordTopic[FundingRate]("perp.funding_rate")
