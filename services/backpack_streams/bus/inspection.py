"""Inspects the cluster, topics and granted operations without reading or writing a record.

aiokafka's requests predate the query for granted operations (KIP-430, Kafka 2.3), so the two requests that carry it are
defined here.
"""

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, NamedTuple

from aiokafka.conn import AIOKafkaConnection, create_conn
from aiokafka.errors import NoError, for_code
from aiokafka.protocol.admin import DescribeConfigsRequest, SaslHandShakeRequest
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.coordination import FindCoordinatorRequest
from aiokafka.protocol.types import Array, Boolean, Bytes, Int16, Int32, Schema, String

from backpack_streams.bus.access import Operation
from backpack_streams.bus.admin import Existing
from backpack_streams.bus.connection import KafkaConnection

__all__ = [
    "BrokerPlace",
    "PartitionPlace",
    "Rights",
    "SeenCluster",
    "SeenGroup",
    "SeenTopic",
    "logged_in",
    "mechanisms_of",
    "see_cluster",
    "see_configs",
    "see_group",
]

_TEXT = String("utf-8")
_TOPIC_RESOURCE = 2
_DYNAMIC_TOPIC_CONFIG = 1
_NOT_TOLD = -(2**31)
"""The broker's answer if it was not asked for granted operations, or does not support the query."""
_BITS = {
    3: Operation.READ,
    4: Operation.WRITE,
    5: Operation.CREATE,
    7: Operation.ALTER,
    8: Operation.DESCRIBE,
    10: Operation.DESCRIBE_CONFIGS,
    11: Operation.ALTER_CONFIGS,
}

Rights = frozenset[Operation]


class _MetadataResponse(Response):  # type: ignore[misc]  # aiokafka has no type hints
    API_KEY = 3
    API_VERSION = 8
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", Array(("node_id", Int32), ("host", _TEXT), ("port", Int32), ("rack", _TEXT))),
        ("cluster_id", _TEXT),
        ("controller_id", Int32),
        (
            "topics",
            Array(
                ("error_code", Int16),
                ("topic", _TEXT),
                ("is_internal", Boolean),
                (
                    "partitions",
                    Array(
                        ("error_code", Int16),
                        ("partition", Int32),
                        ("leader", Int32),
                        ("leader_epoch", Int32),
                        ("replicas", Array(Int32)),
                        ("isr", Array(Int32)),
                        ("offline_replicas", Array(Int32)),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
        ("cluster_authorized_operations", Int32),
    )


class _MetadataStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no type hints
    API_KEY = 3
    API_VERSION = 8
    RESPONSE_TYPE = _MetadataResponse
    SCHEMA = Schema(
        ("topics", Array(_TEXT)),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
    )


class _MetadataRequest(Request[_MetadataStruct]):  # type: ignore[misc]  # aiokafka has no type hints
    API_KEY = 3

    def __init__(self, topics: list[str]) -> None:
        self._topics = topics

    def build(self, request_struct_class: type[_MetadataStruct]) -> _MetadataStruct:
        """The request on the wire."""
        return request_struct_class(self._topics, False, True, True)


class _GroupsResponse(Response):  # type: ignore[misc]  # aiokafka has no type hints
    API_KEY = 15
    API_VERSION = 3
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "groups",
            Array(
                ("error_code", Int16),
                ("group", _TEXT),
                ("state", _TEXT),
                ("protocol_type", _TEXT),
                ("protocol", _TEXT),
                (
                    "members",
                    Array(
                        ("member_id", _TEXT),
                        ("client_id", _TEXT),
                        ("client_host", _TEXT),
                        ("member_metadata", Bytes),
                        ("member_assignment", Bytes),
                    ),
                ),
                ("authorized_operations", Int32),
            ),
        ),
    )


class _GroupsStruct(RequestStruct):  # type: ignore[misc]  # aiokafka has no type hints
    API_KEY = 15
    API_VERSION = 3
    RESPONSE_TYPE = _GroupsResponse
    SCHEMA = Schema(("groups", Array(_TEXT)), ("include_authorized_operations", Boolean))


class _GroupsRequest(Request[_GroupsStruct]):  # type: ignore[misc]  # aiokafka has no type hints
    API_KEY = 15

    def __init__(self, groups: list[str]) -> None:
        self._groups = groups

    def build(self, request_struct_class: type[_GroupsStruct]) -> _GroupsStruct:
        """The request on the wire."""
        return request_struct_class(self._groups, True)


class BrokerPlace(NamedTuple):
    """A broker and the address that it advertises to clients."""

    node_id: int
    host: str
    port: int


class PartitionPlace(NamedTuple):
    """The leader and replicas of one partition.

    Attributes:
        number: the partition.
        leader: the leader's node id, -1 if there is none.
        replicas: the node ids of all replicas.
        in_sync: the node ids of the in-sync replicas.
    """

    number: int
    leader: int
    replicas: tuple[int, ...]
    in_sync: tuple[int, ...]


class SeenTopic(NamedTuple):
    """A topic as one broker describes it.

    Attributes:
        name: the full topic name.
        error: Kafka's error name, empty if the broker describes the topic.
        partitions: its partitions.
        rights: the operations granted to this account, None if the broker does not report them.
    """

    name: str
    error: str
    partitions: tuple[PartitionPlace, ...]
    rights: Rights | None


class SeenCluster(NamedTuple):
    """The cluster as one broker describes it.

    Attributes:
        cluster_id: the cluster's id, empty if unknown.
        brokers: all live brokers.
        topics: by full name.
        rights: the operations on the cluster granted to this account, None if the broker does not report them.
    """

    cluster_id: str
    brokers: tuple[BrokerPlace, ...]
    topics: Mapping[str, SeenTopic]
    rights: Rights | None


class SeenGroup(NamedTuple):
    """A consumer group as its coordinator describes it.

    Attributes:
        name: the group id.
        error: Kafka's error name, empty if the coordinator describes the group.
        rights: the operations granted to this account, None if the coordinator does not report them.
    """

    name: str
    error: str
    rights: Rights | None


@asynccontextmanager
async def logged_in(
    connection: KafkaConnection, host: str, port: int, timeout_seconds: float
) -> AsyncIterator[AIOKafkaConnection]:
    """Open one connection to one broker, with TLS and login.

    Args:
        connection: how to log in.
        host: the broker's host.
        port: its port.
        timeout_seconds: the limit for each request on the connection.

    Raises:
        KafkaError, OSError, TimeoutError: the broker is unreachable or refuses.
        UsageError: a TLS file is unusable.
    """
    options = connection.client_options()
    del options["bootstrap_servers"]
    socket = await create_conn(host, port, request_timeout_ms=int(timeout_seconds * 1000), **options)
    try:
        yield socket
    finally:
        socket.close()


async def see_cluster(socket: AIOKafkaConnection, topics: Iterable[str]) -> SeenCluster:
    """Return the brokers, the topics given by full name, and the operations granted on them.

    Raises:
        KafkaError: the broker does not answer.
        IncompatibleBrokerVersion: it is older than Kafka 2.3.
    """
    answer = await socket.send(_MetadataRequest(list(topics)))
    seen = (
        SeenTopic(name, _error(code), tuple(_partition(each) for each in partitions), _rights(operations))
        for code, name, _, partitions, operations in answer.topics
    )
    return SeenCluster(
        answer.cluster_id or "",
        tuple(BrokerPlace(node, host, port) for node, host, port, _ in answer.brokers),
        {topic.name: topic for topic in seen},
        _rights(answer.cluster_authorized_operations),
    )


async def see_configs(socket: AIOKafkaConnection, topics: Iterable[SeenTopic]) -> tuple[dict[str, Existing], list[str]]:
    """Return the partitions and configs of existing topics by full name, and the names whose configs may not be read.

    Raises:
        KafkaError: the broker does not answer.
    """
    present = {topic.name: topic for topic in topics}
    if not present:
        return {}, []
    answer = await socket.send(DescribeConfigsRequest([(_TOPIC_RESOURCE, name, None) for name in present]))
    found, hidden = {}, []
    for code, _, _, name, entries in answer.resources:
        if code:
            hidden.append(name)
            continue
        # entry: name, value, read only, source, ...
        own = {entry[0]: entry[1] for entry in entries if entry[3] == _DYNAMIC_TOPIC_CONFIG}
        found[name] = Existing(len(present[name].partitions), own, {entry[0]: entry[1] for entry in entries})
    return found, hidden


async def see_group(
    connection: KafkaConnection, socket: AIOKafkaConnection, name: str, timeout_seconds: float
) -> SeenGroup:
    """Return the operations granted on a consumer group, which need not have members. Asks the group's coordinator.

    Raises:
        KafkaError, OSError, TimeoutError: a broker does not answer.
    """
    where = await socket.send(FindCoordinatorRequest(name, 0))
    if where.error_code:
        return SeenGroup(name, _error(where.error_code), None)
    async with logged_in(connection, where.host, where.port, timeout_seconds) as coordinator:
        [(code, *_, operations)] = (await coordinator.send(_GroupsRequest([name]))).groups
        return SeenGroup(name, _error(code), _rights(operations))


async def mechanisms_of(connection: KafkaConnection, host: str, port: int, timeout_seconds: float) -> list[str]:
    """Return the SASL mechanisms that a broker supports; empty if it requires no login. Sends no credentials.

    Raises:
        KafkaError, OSError, TimeoutError: the broker does not answer.
    """
    nameless = replace(
        connection,
        security_protocol=connection.security_protocol.removeprefix("SASL_"),
        sasl_mechanism=None,
        sasl_username=None,
        sasl_password=None,
        sasl_password_file=None,
        sasl_oauth_token_file=None,
    )
    async with logged_in(nameless, host, port, timeout_seconds) as socket:
        return list((await socket.send(SaslHandShakeRequest("NONE"))).enabled_mechanisms)


def _error(code: int) -> str:
    error = for_code(code)
    return "" if error is NoError else str(error.__name__)


def _rights(bits: int) -> Rights | None:
    return None if bits == _NOT_TOLD else frozenset(each for bit, each in _BITS.items() if bits >> bit & 1)


def _partition(answer: Any) -> PartitionPlace:
    _, number, leader, _, replicas, in_sync, _ = answer
    return PartitionPlace(number, leader, tuple(replicas), tuple(in_sync))
