"""Decides whether a publisher that is owed acknowledgements is waiting for Kafka or stuck: a judge without I/O, and the
probe it judges by.

While Kafka is unavailable, waiting is right: the buffer holds what it can. If a fresh client finds Kafka healthy and
this process still receives no acknowledgement, the process itself is stuck and only a restart helps.
"""

import asyncio
from collections.abc import Collection, Mapping
from enum import Enum
from typing import NamedTuple

from aiokafka.errors import KafkaError

from backpack_streams.bus.clients import Client
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.kafka_producer import close_client
from backpack_streams.errors import BackpackStreamsError, BusError
from backpack_streams.topic_partition import TopicPartition

__all__ = ["Health", "Owed", "ProgressJudge", "PublisherStuckError", "look_at_kafka"]

_LOOK_SECONDS = 15.0
_DEGRADED_FACTOR = 5


class PublisherStuckError(BusError):
    """Kafka answers but has acknowledged nothing for too long: restart the process."""


class Health(Enum):
    """The state of a partition as a fresh client finds it."""

    WELL = "it has a leader, and all its replicas are in sync"
    DEGRADED = "it has a leader, and not all its replicas are in sync"
    LEADERLESS = "it has no leader"
    MISSING = "it does not exist"


class Owed(NamedTuple):
    """An overdue acknowledgement of one partition.

    Attributes:
        since: since when it has been owed (monotonic seconds).
        trouble: why the last attempt failed, empty if no error was reported.
    """

    since: float
    trouble: str


class ProgressJudge:
    """Decides when waiting has become pointless."""

    def __init__(self, bound_seconds: float) -> None:
        """Prepare.

        Args:
            bound_seconds: how long a healthy partition may owe an acknowledgement. A partition with replicas out of
                sync has five times as long, because there Kafka may be the one that refuses, and giving up would lose
                the buffer.
        """
        self._bound_seconds = bound_seconds
        self._well_since: dict[TopicPartition, float] = {}

    def look(
        self, now: float, owed: Mapping[TopicPartition, Owed], found: Mapping[TopicPartition, Health] | None
    ) -> str | None:
        """Judge one probe of Kafka. Returns why the process is stuck, None if it is not.

        Args:
            now: the time of the probe (monotonic seconds).
            owed: the partitions that owe acknowledgements.
            found: the state of each partition, None if Kafka did not answer.
        """
        self._well_since = {each: since for each, since in self._well_since.items() if each in owed}
        for topic_partition, (since, trouble) in owed.items():
            health = Health.LEADERLESS if found is None else found.get(topic_partition, Health.MISSING)
            if health is Health.LEADERLESS:
                self._well_since.pop(topic_partition, None)
                continue
            waited = now - max(since, self._well_since.setdefault(topic_partition, now))
            if waited >= self._bound_seconds * (_DEGRADED_FACTOR if health is Health.DEGRADED else 1):
                topic, partition = topic_partition
                return (
                    f"Kafka answers but has acknowledged nothing of topic {topic}, partition {partition}, for {now - since:.0f} s "
                    f"({health.value}; {trouble or 'no error was reported'}): the service exits in order to be restarted"
                )
        return None


async def look_at_kafka(
    connection: KafkaConnection, topic_partitions: Collection[TopicPartition]
) -> dict[TopicPartition, Health] | None:
    """Return the state of partitions as a fresh client sees them; None if Kafka does not answer."""
    try:
        client = Client(connection)
    except BackpackStreamsError:  # TLS files that are unreadable now
        return None
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            await client.bootstrap()
            if not await client.set_topics({topic for topic, _ in topic_partitions}):
                return None
    except (TimeoutError, KafkaError, OSError):
        return None
    finally:
        await close_client(client)
    return {each: _health(client, each) for each in topic_partitions}


def _health(client: Client, topic_partition: TopicPartition) -> Health:
    topic, partition = topic_partition
    found = client.cluster._partitions.get(topic, {}).get(partition)  # aiokafka has no public name for in-sync replicas
    if found is None:
        return Health.MISSING
    if found.leader == -1:
        return Health.LEADERLESS
    return Health.WELL if len(found.isr) >= len(found.replicas) else Health.DEGRADED
