"""The list of topics is the contract with readers, and Kafka is brought in line with it without losing anything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.admin import Change, Existing, plan
from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import (
    COMPACT,
    COMPACT_AND_DELETE,
    DAY_MILLIS,
    DELETE,
    TOPICS,
    Topic,
    topic,
    topic_of_full_name,
)
from backpack_streams.errors import UsageError

# Fixed by the contract: readers of the bus rely on record, key and cleanup of each of these names.
CONTRACT = {
    "market.depth": ("DepthUpdate", "symbol", DELETE),
    "market.depth_200ms": ("DepthUpdate", "symbol", DELETE),
    "market.depth_600ms": ("DepthUpdate", "symbol", DELETE),
    "market.depth_1000ms": ("DepthUpdate", "symbol", DELETE),
    "market.book_ticker": ("BookTicker", "symbol", DELETE),
    "market.trade": ("Trade", "symbol", DELETE),
    "market.ticker": ("Ticker", "symbol", DELETE),
    "market.kline": ("Kline", "symbol", DELETE),
    "market.external_ticker": ("ExternalTicker", "symbol", DELETE),
    "market.stock_price": ("StockPrice", "ticker", DELETE),
    "market.book_snapshot": ("BookSnapshot", "symbol", COMPACT_AND_DELETE),
    "market.book_top": ("BookTop", "symbol", DELETE),
    "perp.mark_price": ("MarkPrice", "symbol", DELETE),
    "perp.open_interest": ("OpenInterest", "symbol", DELETE),
    "perp.liquidation": ("Liquidation", "symbol", DELETE),
    "perp.funding_rate": ("FundingRate", "symbol", DELETE),
    "account.order": ("OrderUpdate", "symbol", DELETE),
    "account.position": ("PositionUpdate", "symbol", DELETE),
    "account.rfq": ("RfqUpdate", "symbol", DELETE),
    "account.balance": ("BalanceUpdate", "asset", DELETE),
    "reference.market": ("Market", "symbol", COMPACT),
    "market.ticker_1w": ("Ticker", "symbol", DELETE),
    "reference.asset": ("Asset", "symbol", COMPACT),
    "reference.collateral": ("Collateral", "symbol", COMPACT),
    "reference.borrow_lend_market": ("BorrowLendMarket", "symbol", COMPACT),
    "reference.borrow_lend_apy": ("BorrowLendApy", "symbol", COMPACT),
    "reference.staking_apy": ("StakingApy", "symbol", COMPACT),
    "reference.prediction_event": ("PredictionEvent", "slug", COMPACT),
    "reference.prediction_tag": ("PredictionTag", "slug", COMPACT),
    "reference.market_session": ("MarketSession", "name", COMPACT),
    "reference.security": ("Security", "symbol", COMPACT),
    "reference.vault": ("Vault", "vault_id", COMPACT),
    "reference.wallet": ("Wallet", "blockchain/address", COMPACT),
    "reference.system_status": ("SystemStatus", "name", COMPACT),
    "history.borrow_lend_market": ("BorrowLendHistory", "symbol", DELETE),
    "history.vault": ("VaultHistory", "vault_id", DELETE),
    "ops.watermark": ("Watermark", "producer instance", DELETE),
    "ops.book_audit": ("BookAudit", "symbol", DELETE),
    "ops.gap": ("Gap", "symbol", DELETE),
    "ops.stream_status": ("StreamStatus", "stream name", COMPACT),
    "ops.dead_letter": ("DeadLetter", "source", DELETE),
}

every_topic = pytest.mark.parametrize("each", TOPICS, ids=lambda each: each.name)


def test_the_topics_are_those_of_the_contract() -> None:
    declared = {each.name: (each.record, each.key, each.cleanup) for each in TOPICS}
    assert {name: declared[name] for name in CONTRACT} == CONTRACT
    assert len(declared) == len(TOPICS)


@every_topic
def test_each_topic_has_an_existing_record_type(each: Topic) -> None:
    assert each.record in own_schemas()
    assert each.partitions >= 1


def test_every_record_has_a_topic() -> None:
    assert {each.record for each in TOPICS} == set(own_schemas())


@every_topic
def test_compacted_topics_have_no_retention_and_all_others_have_one(each: Topic) -> None:
    config = each.config()
    assert config["cleanup.policy"] == each.cleanup
    assert ("retention.ms" in config) == (each.cleanup != COMPACT)
    assert all(isinstance(value, str) for value in config.values())


@every_topic
def test_records_keep_their_timestamp_whatever_the_clusters_default(each: Topic) -> None:
    config = each.config()
    assert config["message.timestamp.type"] == "CreateTime"
    stamping = Existing(each.partitions, {}, config | {"message.timestamp.type": "LogAppendTime"})
    assert plan(each, "", stamping) == [Change(each.name, "set config", "message.timestamp.type=CreateTime")]


@pytest.mark.parametrize("name", ["market.depth", "ops.watermark"])
def test_depth_and_its_proofs_are_kept_for_seven_days(name: str) -> None:
    assert topic(name).config()["retention.ms"] == str(7 * DAY_MILLIS)


@every_topic
@pytest.mark.parametrize("prefix", ["backpack.", "", "test.team-1."])
def test_a_topic_is_found_with_and_without_its_prefix(each: Topic, prefix: str) -> None:
    assert topic(each.name) is each
    assert topic_of_full_name(each.full_name(prefix), prefix) is each
    assert topic_of_full_name(each.name, prefix) is each


def test_an_unknown_topic_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(UsageError, match=r"market\.depht.*market\.depth"):
        topic("market.depht")
    with pytest.raises(UsageError, match=r"backpack\.market\.depht.*backpack\.market\.depth"):
        topic_of_full_name("backpack.market.depht", "backpack.")


# ---- the changes to Kafka

config_values = st.dictionaries(
    st.sampled_from(["cleanup.policy", "retention.ms", "message.timestamp.after.max.ms", "max.compaction.lag.ms", "segment.bytes"]),
    st.sampled_from(["delete", "compact", "1", "604800000"]),
)  # fmt: skip
existing_topics = st.one_of(
    st.none(),
    st.builds(
        lambda count, own, others: Existing(count, own, others | own), st.integers(1, 30), config_values, config_values
    ),
)


def carried_out(each: Topic, existing: Existing | None, changes: list[Change]) -> Existing:
    """Kafka after the changes, as its protocol defines them."""
    for change in changes:
        if change.action == "create" or existing is None:
            assert change.action == "create"
            existing = Existing(each.partitions, each.config(), {"segment.bytes": "1"} | each.config())
        elif change.action == "add partitions":
            existing = Existing(each.partitions, existing.own_config, existing.effective_config)
        else:
            own = existing.own_config | each.config()
            existing = Existing(existing.partitions, own, existing.effective_config | own)
    assert existing is not None
    return existing


@given(st.sampled_from(TOPICS), existing_topics)
def test_after_a_plan_is_applied_nothing_is_left_to_do(each: Topic, existing: Existing | None) -> None:
    changes = plan(each, "backpack.", existing)
    after = carried_out(each, existing, changes)
    assert plan(each, "backpack.", after) == []
    assert after.partitions >= each.partitions
    assert all(after.effective_config[key] == value for key, value in each.config().items())


@given(st.sampled_from(TOPICS), existing_topics)
def test_a_plan_never_removes_anything(each: Topic, existing: Existing | None) -> None:
    changes = plan(each, "backpack.", existing)
    assert {change.action for change in changes} <= {"create", "add partitions", "set config"}
    assert {change.topic for change in changes} <= {"backpack." + each.name}
    after = carried_out(each, existing, changes)
    if existing is not None:
        assert after.partitions >= existing.partitions
        assert existing.own_config.keys() <= after.own_config.keys()


def test_a_missing_topic_is_only_created() -> None:
    each = topic("market.depth")
    assert plan(each, "x.", None) == [Change("x.market.depth", "create", f"{each.partitions} partitions, delete")]


def test_more_partitions_than_declared_are_left_alone() -> None:
    each = topic("market.depth")
    assert plan(each, "", Existing(each.partitions + 1, {}, each.config())) == []


def test_a_plan_describes_its_changes() -> None:
    each = topic("market.depth")
    changes = plan(each, "", Existing(1, {}, each.config() | {"retention.ms": "5"}))
    assert [change.action for change in changes] == ["add partitions", "set config"]
    assert changes[0].detail == f"1 to {each.partitions}"
    assert changes[1].detail == f"retention.ms={7 * DAY_MILLIS}"
