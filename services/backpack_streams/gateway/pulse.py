"""Asks Kafka every second whether it answers, and how far topics have come. A reader would wait silently for a lost cluster."""

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import Final

from backpack_streams.bus.access import ACCESS
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.errors import BusError
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.topic_partition import TopicPartition

__all__ = ["Pulse"]

logger = logging.getLogger(__name__)

PART: Final = "pulse"
_EVERY_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 5.0
_LOOK_EVERY: Final = 15
"""The list of topics is updated with every fifteenth request."""


class Pulse:
    """Keeps the read model informed of whether Kafka answers."""

    def __init__(
        self,
        connection: KafkaConnection,
        prefix: str,
        data: MarketData,
        plant: Plant,
        topics: Sequence[str] = ACCESS["gateway"].reads,
    ) -> None:
        """Prepare; `run` connects.

        Args:
            connection: how to reach Kafka.
            prefix: the prefix of the topics.
            data: the read model, whose availability this sets.
            plant: gets the ends of the topics.
            topics: the topics, without prefix, whose ends are looked up.
        """
        self._connection = connection
        self._prefix = prefix
        self._data = data
        self._plant = plant
        self._topics = topics
        self.failures = 0
        """Requests without an answer so far."""
        self.answers = 0
        """Requests with an answer so far."""
        self.answered_at: float | None = None
        """When Kafka answered last (monotonic seconds); None before its first answer."""

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            try:
                async with Reader(self._connection) as reader:
                    await self._ask(reader)
            except (BusError, TimeoutError) as error:
                self.on_failure(error, time.monotonic())
            await asyncio.sleep(_EVERY_SECONDS)

    async def _ask(self, reader: Reader) -> None:
        """Ask every second until there is no answer.

        Raises:
            BusError: Kafka refuses or is unreachable.
            TimeoutError: Kafka has not answered within five seconds.
        """
        topic_partitions: list[TopicPartition] = []
        questions = 0
        while True:
            async with asyncio.timeout(_ANSWER_SECONDS):
                if questions % _LOOK_EVERY == 0:
                    topic_partitions = await self._topic_partitions(reader)
                self._take_ends(await reader.ends(topic_partitions))
            questions += 1
            self.answers += 1
            self.answered_at = time.monotonic()
            self._data.set_unavailable(PART, "")
            await asyncio.sleep(_EVERY_SECONDS)

    async def _topic_partitions(self, reader: Reader) -> list[TopicPartition]:
        existing = await reader.existing_topic_partitions(self._prefix + name for name in self._topics)
        return [each for topic_partitions in existing.values() for each in topic_partitions]

    def _take_ends(self, ends: dict[TopicPartition, int]) -> None:
        sums: dict[str, int] = {}
        for (name, _), end in ends.items():
            topic = name.removeprefix(self._prefix)
            sums[topic] = sums.get(topic, 0) + end
        self._plant.take_ends(sums, time.monotonic())

    def on_failure(self, error: BusError | TimeoutError, now: float) -> None:
        """Count a request without an answer. Report Kafka as gone if it has not answered for five seconds, or never has.

        A change of leader takes less, and the readers continue meanwhile.

        Args:
            error: the failure.
            now: the time (monotonic seconds).
        """
        self.failures += 1
        where = self._connection.bootstrap_servers
        why = (
            str(error)
            if isinstance(error, BusError)
            else f"Kafka at {where} has not answered for {_ANSWER_SECONDS:g} s"
        )
        logger.warning("kafka does not answer", extra={"error": why})
        if self.answered_at is None or now - self.answered_at >= _ANSWER_SECONDS:
            self._data.set_unavailable(PART, why)
