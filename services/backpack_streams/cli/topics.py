"""`backpack-streams topics apply|list`: the topics as declared, and what of it Kafka has."""

from backpack_streams.bus.admin import TopicAdmin, plan
from backpack_streams.bus.topics import TOPICS
from backpack_streams.cli.settings import TopicsSettings
from backpack_streams.runtime.kafka import kafka_connection


async def run(settings: TopicsSettings, action: str) -> int:
    """Brings Kafka in line (`apply`) or says how it stands (`list`).

    Raises:
        BusError: Kafka cannot be reached or refuses.
    """
    admin = TopicAdmin(kafka_connection(settings), settings.topic_prefix)
    if action == "list":
        await _list(admin, settings.topic_prefix)
        return 0
    changes = await admin.apply(TOPICS)
    for change in changes:
        print(f"{change.action:15} {change.topic}  {change.detail}")
    print(f"{len(TOPICS)} topics as declared" + ("" if changes else ", nothing to do"))
    return 0


async def _list(admin: TopicAdmin, prefix: str) -> None:
    existing = await admin.existing(TOPICS)
    for topic in TOPICS:
        to_do = plan(topic, prefix, existing.get(topic.name))
        state = "as declared" if not to_do else "; ".join(f"to {change.action} ({change.detail})" for change in to_do)
        print(
            f"{topic.full_name(prefix):34} {topic.record:14} key {topic.key:12} {topic.partitions:2} partitions  {topic.cleanup:15} {state}"
        )
