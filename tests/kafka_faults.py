"""What an owner of Kafka may do to a client that did nothing wrong: smaller records, rights taken away, a quota."""

import subprocess

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

from backpack_streams.embedded import BlockingKafka

RIGHTS_CAN_BE_DENIED = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
}
"""Broker properties that `deny_reading` needs. Who comes without a name may do all that no rule speaks of."""


def limit_records(broker: BlockingKafka, topic: str, size_bytes: int) -> None:
    """From now on the topic takes no batch that is larger."""
    limit = ConfigEntry("max.message.bytes", str(size_bytes), incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[limit])
    admin = _admin(broker)  # it answers no more once nobody holds it
    for changed in admin.incremental_alter_configs([resource]).values():
        changed.result(30)


def deny_reading(broker: BlockingKafka, topic: str) -> None:
    """From now on nobody may read the topic; its name and partitions can still be seen."""
    rules = [
        # Where a rule speaks of a topic, what it does not allow is refused.
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
    """From now on the client gets no more than that."""
    command = broker.kafka.runtime.command(
        "kafka.admin.ConfigCommand",
        *("--bootstrap-server", broker.bootstrap_servers, "--alter", "--entity-type", "clients"),
        *("--entity-name", client_id, "--add-config", f"consumer_byte_rate={bytes_a_second}"),
    )
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def _admin(broker: BlockingKafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": broker.bootstrap_servers})
