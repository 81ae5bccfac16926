"""`backpack-streams topics apply|list|acls`: the topics as declared, their state in Kafka, and the ACLs that each service needs."""

import json
from collections.abc import Iterator

from backpack_streams.bus.access import ACCESS, Grant, grants
from backpack_streams.bus.acl_commands import acl_commands
from backpack_streams.bus.admin import Change, TopicAdmin, plan
from backpack_streams.bus.topics import TOPICS, Topic
from backpack_streams.commands.topics.settings import TopicsSettings
from backpack_streams.runtime.kafka import kafka_connection


async def run(settings: TopicsSettings, action: str) -> int:
    """Apply the declared topics to Kafka (`apply`), show their state (`list`), or print ACLs without a request to Kafka (`acls`).

    Args:
        settings: Kafka, the topic prefix, and for `acls` the services and their principal.
        action: `apply`, `list` or `acls`.

    Raises:
        BusError: Kafka cannot be reached, or refuses.
    """
    if action == "acls":
        for line in _acls_as_json(settings) if settings.json_output else _acls(settings):
            print(line)
        return 0
    admin = TopicAdmin(kafka_connection(settings), settings.topic_prefix)
    await (_list if action == "list" else _apply)(admin, settings)
    return 0


async def _apply(admin: TopicAdmin, settings: TopicsSettings) -> None:
    changes = await admin.apply(TOPICS)
    for change in changes:
        print(json.dumps(_change(change)) if settings.json_output else _line(change))
    if not settings.json_output:
        print(f"{len(TOPICS)} topics as declared" + ("" if changes else ", nothing to do"))


async def _list(admin: TopicAdmin, settings: TopicsSettings) -> None:
    existing = await admin.existing(TOPICS)
    for topic in TOPICS:
        to_do = plan(topic, settings.topic_prefix, existing.get(topic.name))
        if settings.json_output:
            print(json.dumps(_declared(topic, settings.topic_prefix) | {"to_do": [_change(each) for each in to_do]}))
            continue
        state = "as declared" if not to_do else "; ".join(f"to {change.action} ({change.detail})" for change in to_do)
        print(
            f"{topic.full_name(settings.topic_prefix):34} {topic.record:14} key {topic.key:12} "
            f"{topic.partitions:2} partitions  {topic.cleanup:15} {state}"
        )


def _line(change: Change) -> str:
    return f"{change.action:15} {change.topic}  {change.detail}"


def _change(change: Change) -> dict[str, str]:
    return {"topic": change.topic, "action": change.action, "detail": change.detail}


def _declared(topic: Topic, prefix: str) -> dict[str, object]:
    return {
        "topic": topic.full_name(prefix),
        "record": topic.record,
        "key": topic.key,
        "partitions": topic.partitions,
        "config": topic.config(),
    }


def _granted(settings: TopicsSettings) -> Iterator[tuple[str, str, list[Grant]]]:
    """Yield each service, its principal, and the ACLs that it needs."""
    for service in settings.services:
        principal = settings.principal or f"User:{service}"
        yield service, principal, list(grants(service, settings.topic_prefix, settings.group_id))


def _acls(settings: TopicsSettings) -> Iterator[str]:
    secured = settings.security_protocol != "PLAINTEXT"
    for service, principal, needed in _granted(settings):
        yield f"# {service}: {ACCESS[service].summary}"
        yield from acl_commands(principal, needed, settings.bootstrap_servers, with_client_config=secured)


def _acls_as_json(settings: TopicsSettings) -> Iterator[str]:
    for service, principal, needed in _granted(settings):
        for grant in needed:
            acl = {
                "service": service,
                "principal": principal,
                "resource_type": grant.resource.value,
                "resource": grant.name,
                "pattern_type": "literal",
                "operation": grant.operation.value,
                "needed": grant.is_needed,
            }
            yield json.dumps(acl)
