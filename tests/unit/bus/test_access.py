"""The table of ACLs names exactly what the services' own tables name, and its command lines grant all of it."""

import argparse
import shlex

import pytest

from backpack_streams.account_producer.service import STREAM_SPECS as ACCOUNT_STREAM_SPECS
from backpack_streams.books.joining import DEPTH_TOPIC, GAP_TOPIC, MARKET_TOPIC, SNAPSHOT_TOPIC
from backpack_streams.bus.access import ACCESS, CLUSTER_NAME, Grant, Operation, Resource, grants
from backpack_streams.bus.acl_commands import acl_commands
from backpack_streams.bus.topics import TOPICS
from backpack_streams.commands.backfill.command import TOPICS as BACKFILLED
from backpack_streams.feed import what_kafka_has
from backpack_streams.feed.stream_spec import StreamSpec
from backpack_streams.gateway.record_feed import NEWEST_TOPICS, TAILS
from backpack_streams.market_producer.service import STREAM_SPECS as MARKET_STREAM_SPECS
from backpack_streams.perp_producer.service import STREAM_SPECS as PERP_STREAM_SPECS
from backpack_streams.publishing.publishing import REPORT_TOPICS
from backpack_streams.rest_poller.catalogue import endpoints
from backpack_streams.rest_poller.refiller import TOPICS as REFILLED
from backpack_streams.rest_poller.settings import RestPollerSettings

WATERMARKS = "ops.watermark"
GAPS = what_kafka_has.GAPS


def names(part: str, operation: Operation) -> set[str]:
    return {
        each.name.removeprefix("p.")
        for each in grants(part, "p.")
        if each.resource is Resource.TOPIC and each.operation is operation
    }


@pytest.mark.parametrize(
    ("service", "specs"),
    [
        ("market-producer", MARKET_STREAM_SPECS),
        ("perp-producer", PERP_STREAM_SPECS),
        ("account-producer", ACCOUNT_STREAM_SPECS),
    ],
)
def test_a_producer_writes_and_reads_its_streams_watermarks_and_gaps_and_writes_reports(
    service: str, specs: tuple[StreamSpec, ...]
) -> None:
    streams = {topic for spec in specs for topic in spec.topics.values()}
    assert names(service, Operation.READ) == streams | {WATERMARKS, GAPS}
    assert names(service, Operation.WRITE) == streams | {WATERMARKS} | set(REPORT_TOPICS)


def test_the_poller_writes_its_catalogue_its_refills_and_snapshots() -> None:
    catalogue = {each.topic for each in endpoints(RestPollerSettings())}
    written = names("rest-poller", Operation.WRITE)
    assert written == catalogue | set(REFILLED) | set(REPORT_TOPICS) | {"market.book_snapshot"}


def test_a_backfill_writes_its_topics() -> None:
    assert names("backfill", Operation.WRITE) == set(BACKFILLED.values()) | set(REPORT_TOPICS)


def test_the_gateway_reads_the_topics_of_its_feeds_and_of_books_and_writes_nothing() -> None:
    of_records = {*NEWEST_TOPICS, *TAILS, MARKET_TOPIC, WATERMARKS}
    assert names("gateway", Operation.READ) == of_records | {DEPTH_TOPIC, SNAPSHOT_TOPIC, GAP_TOPIC}
    assert not names("gateway", Operation.WRITE)


def test_readers_write_nothing_and_together_read_all_topics() -> None:
    everything, account = names("reader", Operation.READ), names("account-reader", Operation.READ)
    assert everything | account == {topic.name for topic in TOPICS}
    assert everything & account == {WATERMARKS}
    assert not names("reader", Operation.WRITE) | names("account-reader", Operation.WRITE)


def test_services_with_books_read_watermarks_and_only_producers_write_them() -> None:
    readers = {part for part in ACCESS if WATERMARKS in names(part, Operation.READ)}
    writers = {part for part in ACCESS if WATERMARKS in names(part, Operation.WRITE)}
    assert writers == {"market-producer", "perp-producer", "account-producer"}
    assert readers == writers | {"book-builder", "gateway", "reader", "account-reader", "rest-poller"}


def test_only_topics_creates_or_alters() -> None:
    managing = {Operation.CREATE, Operation.ALTER, Operation.ALTER_CONFIGS, Operation.DESCRIBE_CONFIGS}
    assert {part for part in ACCESS if {each.operation for each in grants(part, "")} & managing} == {"topics"}


@pytest.mark.parametrize("part", ACCESS)
def test_each_grant_is_named_once(part: str) -> None:
    needed = list(grants(part, "p."))
    assert len(needed) == len(set(needed))


def said_by(line: str) -> set[tuple[str, Grant]]:
    """The grants of a command line, by principal."""
    parser = argparse.ArgumentParser()
    for flag in ("--operation", "--topic", "--group"):
        parser.add_argument(flag, action="append", default=[])
    for flag in ("--add", "--cluster"):
        parser.add_argument(flag, action="store_true")
    for flag in ("--bootstrap-server", "--command-config", "--allow-principal"):
        parser.add_argument(flag)
    script, *words = shlex.split(line)
    said = parser.parse_args(words)
    assert script == "kafka-acls.sh"
    assert said.add
    resources = [(Resource.TOPIC, name) for name in said.topic] + [(Resource.GROUP, name) for name in said.group]
    resources += [(Resource.CLUSTER, CLUSTER_NAME)] if said.cluster else []
    return {
        (said.allow_principal, Grant(*resource, Operation(operation)))
        for resource in resources
        for operation in said.operation
    }


@pytest.mark.parametrize("part", ACCESS)
def test_the_command_lines_contain_every_grant_and_nothing_else(part: str) -> None:
    needed = list(grants(part, "our own.", "a group's"))
    lines = list(acl_commands("User:CN=some one", needed, "k:9092", with_client_config=True))
    said = set().union(*map(said_by, lines))
    assert said == {("User:CN=some one", each._replace(is_needed=True)) for each in needed}
    assert len(lines) < len(needed) or len(needed) == 1
