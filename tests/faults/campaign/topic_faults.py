"""Changes that the owner of a cluster may make to a topic while the plant runs."""

import time

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

_REQUEST_SECONDS = 30.0
_EXISTS_SECONDS = 60.0
_REPLICAS = 3


def _partitions(admin: AdminClient, topic: str) -> int:
    """The number of its partitions; waits for a topic that the starting plant has not created yet."""
    deadline = time.monotonic() + _EXISTS_SECONDS
    while True:
        partitions = len(admin.list_topics(topic, _REQUEST_SECONDS).topics[topic].partitions)
        if partitions or time.monotonic() > deadline:
            return partitions
        time.sleep(0.2)


def recreate(bootstrap_servers: str, topic: str) -> None:
    """Delete a topic with its records, and create it again, empty, with the same partitions and settings."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    partitions = _partitions(admin, topic)
    (described,) = admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]).values()
    own = {name: entry.value for name, entry in described.result(_REQUEST_SECONDS).items() if not entry.is_default}
    admin.delete_topics([topic])[topic].result(_REQUEST_SECONDS)
    deadline = time.monotonic() + _REQUEST_SECONDS
    while True:  # it cannot be created before all brokers have deleted it
        try:
            admin.create_topics([NewTopic(topic, partitions, _REPLICAS, config=own)])[topic].result(_REQUEST_SECONDS)
            return
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def add_partitions(bootstrap_servers: str, topic: str) -> None:
    """Add two partitions: some keys move to others from then on."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    partitions = _partitions(admin, topic)
    admin.create_partitions([NewPartitions(topic, partitions + 2)])[topic].result(_REQUEST_SECONDS)


def compress(bootstrap_servers: str, topic: str, codec: str | None) -> None:
    """Let the brokers compress the topic, whatever producers send; None: reset the setting."""
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    _partitions(admin, topic)
    operation = AlterConfigOpType.DELETE if codec is None else AlterConfigOpType.SET
    setting = ConfigEntry("compression.type", codec, incremental_operation=operation)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[setting])
    (changed,) = admin.incremental_alter_configs([resource]).values()
    changed.result(_REQUEST_SECONDS)
