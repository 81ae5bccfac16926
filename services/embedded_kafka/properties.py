"""Renders `server.properties`: one broker's role in the cluster, and settings for a small machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from embedded_kafka.security import BrokerSecurity

__all__ = ["LOOPBACK", "BrokerLayout", "broker_properties", "render_properties"]

LOOPBACK = "127.0.0.1"
_HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class BrokerLayout:
    """The listeners and the folder of one broker. Each controller has a port of its own.

    Attributes:
        node_id: number of the broker, from 1.
        host: address of the listener for clients, also the advertised one.
        client_port: port for clients.
        internal_port: port for the other brokers and the readiness check, on loopback and without credentials.
        controller_ports: controller port of every node, in the order of the node ids.
        data_folder: Kafka's log directory.
    """

    node_id: int
    host: str
    client_port: int
    internal_port: int
    controller_ports: Sequence[int]
    data_folder: Path

    @property
    def controller_port(self) -> int:
        """Port of this node's own controller."""
        return self.controller_ports[self.node_id - 1]

    @property
    def broker_count(self) -> int:
        """Number of brokers in the cluster."""
        return len(self.controller_ports)


def broker_properties(
    layout: BrokerLayout, security: BrokerSecurity | None = None, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return all properties of one broker, for `render_properties`.

    Args:
        layout: its listeners, its folder and the size of the cluster.
        security: security of the listener for clients; None: plaintext.
        overrides: properties of the caller; they win over all others.
    """
    return {
        **_place_in_cluster(layout),
        **_listeners(layout, security),
        **_replication(layout.broker_count),
        **_SMALL_MACHINE,
        **_OLD_RECORDINGS,
        **(security.properties() if security is not None else {}),
        **(overrides or {}),
    }


def _place_in_cluster(layout: BrokerLayout) -> dict[str, str]:
    voters = ",".join(f"{node}@{LOOPBACK}:{port}" for node, port in enumerate(layout.controller_ports, start=1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(layout.node_id),
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(layout.data_folder),
        # A killed broker is noticed in 6 s instead of 9 s, so acks=all continues sooner.
        "broker.session.timeout.ms": "6000",
        "broker.heartbeat.interval.ms": "1000",
    }


def _listeners(layout: BrokerLayout, security: BrokerSecurity | None) -> dict[str, str]:
    """Return listeners; clients have their own, so that brokers and the readiness check need no credentials."""
    client = f"CLIENT://{layout.host}:{layout.client_port}"
    internal = f"INTERNAL://{LOOPBACK}:{layout.internal_port}"
    client_protocol = security.protocol if security is not None else "PLAINTEXT"
    return {
        "listeners": f"{client},{internal},CONTROLLER://{LOOPBACK}:{layout.controller_port}",
        "advertised.listeners": f"{client},{internal}",
        "inter.broker.listener.name": "INTERNAL",
        "listener.security.protocol.map": f"CLIENT:{client_protocol},INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }


def _replication(broker_count: int) -> dict[str, str]:
    copies = str(min(3, broker_count))
    in_sync = str(min(2, broker_count))
    return {
        "default.replication.factor": copies,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": copies,
        "transaction.state.log.replication.factor": copies,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": copies,
        "share.coordinator.state.topic.min.isr": in_sync,
    }


_SMALL_MACHINE = {
    "auto.create.topics.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "num.replica.fetchers": "1",
    "background.threads": "2",
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "share.coordinator.state.topic.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    # The default of 128 MiB would be a quarter of the heap; 16 MiB hold 600,000 keys.
    "log.cleaner.dedupe.buffer.size": str(16 << 20),
}

# Recordings carry times years old, and Kafka's retention goes by the record's time: with the default first check, 30 s
# after the start, a recording would vanish from its topics while a demo plays it. In topics that are compacted as well, the
# cleaner deletes, by default every 15 s.
_OLD_RECORDINGS = {
    "log.retention.check.interval.ms": str(_HOUR_MS),
    "log.initial.task.delay.ms": str(_HOUR_MS),
    "log.cleaner.backoff.ms": str(_HOUR_MS),
}


def render_properties(properties: Mapping[str, str]) -> str:
    r"""Return the text of a Java properties file, escaped for `java.util.Properties.load`.

    The text is ASCII: every other character becomes a `\uXXXX` escape of its UTF-16 code units.
    """
    return "".join(f"{_escape(name, key=True)}={_escape(value)}\n" for name, value in properties.items())


def _escape(text: str, *, key: bool = False) -> str:
    escaped = "".join(_escape_character(character, key=key) for character in text)
    return f"\\{escaped}" if escaped.startswith(" ") else escaped


def _escape_character(character: str, *, key: bool) -> str:
    named = {"\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\f": "\\f"}.get(character)
    if named is not None:
        return named
    if key and character in " =:#!":
        return f"\\{character}"
    if " " <= character <= "~":
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))
