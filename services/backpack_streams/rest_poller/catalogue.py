"""The polled REST endpoints as one table: what to request, how often, and into which topic it goes.

A new endpoint needs one entry here, a topic in `bus/topics.py`, and a schema whose `wire` attributes name its fields on
the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from backpack_streams.bus.topics import topic
from backpack_streams.exchange.limits import LimitClass, Priority
from backpack_streams.exchange.rest_decoding import ARRAY, ONE_OBJECT, Shape
from backpack_streams.markets.market_streams import has_channel
from backpack_streams.rest_poller.settings import RestPollerSettings

_HOUR_US = 3_600_000_000
_OLDEST_CATALOGUE_SECONDS = 3600.0
_HISTORY_INTERVALS = ("1d", "1w", "1month", "1year")


class Publish(StrEnum):
    """Which part of an answer is published."""

    CHANGES = "changes"
    """New and changed rows, and deletions of rows that are no longer listed."""
    EVERY_ROW = "every row"
    """All rows, after each request."""
    ONCE_SETTLED = "once settled"
    """Each row of a history once, when it can no longer change."""


class Subject(StrEnum):
    """What an endpoint is requested for; each subject needs a request of its own."""

    ALL = "all"
    PERPETUAL = "each perpetual"
    LENDING_MARKET = "each borrow and lend market"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One entry of the table.

    Attributes:
        path: the path to request.
        topic: the topic of its rows, which determines the record and the key.
        interval: seconds between two requests, 0 for none.
        publish: which part of an answer is published.
        subject: whether one request covers everything, or each symbol of a kind needs its own.
        parameters: query parameters of every request.
        given: record fields that the request determines and the answer lacks.
        shape: where in the answer the rows are.
        page_rows: rows per page, 0 if the answer has no pages.
        moving: wire fields that change constantly; a change of these alone does not count.
        time_field: the record field with the time of a row of a history.
        newest_settles_after_us: how long after its time the newest row of a history is settled without a successor
            (µs); None for never.
        maximum_age: maximum age of a cached answer in seconds, None for any.
        by_market: whether the keys are markets, so that `--symbols` applies.
        limit_class: the exchange's rate limit that a request counts against.
        priority: the priority while waiting for the rate limit.
    """

    path: str
    topic: str
    interval: float
    publish: Publish = Publish.CHANGES
    subject: Subject = Subject.ALL
    parameters: tuple[tuple[str, str], ...] = ()
    given: tuple[tuple[str, str], ...] = ()
    shape: Shape = ARRAY
    page_rows: int = 0
    moving: tuple[str, ...] = ()
    time_field: str = "event_time"
    newest_settles_after_us: int | None = None
    maximum_age: float | None = _OLDEST_CATALOGUE_SECONDS
    by_market: bool = False
    limit_class: LimitClass = LimitClass.GENERAL
    priority: Priority = Priority.REFERENCE

    @property
    def record(self) -> str:
        """The name of the record."""
        return topic(self.topic).record

    @property
    def name(self) -> str:
        """The path and the fixed parameters, for messages."""
        return self.path + "".join(f" {name}={value}" for name, value in self.parameters)

    def given_for(self, subject: str) -> dict[str, str]:
        """Return the record fields that the answer about `subject` lacks."""
        return dict(self.given) | ({"symbol": subject} if self.subject is not Subject.ALL else {})

    def key(self, record: Mapping[str, Any]) -> str:
        """Return the Kafka key of a record: the fields that the topic names."""
        return "/".join(str(record[field]) for field in topic(self.topic).key.split("/"))

    def series(self, key: str) -> str:
        """Return the name of the history that the rows of a key belong to."""
        return "/".join([key, *(value for _, value in self.given)])


def endpoints(settings: RestPollerSettings) -> tuple[Endpoint, ...]:
    """Return every polled endpoint, with the intervals of the settings."""
    return (*_catalogues(settings), *_last_values(settings), *_histories(settings))


def _catalogues(settings: RestPollerSettings) -> tuple[Endpoint, ...]:
    seldom, often = settings.catalogue_refresh, settings.lending_refresh
    market_types = tuple(("marketType", each) for each in settings.market_types)
    return (
        # Any age: an old market list is better than none, because nothing starts without one.
        Endpoint("/api/v1/markets", "reference.market", settings.market_refresh, parameters=market_types, maximum_age=None),
        Endpoint("/api/v1/assets", "reference.asset", settings.asset_refresh),
        Endpoint("/api/v1/collateral", "reference.collateral", seldom),
        Endpoint("/api/v1/borrowLend/markets", "reference.borrow_lend_market", often, moving=("timestamp",)),
        Endpoint("/api/v1/borrowLend/apy", "reference.borrow_lend_apy", often, shape=Shape("borrowLend")),
        Endpoint("/api/v1/borrowLend/apy", "reference.staking_apy", seldom, shape=Shape("staking")),
        Endpoint("/api/v1/prediction", "reference.prediction_event", seldom, page_rows=1000),
        Endpoint("/api/v1/prediction/tags", "reference.prediction_tag", seldom),
        Endpoint("/api/v1/market-sessions", "reference.market_session", seldom),
        Endpoint("/api/v1/securities", "reference.security", seldom),
        Endpoint("/api/v1/vaults", "reference.vault", seldom),
        Endpoint("/api/v1/wallets", "reference.wallet", seldom),
        Endpoint(
            "/api/v1/status", "reference.system_status", settings.status_refresh,
            given=(("name", "exchange"),), shape=ONE_OBJECT, maximum_age=settings.stale_after,
        ),
    )  # fmt: skip


def _last_values(settings: RestPollerSettings) -> tuple[Endpoint, ...]:
    def last_value(path: str, to_topic: str, interval: float, *parameters: tuple[str, str]) -> Endpoint:
        return Endpoint(
            path, to_topic, interval, Publish.EVERY_ROW,
            parameters=parameters, maximum_age=settings.stale_after, by_market=True,
        )  # fmt: skip

    return (
        last_value("/api/v1/tickers", "market.ticker", settings.ticker_refresh),
        last_value("/api/v1/tickers", "market.ticker_1w", settings.ticker_1w_refresh, ("interval", "1w")),
        *(
            last_value("/api/v1/markPrices", "perp.mark_price", settings.mark_price_refresh, ("marketType", kind))
            for kind in settings.market_types
            if has_channel(kind, "markPrice")
        ),
        last_value("/api/v1/openInterest", "perp.open_interest", settings.open_interest_refresh),
    )


def _histories(settings: RestPollerSettings) -> tuple[Endpoint, ...]:
    def history(path: str, to_topic: str, interval: str, subject: Subject) -> Endpoint:
        of_interval = (("interval", interval),)
        return Endpoint(
            path, to_topic, settings.history_refresh, Publish.ONCE_SETTLED, subject,
            parameters=of_interval, given=of_interval, priority=Priority.HISTORY,
        )  # fmt: skip

    lending = ("/api/v1/borrowLend/markets/history", "history.borrow_lend_market")
    vaults = ("/api/v1/vaults/history", "history.vault")
    return (
        Endpoint(
            "/api/v1/fundingRates", "perp.funding_rate", settings.funding_rate_refresh, Publish.ONCE_SETTLED,
            Subject.PERPETUAL, page_rows=settings.funding_rate_page, time_field="interval_end_time",
            newest_settles_after_us=_HOUR_US, maximum_age=settings.stale_after, by_market=True,
            limit_class=LimitClass.HISTORICAL, priority=Priority.HISTORY,
        ),
        *(history(*lending, interval, Subject.LENDING_MARKET) for interval in _HISTORY_INTERVALS),
        *(history(*vaults, interval, Subject.ALL) for interval in _HISTORY_INTERVALS),
    )  # fmt: skip


ASKED_WHEN_NEEDED: Mapping[str, tuple[str, str]] = {
    "/api/v1/depth": ("market.book_snapshot", "requested for every book at startup, for every gap, and periodically"),
    "/api/v1/trades": ("market.trade", "comes from the socket; requested for what it missed"),
    "/api/v1/trades/history": (
        "market.trade",
        "comes from the socket; requested for what it missed, and by `backfill`",
    ),
    "/api/v1/klines": ("market.kline", "comes from the socket; requested for what it missed, and by `backfill`"),
}
"""Endpoints that are requested on demand instead of polled: the topic, and when."""

LEFT_OUT: Mapping[str, str] = {
    "/api/v1/market": "one row of `/api/v1/markets`",
    "/api/v1/ticker": "one row of `/api/v1/tickers`",
    "/api/v1/ping": "shows only that the exchange answers, as every other answer does",
    "/api/v1/time": "a clock, useful only at the moment it is read: the signing producer measures its own clock by it",
    "/api/v1/borrowLend/position/liquidationPrice": "an estimate for a position that the request describes, not a catalogue",
    "/api/v1/vault/nav": "available only to the vault's own account, with its signature",
    "/wapi/v1/capital/withdrawals/delay": "a setting of the requester's own account: refused with 401 without a signature",
}
"""Public endpoints of the exchange's OpenAPI specification that are not used, and why."""
