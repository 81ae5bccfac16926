"""What each part may do in Kafka, as one table: the least that it works with. `topics acls` prints it, `doctor` looks for it.

`Read` and `Write` bring `Describe` with them, `AlterConfigs` brings `DescribeConfigs`: Kafka's own rule, so neither is listed beside it.
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
    "grants",
]

BOOK_BUILDER_GROUP = "backpack-streams-book-builder"


class Operation(StrEnum):
    """What may be done with a resource, in the words of `kafka-acls.sh`."""

    READ = "Read"
    WRITE = "Write"
    CREATE = "Create"
    ALTER = "Alter"
    DESCRIBE = "Describe"
    DESCRIBE_CONFIGS = "DescribeConfigs"
    ALTER_CONFIGS = "AlterConfigs"


class Resource(StrEnum):
    """What is protected."""

    TOPIC = "topic"
    GROUP = "group"
    CLUSTER = "cluster"


CLUSTER_NAME = "kafka-cluster"
"""What Kafka calls itself in an ACL of the whole cluster."""


class Grant(NamedTuple):
    """One operation on one resource. `is_needed`: without it the part does not work; else it does a little less."""

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
    """What one part does: topics by name without the prefix. `manages`: it creates topics and sets them right."""

    summary: str
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    manages: bool = False
    in_group: bool = False


ACCESS: Mapping[str, Access] = {
    "topics": Access("`topics apply`: creates topics and sets them right", manages=True),
    "market-producer": Access(
        "writes its streams, and reads their ends at the start",
        reads=(*_MARKET_STREAMS, _WATERMARKS, _GAPS),
        writes=(*_MARKET_STREAMS, _WATERMARKS, *_REPORTS),
    ),
    "perp-producer": Access(
        "writes its streams, and reads their ends at the start",
        reads=(*_PERP_STREAMS, _WATERMARKS, _GAPS),
        writes=(*_PERP_STREAMS, _WATERMARKS, *_REPORTS),
    ),
    "account-producer": Access(
        "writes the account's streams, and reads their ends at the start",
        reads=(*_ACCOUNT_STREAMS, _WATERMARKS, _GAPS),
        writes=(*_ACCOUNT_STREAMS, _WATERMARKS, *_REPORTS),
    ),
    "rest-poller": Access(
        "writes seeds, refills and catalogues; reads what is missing, and where books go on from their seeds",
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
        "reads books' updates, writes checkpoints, tops and audits",
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
        "`backfill`: writes history, and where it stands",
        reads=(*_REFILLED, "perp.funding_rate", "ops.stream_status"),
        writes=(*_REFILLED, "perp.funding_rate", *_REPORTS),
    ),
    "reader": Access(
        "the consumer library, `book`, `tail`, `audit`, `export`: reads all but the account",
        reads=tuple(topic.name for topic in TOPICS if topic.name not in _ACCOUNT_STREAMS),
    ),
    _FOR_ACCOUNTS: Access("whoever may read the account's records", reads=(*_ACCOUNT_STREAMS, _WATERMARKS)),
}
"""By the part's name: a service is called as its command is."""

RUNNING = ("market-producer", "perp-producer", "rest-poller", "book-builder", "reader")
"""The parts of an installation without an account, which `doctor` looks at unless told otherwise."""

_MANAGES = (Operation.CREATE, Operation.DESCRIBE, Operation.ALTER, Operation.ALTER_CONFIGS)


def grants(part: str, prefix: str, group_id: str = BOOK_BUILDER_GROUP) -> Iterator[Grant]:
    """Every grant that a part of `ACCESS` needs, each once; topics by their full names."""
    access = ACCESS[part]
    wanted = [
        *((name, Operation.READ) for name in access.reads),
        *((name, Operation.WRITE) for name in access.writes),
    ]
    if access.manages:
        wanted += [(topic.name, operation) for topic in TOPICS for operation in _MANAGES]
        # Without it the number of brokers has to do for the default of the replication factor.
        yield Grant(Resource.CLUSTER, CLUSTER_NAME, Operation.DESCRIBE_CONFIGS, is_needed=False)
    for name, operation in dict.fromkeys(wanted):
        yield Grant(Resource.TOPIC, prefix + name, operation)
    if access.in_group:
        yield Grant(Resource.GROUP, group_id, Operation.READ)
