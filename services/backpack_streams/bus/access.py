"""The least privileges each part needs in Kafka, as one table. `topics acls` prints it and `doctor` checks it.

In Kafka, `Read` and `Write` imply `Describe`, and `AlterConfigs` implies `DescribeConfigs`, so the table never lists
the implied one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from backpack_streams.bus.topics import TOPICS

__all__ = [
    "ACCESS",
    "BOOK_BUILDER_GROUP",
    "CLUSTER_NAME",
    "RUNNING",
    "Access",
    "Grant",
    "Operation",
    "Resource",
    "checked_services",
    "grants",
]

BOOK_BUILDER_GROUP = "backpack-streams-book-builder"


class Operation(StrEnum):
    """An ACL operation, spelled as `kafka-acls.sh` spells it."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    ALTER = "Alter"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"
    ALTER_CONFIGS = "AlterConfigs"


class Resource(StrEnum):
    """The kind of resource that an ACL protects."""

    TOPIC = "topic"
    GROUP = "group"
    CLUSTER = "cluster"


CLUSTER_NAME = "kafka-cluster"
"""The resource name that Kafka uses in ACLs on the whole cluster."""


class Grant(NamedTuple):
    """One operation on one resource.

    Attributes:
        resource: the kind of resource.
        name: the full topic name, the group id, or `CLUSTER_NAME`.
        operation: the operation to allow.
        is_needed: whether the part fails without the grant. If False, it works with reduced accuracy.
    """

    resource: Resource
    name: str
    operation: Operation
    is_needed: bool = True


def _named(*beginnings: str) -> tuple[str, ...]:
    return tuple(topic.name for topic in TOPICS if topic.name.startswith(beginnings))


_GAPS = "ops.gap"
_REPORTS = (_GAPS, "ops.dead_letter", "ops.stream_status")
_MARKET_STREAMS = (
    *_named("market.depth"),
    "market.book_ticker",
    "market.trade",
    "market.ticker",
    "market.kline",
    "market.external_ticker",
    "market.stock_price",
)
_PERP_STREAMS = ("perp.mark_price", "perp.open_interest", "perp.liquidation")
_ACCOUNT_STREAMS = _named("account.")
_HISTORIES = (*_named("history."), "perp.funding_rate")
_REFILLED = ("market.trade", "market.kline")
_LAST_VALUES = ("market.ticker", "market.ticker_1w", "perp.mark_price", "perp.open_interest")
_WATERMARKS = "ops.watermark"
_FOR_ACCOUNTS = "account-reader"


@dataclass(frozen=True, slots=True)
class Access:
    """What one part does in Kafka. Topics are named without the prefix.

    Attributes:
        summary: one line for the printed table.
        reads: the topics it reads.
        writes: the topics it writes.
        manages: whether it creates topics and changes their partitions and configs.
        in_group: whether it is a member of the book-builder's consumer group.
    """

    summary: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    manages: bool = False
    in_group: bool = False


ACCESS: Mapping[str, Access] = {
    "topics": Access("`topics apply`: creates topics and corrects their configs", manages=True),
    "market-producer": Access(
        "writes its streams; reads the ends of their topics at startup",
        reads=(*_MARKET_STREAMS, _WATERMARKS, _GAPS),
        writes=(*_MARKET_STREAMS, _WATERMARKS, *_REPORTS),
    ),
    "perp-producer": Access(
        "writes its streams; reads the ends of their topics at startup",
        reads=(*_PERP_STREAMS, _WATERMARKS, _GAPS),
        writes=(*_PERP_STREAMS, _WATERMARKS, *_REPORTS),
    ),
    "account-producer": Access(
        "writes the account's streams; reads the ends of their topics at startup",
        reads=(*_ACCOUNT_STREAMS, _WATERMARKS, _GAPS),
        writes=(*_ACCOUNT_STREAMS, _WATERMARKS, *_REPORTS),
    ),
    "rest-poller": Access(
        "writes snapshots, refills and catalogues; reads gaps, audit requests and the offsets at which snapshots apply",
        reads=(
            *_named("reference."),
            *_HISTORIES,
            *_REFILLED,
            "market.depth",
            "market.book_snapshot",
            "ops.gap",
            "ops.book_audit",
            _WATERMARKS,
        ),
        writes=(*_named("reference."), *_HISTORIES, *_REFILLED, *_LAST_VALUES, "market.book_snapshot", *_REPORTS),
    ),
    "book-builder": Access(
        "reads depth updates; writes checkpoints, tops of book and audits",
        reads=(
            "market.depth",
            "market.book_snapshot",
            "market.book_top",
            "market.trade",
            "reference.market",
            "ops.gap",
            "ops.book_audit",
            _WATERMARKS,
        ),
        writes=("market.book_snapshot", "market.book_top", "ops.book_audit", *_REPORTS),
        in_group=True,
    ),
    "backfill": Access(
        "`backfill`: writes history and its own progress",
        reads=(*_REFILLED, "perp.funding_rate", "ops.stream_status"),
        writes=(*_REFILLED, "perp.funding_rate", *_REPORTS),
    ),
    "gateway": Access(
        "answers from what it reads, and writes nothing",
        reads=(
            "market.depth",
            "market.book_snapshot",
            "market.trade",
            "market.ticker",
            "market.kline",
            *_PERP_STREAMS,
            "reference.market",
            _GAPS,
            "ops.book_audit",
            "ops.stream_status",
            _WATERMARKS,
        ),
    ),
    "reader": Access(
        "the consumer library, `book`, `tail`, `top`, `audit`, `export`: reads everything except the account",
        reads=tuple(topic.name for topic in TOPICS if topic.name not in _ACCOUNT_STREAMS),
    ),
    _FOR_ACCOUNTS: Access("a reader of the account's records", reads=(*_ACCOUNT_STREAMS, _WATERMARKS)),
}
"""By part. A service has the name of its command."""

RUNNING = ("market-producer", "perp-producer", "rest-poller", "book-builder", "reader")
"""The parts of an installation without an account: the ones that `doctor` checks by default."""

_MANAGES = (Operation.CREATE, Operation.DESCRIBE, Operation.ALTER, Operation.ALTER_CONFIGS)


def grants(part: str, prefix: str, group_id: str = BOOK_BUILDER_GROUP) -> Iterator[Grant]:
    """Yield the grants that a part needs, each once.

    Args:
        part: a key of `ACCESS`.
        prefix: the topic prefix, e.g. `backpack.`.
        group_id: the book-builder's consumer group.

    Raises:
        KeyError: `ACCESS` has no such part.
    """
    access = ACCESS[part]
    wanted = [
        *((name, Operation.READ) for name in access.reads),
        *((name, Operation.WRITE) for name in access.writes),
    ]
    if access.manages:
        wanted += [(topic.name, operation) for topic in TOPICS for operation in _MANAGES]
        # Without it, the broker count stands in for the brokers' default replication factor.
        yield Grant(Resource.CLUSTER, CLUSTER_NAME, Operation.DESCRIBE_CONFIGS, is_needed=False)
    for name, operation in dict.fromkeys(wanted):
        yield Grant(Resource.TOPIC, prefix + name, operation)
    if access.in_group:
        yield Grant(Resource.GROUP, group_id, Operation.READ)


def checked_services(value: tuple[str, ...]) -> tuple[str, ...]:
    """Return the named services of the table of ACLs, each once.

    Raises:
        ValueError: no service is named, or there is no such service.
    """
    for name in value:
        if name not in ACCESS:
            raise ValueError(f"there is no service {name[:60]!r}; there are {', '.join(ACCESS)}")
    if not value:
        raise ValueError(f"no service is named; there are {', '.join(ACCESS)}")
    return tuple(dict.fromkeys(value))
