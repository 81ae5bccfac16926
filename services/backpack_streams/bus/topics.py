"""The topics as one declarative list: name, record, partitions, how they are cleaned."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from backpack_streams.errors import UsageError

__all__ = [
    "COMPACT",
    "COMPACT_AND_DELETE",
    "DAY_MILLIS",
    "DELETE",
    "FOR_EVER",
    "TOPICS",
    "Topic",
    "topic",
    "topic_of_full_name",
]

DAY_MILLIS = 24 * 60 * 60 * 1000
FOR_EVER = -1
DELETE = "delete"
COMPACT = "compact"
COMPACT_AND_DELETE = "compact,delete"


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic. `name` is without the prefix; `key` says what the Kafka key is."""

    name: str
    record: str
    partitions: int
    cleanup: str = DELETE
    retention_millis: int = 7 * DAY_MILLIS
    key: str = "symbol"
    extra: Mapping[str, str] = field(default_factory=dict)

    def full_name(self, prefix: str) -> str:
        """The name on the bus, e.g. `backpack.market.depth`."""
        return prefix + self.name

    def config(self) -> dict[str, str]:
        """The topic's settings in Kafka's own words."""
        settings = {
            "cleanup.policy": self.cleanup,
            # Records carry the exchange's time. A cluster that stamps them itself by default would hide when things happened.
            "message.timestamp.type": "CreateTime",
            # Kafka refuses records that are an hour ahead of its clock by default. The timestamp is the exchange's engine time,
            # and a clock that is off must not cost data.
            "message.timestamp.after.max.ms": str(2**63 - 1),
        }
        if DELETE in self.cleanup:
            settings["retention.ms"] = str(self.retention_millis)
        return settings | dict(self.extra)


_LONG_SEGMENTS = {"segment.ms": str(10 * 365 * DAY_MILLIS)}
"""Rows of a history come with times from years ago to now; Kafka would begin a file with every week of them."""

_BOOKS_OF_A_DAY = {"min.compaction.lag.ms": str(DAY_MILLIS), "max.compaction.lag.ms": str(2 * DAY_MILLIS)}
"""Books as of a past moment need a snapshot from before it: all are kept for a day, later one a market."""

TOPICS: tuple[Topic, ...] = (
    Topic("market.depth", "DepthUpdate", 8),
    Topic("market.depth_200ms", "DepthUpdate", 4),
    Topic("market.depth_600ms", "DepthUpdate", 4),
    Topic("market.depth_1000ms", "DepthUpdate", 4),
    Topic("market.book_ticker", "BookTicker", 4),
    Topic("market.trade", "Trade", 4),
    Topic("market.ticker", "Ticker", 4),
    Topic("market.ticker_1w", "Ticker", 1),
    Topic("market.kline", "Kline", 4),
    Topic("market.external_ticker", "ExternalTicker", 2),
    Topic("market.stock_price", "StockPrice", 2, key="ticker"),
    Topic("market.book_snapshot", "BookSnapshot", 4, COMPACT_AND_DELETE, extra=_BOOKS_OF_A_DAY),
    Topic("market.book_top", "BookTop", 4),
    Topic("perp.mark_price", "MarkPrice", 4),
    Topic("perp.open_interest", "OpenInterest", 2),
    Topic("perp.liquidation", "Liquidation", 2),
    Topic("perp.funding_rate", "FundingRate", 2, retention_millis=365 * DAY_MILLIS),
    # One partition each: what happens to one account stays in order across its markets.
    Topic("account.order", "OrderUpdate", 1, retention_millis=30 * DAY_MILLIS),
    Topic("account.position", "PositionUpdate", 1, retention_millis=30 * DAY_MILLIS),
    Topic("account.rfq", "RfqUpdate", 1, retention_millis=30 * DAY_MILLIS),
    Topic("account.balance", "BalanceUpdate", 1, retention_millis=30 * DAY_MILLIS, key="asset"),
    Topic("reference.market", "Market", 1, COMPACT),
    Topic("reference.asset", "Asset", 1, COMPACT),
    Topic("reference.collateral", "Collateral", 1, COMPACT),
    Topic("reference.borrow_lend_market", "BorrowLendMarket", 1, COMPACT),
    Topic("reference.borrow_lend_apy", "BorrowLendApy", 1, COMPACT),
    Topic("reference.staking_apy", "StakingApy", 1, COMPACT),
    Topic("reference.prediction_event", "PredictionEvent", 1, COMPACT, key="slug"),
    Topic("reference.prediction_tag", "PredictionTag", 1, COMPACT, key="slug"),
    Topic("reference.market_session", "MarketSession", 1, COMPACT, key="name"),
    Topic("reference.security", "Security", 1, COMPACT),
    Topic("reference.vault", "Vault", 1, COMPACT, key="vault_id"),
    Topic("reference.wallet", "Wallet", 1, COMPACT, key="blockchain/address"),
    Topic("reference.system_status", "SystemStatus", 1, COMPACT, key="name"),
    Topic("history.borrow_lend_market", "BorrowLendHistory", 1, retention_millis=FOR_EVER, extra=_LONG_SEGMENTS),
    Topic("history.vault", "VaultHistory", 1, retention_millis=FOR_EVER, key="vault_id", extra=_LONG_SEGMENTS),
    Topic("ops.watermark", "Watermark", 1, key="producer instance"),
    Topic("ops.gap", "Gap", 1, retention_millis=30 * DAY_MILLIS),
    Topic("ops.book_audit", "BookAudit", 1, retention_millis=30 * DAY_MILLIS),
    Topic("ops.stream_status", "StreamStatus", 1, COMPACT, key="stream name"),
    Topic("ops.dead_letter", "DeadLetter", 1, retention_millis=30 * DAY_MILLIS, key="source"),
)

_BY_NAME = {topic.name: topic for topic in TOPICS}


def topic(name: str) -> Topic:
    """The topic called `name` (without the prefix).

    Raises:
        UsageError: there is none; the message names the ones there are.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UsageError(f"unknown topic {name!r}; the topics are {', '.join(_BY_NAME)}") from None


def topic_of_full_name(full_name: str, prefix: str) -> Topic:
    """The topic behind a name as a user types it, with or without the prefix.

    Raises:
        UsageError: there is none; the message names the ones there are.
    """
    name = full_name.removeprefix(prefix)
    if name not in _BY_NAME:
        known = ", ".join(each.full_name(prefix) for each in TOPICS)
        raise UsageError(f"unknown topic {full_name!r}; the topics are {known}")
    return _BY_NAME[name]
