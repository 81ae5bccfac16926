"""Whether a publisher that is owed acknowledgements waits for Kafka, or for ever: a judge without I/O, and the look at Kafka it judges by.

While Kafka is away, waiting is right: the buffer holds what it can. Where a fresh client finds Kafka well and this process has still
got nothing acknowledged, something in it is stuck, and only a new start helps.
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

__all__ = ["Health", "Owed", "Place", "ProgressJudge", "PublisherStuckError", "look_at_kafka"]

_LOOK_SECONDS = 15.0
_DEGRADED_FACTOR = 5

Place = tuple[str, int]
"""Topic and partition."""


class PublisherStuckError(BusError):
    """Kafka answers and has acknowledged nothing for too long: the process is to be started anew."""


class Health(Enum):
    """What a fresh client finds of a partition."""

    WELL = "it has a leader, and all its replicas are in sync"
    DEGRADED = "it has a leader, and not all its replicas are in sync"
    LEADERLESS = "it has no leader"
    MISSING = "it does not exist"


class Owed(NamedTuple):
    """A partition that owes an acknowledgement: since when (monotonic seconds), and why the last attempt failed."""

    since: float
    trouble: str


class ProgressJudge:
    """Says when waiting has become pointless.

    `bound_seconds` is how long a partition may owe an acknowledgement although it is well. One whose replicas are not all in sync has five
    times as long: there Kafka may be what refuses, and to give up the buffer would lose what it is there to keep.
    """

    def __init__(self, bound_seconds: float) -> None:
        self._bound_seconds = bound_seconds
        self._well_since: dict[Place, float] = {}

    def look(self, now: float, owed: Mapping[Place, Owed], found: Mapping[Place, Health] | None) -> str | None:
        """Takes in one look at Kafka; `found` is None if it did not answer. Returns why the process is stuck, None if it is not."""
        self._well_since = {place: since for place, since in self._well_since.items() if place in owed}
        for place, (since, trouble) in owed.items():
            health = Health.LEADERLESS if found is None else found.get(place, Health.MISSING)
            if health is Health.LEADERLESS:
                self._well_since.pop(place, None)
                continue
            waited = now - max(since, self._well_since.setdefault(place, now))
            if waited >= self._bound_seconds * (_DEGRADED_FACTOR if health is Health.DEGRADED else 1):
                topic, partition = place
                return (
                    f"Kafka answers, and has acknowledged nothing of topic {topic}, partition {partition}, for {now - since:.0f} s "
                    f"({health.value}; {trouble or 'no error was said'}): the service ends, to be started anew"
                )
        return None


async def look_at_kafka(connection: KafkaConnection, places: Collection[Place]) -> dict[Place, Health] | None:
    """How partitions are, as a client sees it that knows nothing from before. None if Kafka does not answer it."""
    try:
        client = Client(connection)
    except BackpackStreamsError:  # TLS files that cannot be read now
        return None
    try:
        async with asyncio.timeout(_LOOK_SECONDS):
            await client.bootstrap()
            if not await client.set_topics({topic for topic, _ in places}):
                return None
    except (TimeoutError, KafkaError, OSError):
        return None
    finally:
        await close_client(client)
    return {place: _health(client, place) for place in places}


def _health(client: Client, place: Place) -> Health:
    topic, partition = place
    found = client.cluster._partitions.get(topic, {}).get(partition)  # which replicas are in sync has no public name
    if found is None:
        return Health.MISSING
    if found.leader == -1:
        return Health.LEADERLESS
    return Health.WELL if len(found.isr) >= len(found.replicas) else Health.DEGRADED
