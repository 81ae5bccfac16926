"""Brings Kafka's topics in line with the declared list: creates topics, adds partitions, sets configs. Never deletes anything."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from aiokafka.admin import NewPartitions, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from backpack_streams.bus.clients import Admin
from backpack_streams.bus.connection import KafkaConnection, KafkaRefusedError
from backpack_streams.bus.topics import Topic

__all__ = ["Change", "Existing", "TopicAdmin", "plan"]

_DYNAMIC_TOPIC_CONFIG = 1  # KIP-226: the source of a config set on the topic itself
_REPLICATION_CONFIG = "default.replication.factor"
_REPLICAS_AT_MOST = 3


@dataclass(frozen=True, slots=True)
class Existing:
    """A topic as it is in Kafka.

    Attributes:
        partitions: the number of partitions.
        own_config: the configs set on the topic itself.
        effective_config: all configs in force, including the brokers' defaults.
    """

    partitions: int
    own_config: dict[str, str]
    effective_config: dict[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """One change to one topic, planned or done.

    Attributes:
        topic: the full topic name.
        action: `create`, `add partitions` or `set config`.
        detail: the values, for display.
    """

    topic: str
    action: str
    detail: str


def plan(topic: Topic, prefix: str, existing: Existing | None) -> list[Change]:
    """Return the changes that bring a topic in line with its declaration. Sans I/O.

    Args:
        topic: the declaration.
        prefix: the topic prefix.
        existing: the topic in Kafka, None if it does not exist.
    """
    name = topic.full_name(prefix)
    if existing is None:
        return [Change(name, "create", f"{topic.partitions} partitions, {topic.cleanup}")]
    changes = []
    if existing.partitions < topic.partitions:
        changes.append(Change(name, "add partitions", f"{existing.partitions} to {topic.partitions}"))
    different = {key: value for key, value in topic.config().items() if existing.effective_config.get(key) != value}
    if different:
        changes.append(
            Change(name, "set config", ", ".join(f"{key}={value}" for key, value in sorted(different.items())))
        )
    return changes


class TopicAdmin:
    """Applies `plan` to a cluster."""

    def __init__(self, connection: KafkaConnection, prefix: str, replication_factor: int | None = None) -> None:
        """Prepare; nothing is sent yet.

        Args:
            connection: how to reach Kafka.
            prefix: the topic prefix.
            replication_factor: replicas of new topics, None for the brokers' default, at most 3 if that is unknown.
        """
        self._connection = connection
        self._prefix = prefix
        self._replication = replication_factor

    async def apply(self, topics: Iterable[Topic], create_only: bool = False) -> list[Change]:
        """Create topics, add partitions and set configs. Returns the changes made.

        Args:
            topics: the declarations.
            create_only: only create missing topics; this needs no right to describe configs.

        Raises:
            BusError: Kafka is unreachable or refuses.
        """
        topics = list(topics)
        client = Admin(self._connection)
        try:
            await client.start()
            if create_only:  # creating needs no right to describe configs
                names = set(await client.list_topics())
                topics, existing = [each for each in topics if each.full_name(self._prefix) not in names], {}
            else:
                existing = await self._existing(client, topics)
            done = []
            for topic in topics:
                for change in plan(topic, self._prefix, existing.get(topic.name)):
                    await self._do(client, topic, change, existing.get(topic.name))
                    done.append(change)
            return done
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        finally:
            await client.close()

    async def existing(self, topics: Iterable[Topic]) -> dict[str, Existing]:
        """Return the topics that exist in Kafka, by name without the prefix.

        Raises:
            BusError: Kafka is unreachable or refuses.
        """
        client = Admin(self._connection)
        try:
            await client.start()
            return await self._existing(client, topics)
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error
        finally:
            await client.close()

    async def _existing(self, client: Any, topics: Iterable[Topic]) -> dict[str, Existing]:
        names = set(await client.list_topics())
        present = [topic for topic in topics if topic.full_name(self._prefix) in names]
        if not present:
            return {}
        full = [topic.full_name(self._prefix) for topic in present]
        described = {each["topic"]: len(each["partitions"]) for each in await client.describe_topics(full)}
        configs = await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name, None) for name in full])
        by_name: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        for response in configs:
            for code, message, _, name, entries in response.resources:
                _raise_for(code, message, name)
                # entry: name, value, read only, source, sensitive, synonyms
                effective = {entry[0]: entry[1] for entry in entries}
                own = {entry[0]: entry[1] for entry in entries if entry[3] == _DYNAMIC_TOPIC_CONFIG}
                by_name[name] = own, effective
        return {
            topic.name: Existing(described[name], *by_name[name]) for topic, name in zip(present, full, strict=True)
        }

    async def _do(self, client: Any, topic: Topic, change: Change, existing: Existing | None) -> None:
        if change.action == "create" or existing is None:
            replicas = await self._replication_factor(client)
            new = NewTopic(change.topic, topic.partitions, replicas, topic_configs=topic.config())
            response = await client.create_topics([new])
            for name, code, *message in response.topic_errors:
                if for_code(code) is not TopicAlreadyExistsError:  # another process created it first
                    _raise_for(code, message[0] if message else None, name)
        elif change.action == "add partitions":
            response = await client.create_partitions({change.topic: NewPartitions(topic.partitions)})
            for name, code, message in response.topic_errors:
                _raise_for(code, message, name)
        else:
            # AlterConfigs replaces the whole set, so keep the configs that others set on the topic.
            merged = existing.own_config | topic.config()
            for response in await client.alter_configs(
                [ConfigResource(ConfigResourceType.TOPIC, change.topic, merged)]
            ):
                for code, message, _, name in response.resources:
                    _raise_for(code, message, name)

    async def _replication_factor(self, client: Any) -> int:
        """Return the configured factor, else the brokers' default. aiokafka's requests cannot ask the broker to apply its
        default (KIP-464), so look it up.
        """
        if self._replication is None:
            brokers = (await client.describe_cluster())["brokers"]
            self._replication = min(_REPLICAS_AT_MOST, len(brokers))
            wanted = {_REPLICATION_CONFIG: None}
            resource = ConfigResource(ConfigResourceType.BROKER, str(brokers[0]["node_id"]), wanted)
            for response in await client.describe_configs([resource]):
                for code, _, _, _, entries in response.resources:
                    if not code and entries:  # without the right to ask, use the number of brokers
                        self._replication = int(entries[0][1])
        return self._replication


def _raise_for(code: int, message: str | None, name: str) -> None:
    if code:
        error = for_code(code)
        raise KafkaRefusedError(f"Kafka refused to change topic {name}: {message or error.__name__}")
