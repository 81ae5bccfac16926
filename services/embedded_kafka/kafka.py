"""A real Apache Kafka of one or three brokers as child processes, for demonstrations and tests."""

import asyncio
import logging
import threading
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from backpack_streams.errors import EmbeddedError
from embedded_kafka.broker import Broker, KafkaRuntime
from embedded_kafka.broker_log import BrokerLog
from embedded_kafka.child import Child
from embedded_kafka.data_folder import (
    ClusterIdentity,
    DataFolder,
    FolderInUseError,
    new_cluster_id,
    require_free_space,
)
from embedded_kafka.downloads import Announce
from embedded_kafka.jars import ensure_jars
from embedded_kafka.java import find_java
from embedded_kafka.ports import free_ports, port_is_free, require_free
from embedded_kafka.properties import LOOPBACK, BrokerLayout
from embedded_kafka.readiness import wait_until_ready
from embedded_kafka.security import BrokerSecurity

__all__ = ["DEFAULT_PORT", "EmbeddedKafka", "kafka_runtime"]

logger = logging.getLogger(__name__)

DEFAULT_PORT = 19092
MINIMUM_FREE_BYTES = 256 << 20
START_TIMEOUT_SECONDS = 90.0
STOP_GRACE_SECONDS = 10.0
_HEAP_MEGABYTES = 512
_ALLOWED_BROKER_COUNTS = (1, 3)
# If the parent was killed, its brokers hold the folder until their watchers have ended them.
_ORPHANS_END_WITHIN_SECONDS = 12.0
_LOCK_POLL_SECONDS = 0.2


async def kafka_runtime(announce: Announce | None = None) -> KafkaRuntime:
    """Find a Java and Kafka's jars; the first call on a machine downloads 55 MB. A cancellation ends the download too.

    Args:
        announce: called with one line before a download starts.

    Raises:
        EmbeddedError: there is no Java, or the jars could not be fetched.
    """
    java = await asyncio.to_thread(find_java)
    cancelled = threading.Event()
    try:
        libs = await asyncio.to_thread(ensure_jars, announce, cancelled)
    finally:
        cancelled.set()
    return KafkaRuntime(java.executable, libs)


class EmbeddedKafka:
    """A Kafka cluster on this machine that ends with this process, even by `kill -9`.

    Args:
        data_dir: folder of the data; a later start with the same folder finds the data again.
        port: port of the first broker, the others follow; 0 picks free ones at each start.
        brokers: 1 or 3. With 3 every topic has 3 replicas and `min.insync.replicas` 2.
        host: address that clients use.
        properties: broker properties that override those set here.
        log_dir: folder of the brokers' logs, by default `logs` in `data_dir`.
        security: security of the clients' listener; None: plaintext.
        minimum_free_bytes: free disk space below which a start is refused.
        announce: called with one line when something long begins (a download).
        jvm: see `KafkaRuntime`; None: its default.

    Raises:
        EmbeddedError: `brokers` is neither 1 nor 3.
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = DEFAULT_PORT,
        brokers: int = 1,
        *,
        host: str = LOOPBACK,
        properties: Mapping[str, str] | None = None,
        log_dir: Path | None = None,
        security: BrokerSecurity | None = None,
        minimum_free_bytes: int = MINIMUM_FREE_BYTES,
        announce: Announce | None = None,
        jvm: Sequence[str] | None = None,
    ) -> None:
        if brokers not in _ALLOWED_BROKER_COUNTS:
            raise EmbeddedError(f"{brokers} brokers are not possible: choose 1 or 3")
        self.data_dir = data_dir.absolute()
        self.host = host
        self.log_dir = (log_dir or data_dir / "logs").absolute()
        self._first_port = port
        self._broker_count = brokers
        self._properties = dict(properties or {})
        self._security = security
        self._minimum_free_bytes = minimum_free_bytes
        self._announce = announce
        self._jvm = jvm
        self._runtime: KafkaRuntime | None = None
        self._folder: DataFolder | None = None
        self._layouts: list[BrokerLayout] = []
        self._brokers: list[Broker] = []
        self._monitors: set[asyncio.Task[None]] = set()
        self._ended: asyncio.Future[None] | None = None

    @property
    def bootstrap_servers(self) -> str:
        """Addresses for clients, `HOST:PORT` separated by commas. Available once started."""
        return ",".join(f"{layout.host}:{layout.client_port}" for layout in self._layouts)

    @property
    def broker_pids(self) -> dict[int, int]:
        """Process id of each running broker, by its index from 0."""
        return {
            index: broker.child.pid
            for index, broker in enumerate(self._brokers)
            if broker.child is not None and broker.child.returncode is None
        }

    @property
    def runtime(self) -> KafkaRuntime:
        """The Java and jars of the cluster, for Kafka's own tools. Available once started."""
        if self._runtime is None:
            raise EmbeddedError("the embedded Kafka is not started")
        return self._runtime

    async def start(self) -> None:
        """Start all brokers; return when they take traffic. After a failure or a cancellation nothing runs.

        Raises:
            EmbeddedError: there is no Java, no jars or no room, a port or the folder is in use, or a broker ended.
        """
        if self._folder is not None:
            raise EmbeddedError("the embedded Kafka is started already")
        try:
            await self._start()
        except BaseException:  # a cancellation too must leave no broker behind
            await self._stop(grace_seconds=0)
            raise
        logger.info("embedded kafka ready", extra={"bootstrap_servers": self.bootstrap_servers})

    async def _start(self) -> None:
        runtime = await kafka_runtime(self._announce)
        self._runtime = runtime if self._jvm is None else replace(runtime, jvm=tuple(self._jvm))
        self._folder = await self._open_folder()
        require_free_space(self.data_dir, self._minimum_free_bytes)
        identity = self._identity(self._folder)
        self._layouts = self._lay_out(identity, self._client_ports(identity))
        self._brokers = [self._prepare(layout) for layout in self._layouts]
        await self._format_all(identity.cluster_id)
        self._ended = _future_whose_error_may_stay_unseen()
        everything = range(self._broker_count)
        for index in everything:
            await self._launch(index)
        await self._until_ready(everything)

    async def _format_all(self, cluster_id: str) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for broker in self._brokers:
                    group.create_task(broker.format_once(self.runtime, cluster_id, self._security))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None

    async def _open_folder(self) -> DataFolder:
        deadline = asyncio.get_running_loop().time() + _ORPHANS_END_WITHIN_SECONDS
        while True:
            try:
                return DataFolder.open(self.data_dir)
            except FolderInUseError as error:
                if not error.owner_is_gone or asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(_LOCK_POLL_SECONDS)

    def _client_ports(self, identity: ClusterIdentity) -> list[int]:
        if self._first_port == 0:
            taken = (*identity.controller_ports, *identity.internal_ports)
            return free_ports(self._broker_count, self.host, besides=taken)
        ports = [self._first_port + index for index in range(self._broker_count)]
        require_free(self.host, ports)
        return ports

    def _identity(self, folder: DataFolder) -> ClusterIdentity:
        """Return the stored identity; pick new internal ports if another program has taken one meanwhile.

        Voters are stored by node id, so a controller may move to another port while the whole cluster is down.
        """
        known = folder.identity()
        if known is not None and len(known.controller_ports) != self._broker_count:
            raise EmbeddedError(
                f"{self.data_dir} holds a cluster of {len(known.controller_ports)} broker(s), not {self._broker_count}: "
                "start it with as many as it has, or choose another folder with --data-dir"
            )
        if known is not None and all(
            port_is_free(LOOPBACK, port) for port in (*known.controller_ports, *known.internal_ports)
        ):
            return known
        own_ports = range(self._first_port, self._first_port + self._broker_count)
        ports = free_ports(2 * self._broker_count, LOOPBACK, besides=own_ports)
        identity = ClusterIdentity(
            cluster_id=known.cluster_id if known is not None else new_cluster_id(),
            controller_ports=tuple(ports[: self._broker_count]),
            internal_ports=tuple(ports[self._broker_count :]),
        )
        folder.remember(identity)
        return identity

    def _lay_out(self, identity: ClusterIdentity, client_ports: Sequence[int]) -> list[BrokerLayout]:
        return [
            BrokerLayout(
                node_id=index + 1,
                host=self.host,
                client_port=client_port,
                internal_port=identity.internal_ports[index],
                controller_ports=identity.controller_ports,
                data_folder=self.data_dir / f"broker-{index + 1}" / "data",
            )
            for index, client_port in enumerate(client_ports)
        ]

    def _prepare(self, layout: BrokerLayout) -> Broker:
        folder = layout.data_folder.parent
        broker = Broker(folder, BrokerLog(self.log_dir / f"{folder.name}.log"))
        try:
            self.log_dir.mkdir(parents=True, exist_ok=True)
            broker.configure(layout, self._security, self._properties)
        except OSError as error:
            raise EmbeddedError(
                f"cannot write {error.filename} ({error.strerror}): make its folder writable"
            ) from error
        return broker

    async def _launch(self, index: int) -> None:
        broker, folder = self._brokers[index], self._folder
        if folder is None:
            raise EmbeddedError("the embedded Kafka is not started")
        broker.is_starting = True
        child = await broker.launch(self.runtime, _HEAP_MEGABYTES, folder.lock)
        monitor = asyncio.create_task(self._monitor(index, broker, child), name=f"kafka-broker-{index + 1}")
        self._monitors.add(monitor)
        monitor.add_done_callback(self._monitors.discard)

    async def _monitor(self, index: int, broker: Broker, child: Child) -> None:
        code = await child.wait()
        if broker.stop_is_wanted or broker.child is not child:
            return
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        when = "during its start" if broker.is_starting else "unexpectedly"
        message = broker.explain(f"Kafka broker {index + 1} ended {when} ({how})")
        logger.error("kafka broker ended", extra={"broker": index + 1, "exit_code": code, "reason": message})
        if self._ended is not None and not self._ended.done():
            self._ended.set_exception(EmbeddedError(message))

    async def _until_ready(self, indices: Collection[int]) -> None:
        """Raise EmbeddedError if a broker ends or the time is over first."""
        node_ids = [index + 1 for index in indices]
        ports = [self._layouts[index].internal_port for index in indices]
        ready = asyncio.create_task(_wait_until_all_ready(ports, node_ids))
        ended = self._current_end()
        awaited: list[asyncio.Future[Any]] = [ready, ended]
        try:
            await asyncio.wait(awaited, timeout=START_TIMEOUT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                ended.result()
            if not ready.done():
                broker = self._brokers[next(iter(indices))]
                raise EmbeddedError(broker.explain(f"Kafka did not answer within {START_TIMEOUT_SECONDS:.0f} s"))
            ready.result()
        finally:
            ready.cancel()
            await asyncio.wait([ready])
        for index in indices:
            self._brokers[index].is_starting = False

    def _current_end(self) -> "asyncio.Future[None]":
        if self._ended is None:
            raise EmbeddedError("the embedded Kafka is not started")
        return self._ended

    async def wait(self) -> None:
        """Wait until `stop` is called.

        Raises:
            EmbeddedError: a broker ended unexpectedly; the message says why (a full disk, a kill).
        """
        await asyncio.shield(self._current_end())

    async def stop_broker(self, index: int, *, kill: bool = False) -> None:
        """Stop one broker: a controlled shutdown with SIGKILL after 10 s, or SIGKILL at once.

        Does nothing if the broker does not run. `wait` does not count this as an unexpected end.

        Args:
            index: the broker, counted from 0; its node id is one higher.
            kill: whether to send SIGKILL at once, as a crash would look.
        """
        await self._brokers[index].stop(0 if kill else STOP_GRACE_SECONDS)

    async def start_broker(self, index: int) -> None:
        """Start one broker again that was stopped or killed; return when it takes traffic.

        Args:
            index: the broker, counted from 0.

        Raises:
            EmbeddedError: it is running, it ended during its start, or it did not answer within 90 s.
        """
        if index in self.broker_pids:
            raise EmbeddedError(f"Kafka broker {index + 1} runs already")
        if self._current_end().done():
            self._ended = _future_whose_error_may_stay_unseen()
        await self._launch(index)
        await self._until_ready([index])

    async def stop(self) -> None:
        """Shut down all brokers in a controlled way, SIGKILL after 10 s. Does nothing if not started."""
        await self._stop(STOP_GRACE_SECONDS)

    async def _stop(self, grace_seconds: float) -> None:
        await asyncio.gather(*(broker.stop(grace_seconds) for broker in self._brokers))
        if self._monitors:
            await asyncio.wait(self._monitors)
        if self._ended is not None and not self._ended.done():
            self._ended.set_result(None)
        if self._folder is not None:
            self._folder.close()
            self._folder = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


async def _wait_until_all_ready(ports: Sequence[int], node_ids: Collection[int]) -> None:
    for port in ports:
        await wait_until_ready(LOOPBACK, port, node_ids)


def _future_whose_error_may_stay_unseen() -> "asyncio.Future[None]":
    """Return a future for `wait`, which need not be called: asyncio must not report its error as never retrieved."""
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda done: None if done.cancelled() else done.exception() and None)
    return future
