"""The topics as one declarative list: name, record, partitions, cleanup."""

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
    """The declaration of one topic.

    Attributes:
        name: the name without the prefix.
        record: the name of the Avro record.
        partitions: the number of partitions at creation.
        cleanup: Kafka's `cleanup.policy`.
        retention_millis: Kafka's `retention.ms`, `FOR_EVER` for no limit. Without effect if `cleanup` is compaction
            alone.
        key: what the Kafka key is, for documents.
        extra: further topic configs.
    """

    name: str
    record: str
    partitions: int
    cleanup: str = DELETE
    retention_millis: int = 7 * DAY_MILLIS
    key: str = "symbol"
    extra: Mapping[str, str] = field(default_factory=dict)

    def full_name(self, prefix: str) -> str:
        """Return the name on the bus, e.g. `backpack.market.depth`."""
        return prefix + self.name

    def config(self) -> dict[str, str]:
        """Return the topic's configs under Kafka's names."""
        settings = {
            "cleanup.policy": self.cleanup,
            # Records carry the exchange's time. LogAppendTime, a possible cluster default, would replace it.
            "message.timestamp.type": "CreateTime",
            # By default, Kafka refuses records stamped more than an hour ahead of its clock. The timestamp is the exchange's engine time,
            # and a wrong clock must not cost data.
            "message.timestamp.after.max.ms": str(2**63 - 1),
        }
        if DELETE in self.cleanup:
            settings["retention.ms"] = str(self.retention_millis)
        return settings | dict(self.extra)


_LONG_SEGMENTS = {"segment.ms": str(10 * 365 * DAY_MILLIS)}
"""Records of a history carry times from years ago to now; with the default, Kafka would start a new segment for each week of them."""

_BOOKS_OF_A_DAY = {"min.compaction.lag.ms": str(DAY_MILLIS), "max.compaction.lag.ms": str(2 * DAY_MILLIS)}
"""Books as of a past moment need an earlier snapshot: all are kept for a day, after that one per market."""

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
    # One partition each, so that an account's events stay in order across markets.
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
    """Return the topic called `name` (without the prefix).

    Raises:
        UsageError: there is none; the message lists all topics.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UsageError(f"unknown topic {name!r}; the topics are {', '.join(_BY_NAME)}") from None


def topic_of_full_name(full_name: str, prefix: str) -> Topic:
    """Return the topic for a name as typed by a user, with or without the prefix.

    Raises:
        UsageError: there is none; the message lists all topics.
    """
    name = full_name.removeprefix(prefix)
    if name not in _BY_NAME:
        known = ", ".join(each.full_name(prefix) for each in TOPICS)
        raise UsageError(f"unknown topic {full_name!r}; the topics are {known}")
    return _BY_NAME[name]
