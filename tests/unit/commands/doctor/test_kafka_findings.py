"""Findings about Kafka: logins told apart, topics compared with their declaration, and each missing ACL named."""

from dataclasses import replace

import pytest
from aiokafka.errors import (
    IllegalSaslStateError,
    KafkaConnectionError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from backpack_streams.bus.access import ACCESS, RUNNING, Grant, Operation, Resource, grants
from backpack_streams.bus.admin import Existing
from backpack_streams.bus.inspection import BrokerPlace, PartitionPlace, SeenCluster, SeenGroup, SeenTopic
from backpack_streams.bus.topics import Topic, topic
from backpack_streams.commands.doctor import kafka_findings as judge
from backpack_streams.commands.doctor.findings import State, Verdict

ALL = frozenset(Operation)
BROKERS = tuple(BrokerPlace(node, f"k{node}", 9092) for node in (1, 2, 3))
TRADE, GAP = topic("market.trade"), topic("ops.gap")
PLACE = PartitionPlace(0, 1, (1, 2, 3), (1, 2, 3))


def seen(of: Topic, prefix: str = "p.") -> SeenTopic:
    return SeenTopic(of.full_name(prefix), "", tuple(PLACE._replace(number=n) for n in range(of.partitions)), ALL)


def cluster(*topics: SeenTopic) -> SeenCluster:
    return SeenCluster("id", BROKERS, {each.name: each for each in topics}, ALL)


def existing(of: Topic, **config: str) -> Existing:
    effective = of.config() | {"min.insync.replicas": "2", "max.message.bytes": "1048588"}
    return Existing(of.partitions, {}, effective | {name.replace("_", "."): value for name, value in config.items()})


@pytest.mark.parametrize(
    ("protocol", "error", "tls", "asked", "found", "todo"),
    [
        ("SASL_SSL", SaslAuthenticationFailed("no"), False, [], "refuses the user or the password", "password-file"),
        ("SASL_SSL", UnsupportedSaslMechanismError("x"), False, ["PLAIN"], "does not support this mechanism", "PLAIN"),
        ("PLAINTEXT", KafkaConnectionError("closed"), True, [], "uses TLS", "SSL"),
        ("PLAINTEXT", KafkaConnectionError("closed"), False, ["PLAIN"], "requires a login (PLAIN)", "SASL_PLAINTEXT"),
        ("SSL", KafkaConnectionError("closed"), False, ["PLAIN"], "requires a login", "SASL_SSL"),
        ("SASL_SSL", IllegalSaslStateError("x"), False, [], "expects no login", "without SASL_"),
        ("PLAINTEXT", TimeoutError(), False, [], "does not answer", "--security-protocol"),
        ("PLAINTEXT", KafkaConnectionError("closed"), False, [], "closes the connection (", "log says why"),
        (
            "PLAINTEXT",
            ConnectionResetError(),
            False,
            [],
            "closes the connection (ConnectionResetError)",
            "log says why",
        ),
        ("PLAINTEXT", AssertionError(), False, [], "not Kafka (AssertionError)", "--bootstrap-servers"),
    ],
)
def test_failed_logins_are_told_apart(
    protocol: str, error: Exception, tls: bool, asked: list[str], found: str, todo: str
) -> None:
    verdict = judge.judge_login(protocol, error, "me", tls, asked)
    assert verdict.state is State.FAIL
    assert found in verdict.found
    assert todo in verdict.todo


def test_a_login_names_its_user() -> None:
    assert judge.judge_login("SASL_SSL", None, "me", False, []) == (State.OK, "as me", "")
    assert judge.judge_login("PLAINTEXT", None, "", False, []).found == "no login required"


def test_brokers_that_advertise_unreachable_addresses_are_named() -> None:
    assert judge.judge_brokers(cluster(), {1, 2, 3}) == (State.OK, "3 brokers, cluster id", "")
    away = judge.judge_brokers(cluster(), {1, 3})
    assert away.state is State.FAIL
    assert "k2:9092 (broker 2)" in away.found
    assert "advertised.listeners" in away.todo


def test_missing_and_hidden_topics_are_told_apart() -> None:
    def presence(error: str) -> Verdict:
        gap = seen(GAP)._replace(error=error, partitions=())
        return judge.judge_presence((TRADE, GAP), "p.", cluster(seen(TRADE), gap))

    assert presence("") == (State.OK, "2 exist", "")
    missing = presence("UnknownTopicOrPartitionError")
    assert (missing.state, missing.found) == (State.FAIL, "1 of 2 are missing: p.ops.gap")
    assert "topics apply" in missing.todo
    assert presence("TopicAuthorizationFailedError").state is State.SKIPPED


def test_partitions_are_compared_with_the_declaration() -> None:
    def partitions(of: SeenTopic) -> Verdict:
        return judge.judge_partitions((TRADE,), "p.", cluster(of))

    good = seen(TRADE)
    assert partitions(good).state is State.OK
    assert partitions(good._replace(partitions=good.partitions * 2)).state is State.OK, "more than declared do no harm"
    fewer = partitions(good._replace(partitions=good.partitions[:1]))
    assert (fewer.state, "p.market.trade (1 of 4)" in fewer.found) == (State.WARN, True)
    headless = partitions(good._replace(partitions=(PLACE._replace(leader=-1), *good.partitions[1:])))
    assert (headless.state, headless.found) == (State.FAIL, "no leader: p.market.trade-0")
    assert partitions(good._replace(partitions=())).state is State.SKIPPED


@pytest.mark.parametrize(
    ("replicas", "in_sync", "least", "state", "found"),
    [
        (3, 3, "2", State.OK, "in-sync"),
        (3, 2, "2", State.OK, "in-sync"),
        (3, 1, "2", State.FAIL, "1 in-sync replicas and needs 2"),
        (1, 1, "2", State.FAIL, "writing is impossible"),
        (1, 1, "1", State.WARN, "one replica"),
        (3, 3, "1", State.WARN, "may be on a single broker"),
    ],
)
def test_replicas_and_in_sync_replicas_are_judged(
    replicas: int, in_sync: int, least: str, state: State, found: str
) -> None:
    places = (PLACE, PartitionPlace(1, 1, tuple(range(replicas)), tuple(range(in_sync))))
    topics = cluster(seen(TRADE)._replace(partitions=places), seen(GAP))
    configs = {"p.market.trade": existing(TRADE, min_insync_replicas=least), "p.ops.gap": existing(GAP)}
    verdict = judge.judge_replicas(topics, configs)
    assert verdict.state is state
    assert found in verdict.found


def test_one_broker_has_one_replica_whatever_is_set() -> None:
    alone = replace_brokers(cluster(seen(TRADE)._replace(partitions=(PartitionPlace(0, 1, (1,), (1,)),))), 1)
    verdict = judge.judge_replicas(alone, {"p.market.trade": existing(TRADE, min_insync_replicas="1")})
    assert (verdict.state, verdict.found) == (State.WARN, "one broker: each record has one replica")


def replace_brokers(of: SeenCluster, count: int) -> SeenCluster:
    return of._replace(brokers=BROKERS[:count])


def test_topic_configs_are_compared_with_the_declaration() -> None:
    def configs(of: Existing, *hidden: str) -> Verdict:
        return judge.judge_configs((TRADE,), "p.", {"p.market.trade": of}, hidden)

    assert configs(existing(TRADE)).state is State.OK
    other = configs(existing(TRADE, retention_ms="1"))
    assert (other.state, "retention.ms=604800000" in other.found) == (State.WARN, True)
    assert configs(existing(TRADE, max_message_bytes="1000")).state is State.FAIL
    stamped = configs(existing(TRADE, message_timestamp_type="LogAppendTime"))
    assert (stamped.state, "CreateTime" in stamped.found, "topics apply" in stamped.todo) == (State.FAIL, True, True)
    assert configs(existing(TRADE), "p.ops.gap").state is State.SKIPPED
    fewer_partitions = replace(existing(TRADE), partitions=1)
    assert configs(fewer_partitions).state is State.OK, "that is told of by itself"


def test_compression_is_judged_by_what_this_installation_can_read() -> None:
    def compression(*unusable: str, **config: str) -> Verdict:
        topics = {"p.ops.gap": existing(GAP), "p.market.trade": existing(TRADE, **config)}
        return judge.judge_compression(topics, unusable)

    assert compression().state is State.OK
    read = compression(compression_type="zstd")
    assert (read.state, "zstd on p.market.trade; this installation reads it" in read.found) == (State.OK, True)
    unread = compression("lz4", "zstd", compression_type="zstd")
    assert (unread.state, "cannot read zstd" in unread.found, "lz4" in unread.found) == (State.FAIL, True, False)
    assert compression("zstd", compression_type="gzip").state is State.WARN, (
        "another writer may choose what we cannot read"
    )
    assert compression(compression_type="uncompressed").state is State.OK
    assert judge.judge_compression({}, ()).state is State.SKIPPED


def granted(part: str, missing: Grant | None = None) -> tuple[SeenCluster, SeenGroup]:
    """A cluster that allows exactly what a part needs, except for one ACL, as Kafka would report it."""
    topics: dict[str, set[Operation]] = {}
    for grant in grants(part, "p.", "g"):
        allowed = topics.setdefault(grant.name, set())
        if grant != missing:
            allowed |= {grant.operation, Operation.DESCRIBE}
    rights = {name: frozenset(allowed) for name, allowed in topics.items()}
    hidden = "TopicAuthorizationFailedError"
    found = {name: SeenTopic(name, "" if allowed else hidden, (PLACE,), allowed) for name, allowed in rights.items()}
    group = rights.get("g", ALL)
    seen_group = SeenGroup("g", "" if group else "GroupAuthorizationFailedError", group)
    return SeenCluster("id", BROKERS, found, rights.get("kafka-cluster", frozenset())), seen_group


@pytest.mark.parametrize("part", ACCESS)
def test_the_granted_acls_are_enough_and_each_missing_one_is_named(part: str) -> None:
    assert judge.judge_rights(part, "p.", "g", *granted(part)).state is State.OK
    for grant in grants(part, "p.", "g"):
        # Permission to read or write implies describe.
        alone = grant.operation is not Operation.DESCRIBE or part != "topics"
        verdict = judge.judge_rights(part, "p.", "g", *granted(part, grant))
        if not alone or not grant.is_needed:
            assert verdict.state is State.OK
            continue
        assert verdict.state is State.FAIL, grant
        assert grant.operation.value in verdict.found
        assert grant.name in verdict.found
        assert part in verdict.todo


def test_acls_that_brokers_do_not_report_are_not_judged() -> None:
    brokers_of_old, _ = granted("reader")
    untold = {name: each._replace(rights=None) for name, each in brokers_of_old.topics.items()}
    assert judge.judge_rights("reader", "p.", "g", brokers_of_old._replace(topics=untold), None).state is State.SKIPPED
    missing = {name: each._replace(error="UnknownTopicOrPartitionError") for name, each in untold.items()}
    assert judge.judge_rights("reader", "p.", "g", brokers_of_old._replace(topics=missing), None).state is State.SKIPPED
    group_away = judge.judge_rights("book-builder", "p.", "g", granted("book-builder")[0], None)
    assert group_away.state is State.SKIPPED


def test_the_checked_topics_are_those_of_the_parts() -> None:
    assert {each.name for each in judge.topics_of(["perp-producer"], "p.")} == {
        *("perp.mark_price", "perp.open_interest", "perp.liquidation"),
        *("ops.gap", "ops.dead_letter", "ops.stream_status", "ops.watermark"),
    }
    assert not any(each.name.startswith("account.") for each in judge.topics_of(RUNNING, "p."))
    assert Resource.GROUP in {each.resource for part in RUNNING for each in grants(part, "p.")}
