"""The REST endpoints that are polled, as one table: what is asked how often, and which record of which topic it becomes."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_decoding import Rows
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.rest_poller import records
from backpack_streams.rest_poller.settings import RestPollerSettings

Fetch = Callable[[RestClient, str], Awaitable[Answer[Rows[Any]]]]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint. `compacted`: only changes are published, and what is listed no more is deleted.

    `per_symbol`: asked once for each perpetual, else once for all markets. `refuse_stale`: an old cached answer is not published.
    """

    path: str
    topic: str
    fetch: Fetch
    row: Callable[[Any, int, int | None], dict[str, Any]]
    interval: Callable[[RestPollerSettings], float]
    compacted: bool = False
    per_symbol: bool = False
    refuse_stale: bool = True


def _markets(settings: RestPollerSettings) -> Fetch:
    return lambda rest, _: rest.markets(settings.market_types, priority=Priority.REFERENCE)


def endpoints(settings: RestPollerSettings) -> Mapping[str, Endpoint]:
    """Every endpoint that is polled, by path."""
    table = (
        Endpoint(
            "/api/v1/markets", "reference.market", _markets(settings), records.market_row, lambda each: each.market_refresh,
            compacted=True, refuse_stale=False,
        ),
        Endpoint(
            "/api/v1/assets", "reference.asset", lambda rest, _: rest.assets(), records.asset_row, lambda each: each.asset_refresh,
            compacted=True, refuse_stale=False,
        ),
        Endpoint(
            "/api/v1/tickers", "market.ticker", lambda rest, _: rest.tickers(), records.ticker_row, lambda each: each.ticker_refresh,
        ),
        Endpoint(
            "/api/v1/markPrices", "perp.mark_price", lambda rest, _: rest.mark_prices(), records.mark_price_row,
            lambda each: each.mark_price_refresh,
        ),
        Endpoint(
            "/api/v1/openInterest", "perp.open_interest", lambda rest, _: rest.open_interest(), records.open_interest_row,
            lambda each: each.open_interest_refresh,
        ),
        Endpoint(
            "/api/v1/fundingRates", "perp.funding_rate", lambda rest, symbol: rest.funding_rates(symbol, 100),
            records.funding_rate_row, lambda each: each.funding_rate_refresh, per_symbol=True,
        ),
    )  # fmt: skip
    return {endpoint.path: endpoint for endpoint in table}
