"""Three brokers that can move to other ports one by one, and a stable address in front of them, like a load balancer."""

from dataclasses import replace
from typing import Any

from embedded_kafka import BlockingKafka, EmbeddedKafka
from embedded_kafka.ports import free_ports
from forwarder import Forwarder


class MovingCluster(EmbeddedKafka):
    """A cluster in which each broker can move to another port while the others run."""

    @property
    def client_ports(self) -> list[int]:
        """The clients' ports of the brokers, by index."""
        return [each.client_port for each in self._layouts]

    @property
    def internal_servers(self) -> str:
        """The addresses between brokers: without TLS or login, and never moved."""
        return ",".join(f"{each.host}:{each.internal_port}" for each in self._layouts)

    async def move(self, index: int, port: int) -> None:
        """Stop a running broker, and start it on another port."""
        await self.stop_broker(index)
        self._layouts[index] = replace(self._layouts[index], client_port=port)
        self._brokers[index] = self._prepare(self._layouts[index])
        await self.start_broker(index)


class MovingKafka(BlockingKafka):
    """The cluster for synchronous code. The code under test knows `stable_address`; checks use `bootstrap_servers`, which never move."""

    def __init__(self, cluster: MovingCluster) -> None:
        super().__init__(cluster)
        self._cluster = cluster
        self._balancer = Forwarder()
        self._left: list[Forwarder] = []

    @property
    def bootstrap_servers(self) -> str:
        """The inner addresses."""
        return self._cluster.internal_servers

    @property
    def stable_address(self) -> str:
        """An address that forwards to one broker after another, at their current ports."""
        return f"127.0.0.1:{self._balancer.port}"

    def start(self) -> None:
        """Start the brokers, then the stable address."""
        super().start()
        self._balancer.target = self._cluster.client_ports
        self._call(self._balancer.__aenter__())

    def stop(self) -> None:
        """Stop everything."""
        nothing: tuple[Any, Any, Any] = (None, None, None)
        for each in (self._balancer, *self._left):
            self._call(each.__aexit__(*nothing))
        super().stop()

    def move_broker(self, index: int, *, leaves_silence: bool) -> None:
        """Move a broker to another port.

        `leaves_silence`: connections to the old port are accepted and never answered; else they are refused.
        """
        old = self._cluster.client_ports[index]
        self.stop_broker(index)
        if leaves_silence:
            self._left.append(self._call(Forwarder(None, old).__aenter__()))
        self._call(self._cluster.move(index, *free_ports(1, "127.0.0.1", besides=(old,))))
        self._balancer.target = self._cluster.client_ports
