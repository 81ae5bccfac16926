"""Kafka clients that find their cluster again after its brokers move. All clients of this project are made here.

aiokafka asks only known brokers for the brokers' addresses, so if all brokers move it asks dead addresses forever.
These clients return to the bootstrap addresses once no known broker has answered for a bounded time, as Java clients do
(KIP-899, KIP-1102). They also drop connections to a broker that has moved, and one unresponsive address does not delay
the others.
"""

import asyncio
import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable
from ssl import SSLContext
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient, ConnectionGroup
from aiokafka.cluster import ClusterMetadata
from aiokafka.conn import AIOKafkaConnection, CloseReason
from aiokafka.errors import KafkaConnectionError, KafkaError
from aiokafka.protocol.metadata import MetadataRequest

from backpack_streams.bus.compression import unusable_codecs
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.topic_ids import TopicIds, TopicIdsRequest
from backpack_streams.dialing import dial
from backpack_streams.errors import UsageError

__all__ = ["Admin", "Client", "Consumer", "Producer"]

logger = logging.getLogger(__name__)

_CONNECT_SECONDS = 10.0
"""Limit for connecting to one broker: name lookup, TCP, TLS and login (Java's `socket.connection.setup.timeout.ms`)."""
_ADDRESS_DELAY_SECONDS = 0.25
"""If one address of a name has not answered after this time, the next one is tried in parallel (RFC 8305, section 5)."""
_BROKER_SECONDS = 3.0
"""Limit for one broker's metadata answer. A long produce request on the same connection is answered first."""
_KNOWN_BROKERS_SECONDS = 10.0
"""Limit for all known brokers together; after it, the bootstrap addresses are asked."""
_FAILED_ROUND_SECONDS = 1.0
"""Minimum duration of a round without an answer, to spare brokers that are starting."""

_BrokerId = int | str


class Producer(AIOKafkaProducer):  # type: ignore[misc]  # aiokafka has no type hints
    """aiokafka's producer with a `Client` that finds its cluster again.

    Args:
        connection: how to reach Kafka, and the compression of what is written.
        options: aiokafka's options, except those that the connection sets.

    Raises:
        UsageError: this installation cannot write the connection's compression, or a file of the connection is
            unusable.
    """

    def __init__(self, connection: KafkaConnection, **options: Any) -> None:
        compression = connection.compression
        if compression in unusable_codecs():
            raise UsageError(
                f"this installation cannot write compression {compression}: install backpack-streams with its dependencies (cramjam)"
            )
        options["compression_type"] = None if compression == "none" else compression
        super().__init__(**connection.client_options(), **options)
        _replace_client(self.client, connection)


class Consumer(AIOKafkaConsumer):  # type: ignore[misc]  # aiokafka has no type hints
    """aiokafka's consumer with a `Client` that finds its cluster again. `options` are aiokafka's, except those that the
    connection sets.
    """

    def __init__(self, connection: KafkaConnection, **options: Any) -> None:
        super().__init__(**connection.client_options(), **options)
        _replace_client(self._client, connection)


class Admin(AIOKafkaAdminClient):  # type: ignore[misc]  # aiokafka has no type hints
    """aiokafka's admin client with a `Client` that finds its cluster again. `options` are aiokafka's, except those that
    the connection sets.
    """

    def __init__(self, connection: KafkaConnection, **options: Any) -> None:
        super().__init__(**connection.client_options(), **options)
        _replace_client(self._client, connection)


def _replace_client(client: AIOKafkaClient, connection: KafkaConnection) -> None:
    """Turn the client that aiokafka created into a `Client`: aiokafka's classes accept no other."""
    client.__class__ = Client
    client.connect_by(connection)


class Client(AIOKafkaClient):  # type: ignore[misc]  # aiokafka has no type hints
    """The connections of one producer, consumer or admin client, or of a caller that only inspects the cluster."""

    _request_timeout_ms: int
    _sync_task: "asyncio.Task[None] | None"

    def __init__(self, connection: KafkaConnection) -> None:
        super().__init__(**connection.client_options())
        self.connect_by(connection)

    def connect_by(self, connection: KafkaConnection) -> None:
        """Keep the bootstrap addresses as brokers with names of their own, so that they can be asked at any time."""
        self._connection = connection
        self._is_lost = False
        self.topic_ids = TopicIds()
        named = ClusterMetadata(bootstrap_servers=self._bootstrap_servers)
        self.cluster.config["bootstrap_servers"] = self._bootstrap_servers
        self.cluster._bootstrap_brokers = named._bootstrap_brokers
        self._opening: defaultdict[tuple[_BrokerId, ConnectionGroup], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def bootstrap(self) -> None:
        """Learn the brokers from the first bootstrap address that answers. Each address has `_CONNECT_SECONDS`.

        Raises:
            KafkaConnectionError: no address answers.
        """
        for node_id in self.cluster._bootstrap_brokers:
            address = "{0.host}:{0.port}".format(self.cluster.broker_metadata(node_id))
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    connection = await self._connect(node_id)
                    try:
                        answer = await connection.send(MetadataRequest([]))
                    finally:
                        connection.close()
            except (KafkaError, OSError, TimeoutError) as error:
                logger.error(
                    "a kafka bootstrap address does not answer", extra={"address": address, "error": repr(error)}
                )
                continue
            if answer.brokers:
                self.cluster.update_metadata(answer)
                break
        else:
            raise KafkaConnectionError(f"Unable to bootstrap from {self.hosts}")
        if self._sync_task is None:
            self._sync_task = asyncio.create_task(self._md_synchronizer(), name="kafka metadata")

    async def _metadata_update(self, cluster_metadata: ClusterMetadata, topics: Any) -> bool:
        """Refresh the brokers and partitions; returns False if nobody answers. Never raises, because that would end
        aiokafka's metadata task.
        """
        began = time.monotonic()
        request = MetadataRequest(list(topics) if topics else None)
        answer = await self._ask_known(request)
        if answer is None:
            answer = await self._ask_bootstrap(request)
            if answer is not None and cluster_metadata is not self.cluster:
                self.force_metadata_update()  # the answer went to the caller's own metadata object only
        if answer is None:
            cluster_metadata.failed_update(None)
            await asyncio.sleep(began + _FAILED_ROUND_SECONDS - time.monotonic())
            return False
        cluster_metadata.update_metadata(answer)
        if self.topic_ids.watched and cluster_metadata is self.cluster:
            ids = await self._ask(
                random.choice(answer.brokers)[0], TopicIdsRequest(self.topic_ids.watched), _BROKER_SECONDS
            )
            if ids is not None:
                self.topic_ids.learn(ids)
        return True

    async def _ask_known(self, request: MetadataRequest) -> Any:
        known = [broker.nodeId for broker in self.cluster.brokers() if not self.cluster.is_bootstrap(broker.nodeId)]
        random.shuffle(known)
        deadline = time.monotonic() + _KNOWN_BROKERS_SECONDS
        for node_id in known:
            seconds = min(_BROKER_SECONDS, deadline - time.monotonic())
            if seconds <= 0:
                break
            answer = await self._ask(node_id, request, seconds)
            if answer is not None:
                self._is_lost = False
                return answer
            self._leave_if_dead(node_id)
        return None

    async def _ask_bootstrap(self, request: MetadataRequest) -> Any:
        addresses = list(self.cluster._bootstrap_brokers)
        random.shuffle(addresses)
        for node_id in addresses:
            answer = await self._ask(node_id, request, _CONNECT_SECONDS)
            connection = self._conns.pop((node_id, ConnectionGroup.DEFAULT), None)
            if connection is not None:
                connection.close()
            if answer is not None:
                brokers = sorted(f"{host}:{port}" for _, host, port, *_ in answer.brokers)
                logger.info("no known kafka broker answered; a bootstrap address did", extra={"brokers": brokers})
                self._is_lost = False
                return answer
        if not self._is_lost:  # once: it is asked again every second
            logger.warning("neither known kafka brokers nor bootstrap addresses answer; trying again")
        self._is_lost = True
        return None

    async def _ask(self, node_id: _BrokerId, request: MetadataRequest | TopicIdsRequest, seconds: float) -> Any:
        """Return a broker's answer, None if it does not answer in time or names no broker, as a starting broker does."""
        try:
            async with asyncio.timeout(seconds):
                answer = await self.send(node_id, request)
        except (KafkaError, TimeoutError):
            return None
        return answer if answer.brokers else None

    def _leave_if_dead(self, node_id: _BrokerId) -> None:
        """Close a connection that has been silent for the request timeout although a request was just sent on it."""
        connection = self._conns.get((node_id, ConnectionGroup.DEFAULT))
        if connection is not None and time.monotonic() - connection._last_action > self._request_timeout_ms / 1000:
            connection.close(reason=CloseReason.CONNECTION_TIMEOUT)

    async def send(self, node_id: _BrokerId, request: Any, *, group: ConnectionGroup = ConnectionGroup.DEFAULT) -> Any:
        """Send a request and return the broker's answer.

        Raises:
            KafkaError: there is no answer, whatever the reason: aiokafka's tasks survive no other exception.
        """
        try:
            return await super().send(node_id, request, group=group)
        except KafkaError:
            raise
        except Exception as error:
            logger.error("asking a kafka broker failed", extra={"broker": node_id, "error": repr(error)})
            raise KafkaConnectionError(f"broker {node_id}: {error!r}") from error

    async def _get_conn(
        self, node_id: _BrokerId, *, group: ConnectionGroup = ConnectionGroup.DEFAULT, no_hint: bool = False
    ) -> AIOKafkaConnection | None:
        """Return the connection to a broker, opening one if needed; None if that fails. Attempts to reach other brokers
        run in parallel.
        """
        key = node_id, group
        connection = self._usable(key)
        if connection is not None:
            return connection
        try:
            async with asyncio.timeout(_CONNECT_SECONDS), self._opening[key]:
                connection = self._usable(key)
                if connection is None:
                    connection = self._conns[key] = await self._connect(node_id)
                return connection
        except (KafkaError, OSError, TimeoutError) as error:
            logger.info("kafka broker is unreachable", extra={"broker": node_id, "error": repr(error)})
            self.force_metadata_update()  # the known address may be outdated
            return None

    def _usable(self, key: tuple[_BrokerId, ConnectionGroup]) -> AIOKafkaConnection | None:
        """Return the open connection, unless it was closed or the broker has moved to another address."""
        connection = self._conns.get(key)
        if connection is None:
            return None
        broker = self.cluster.broker_metadata(key[0])
        has_moved = broker is not None and (connection.host, connection.port) != (broker.host, broker.port)
        if connection.connected() and not has_moved:
            return connection
        del self._conns[key]
        connection.close()
        return None

    async def _connect(self, node_id: _BrokerId) -> AIOKafkaConnection:
        broker = self.cluster.broker_metadata(node_id)
        if broker is None:
            raise KafkaError(f"broker {node_id} is not known")
        connection = _Connection(
            broker.host,
            broker.port,
            client_id=self._client_id,
            request_timeout_ms=self._request_timeout_ms,
            ssl_context=self._ssl_context,
            security_protocol=self._security_protocol,
            on_close=self._on_connection_closed,
            max_idle_ms=self._connections_max_idle_ms,
            sasl_mechanism=self._sasl_mechanism,
            sasl_plain_username=self._sasl_plain_username,
            sasl_plain_password=self._connection.login_password(),
            sasl_oauth_token_provider=self._sasl_oauth_token_provider,
        )
        await connection.connect()
        return connection


class _Connection(AIOKafkaConnection):  # type: ignore[misc]  # aiokafka has no type hints
    """A connection to whichever address of the broker's name answers first."""

    async def connect(self) -> Any:
        """Connect and log in."""
        loop = asyncio.get_running_loop()
        self._loop: Any = _Racing(loop)
        try:
            return await super().connect()
        finally:
            self._loop = loop


class _Racing:
    """The event loop as aiokafka uses it to connect. On its own, aiokafka tries the addresses of a name in turn, with
    minutes for each.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    async def create_connection(
        self, factory: Callable[[], asyncio.Protocol], host: str, port: int, *, ssl: SSLContext | None
    ) -> Any:
        """Connect to the first address that answers. TLS checks the name, not the address."""
        reached = await dial(host, port, _ADDRESS_DELAY_SECONDS)
        # From here on the loop owns the socket and closes it if this fails. If we closed it as well, a TLS connection that still
        # shuts down would keep its descriptor's number, and the next socket with that number could not be used.
        return await self._loop.create_connection(
            factory, sock=reached, ssl=ssl, server_hostname=None if ssl is None else host
        )
