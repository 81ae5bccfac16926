"""Restrictions that the owner of Kafka may put on a client: smaller records, missing rights, a quota."""

import subprocess

from confluent_kafka import Producer
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)

from embedded_kafka import BlockingKafka
from plant import wait_until

RIGHTS_CAN_BE_DENIED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""Broker properties that `deny_reading` needs. Anonymous clients may do everything that no rule restricts."""


def limit_records(broker: BlockingKafka, topic: str, size_bytes: int) -> None:
    """Let the topic refuse batches above a size; wait until the only broker applies it."""
    admin = _admin(broker)  # the client is closed when it is no longer referenced
    _set(admin, topic, "max.message.bytes", size_bytes)
    # A broker describes a setting shortly before its log applies it, but makes one change after the other: once it
    # describes a second change, it applies the first.
    _set(admin, topic, "file.delete.delay.ms", 60_000 + size_bytes)


def _set(admin: AdminClient, topic: str, name: str, value: int) -> None:
    """Change a setting of a topic, and wait until the broker describes it so."""
    change = ConfigEntry(name, str(value), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[change])
    (changed,) = admin.incremental_alter_configs([resource]).values()
    changed.result(30)

    def described() -> bool:
        (settings,) = admin.describe_configs([ConfigResource(ConfigResource.Type.TOPIC, topic)]).values()
        return bool(settings.result(30)[name].value == str(value))

    wait_until(f"the broker knows {name} of {topic}", described)


def deny_reading(broker: BlockingKafka, topic: str) -> None:
    """Forbid everybody to read the topic; its name and partitions stay visible."""
    rules = [
        # If any rule names a topic, everything that no rule allows is refused.
        ("Write", AclPermissionType.ALLOW),
        ("Describe", AclPermissionType.ALLOW),
        ("Read", AclPermissionType.DENY),
    ]
    bindings = [
        AclBinding(
            ResourceType.TOPIC,
            topic,
            ResourcePatternType.LITERAL,
            "User:*",
            "*",
            AclOperation[name.upper()],
            permission,
        )
        for name, permission in rules
    ]
    admin = _admin(broker)
    for done in admin.create_acls(bindings).values():
        done.result(30)


def throttle_reading(broker: BlockingKafka, client_id: str, bytes_a_second: int) -> None:
    """Throttle reads of the client to this rate."""
    command = broker.kafka.runtime.command(
        "kafka.admin.ConfigCommand",
        *("--bootstrap-server", broker.bootstrap_servers, "--alter", "--entity-type", "clients"),
        *("--entity-name", client_id, "--add-config", f"consumer_byte_rate={bytes_a_second}"),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def write_garbage(bootstrap_servers: str, topic: str) -> None:
    """Write a value to the topic that is no record of ours."""
    producer = Producer({"bootstrap.servers": bootstrap_servers})
    producer.produce(topic, b"garbage", b"SOL_USDC")
    assert producer.flush(30) == 0


def _admin(broker: BlockingKafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap_servers})
