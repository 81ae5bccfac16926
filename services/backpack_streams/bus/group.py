"""Membership in a consumer group, used only to divide the partitions of a topic among processes.

The group does not store where to resume. Offsets are committed as a sign of life, and so that monitoring of the group's
lag works.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError

from backpack_streams.bus.clients import Consumer
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import stop_consumer

__all__ = ["GroupMember"]

logger = logging.getLogger(__name__)

_HEARTBEATS_A_SESSION = 3
_REBALANCE_MILLIS = 60_000
"""How long the group waits for members to rejoin: longer than a live member needs to hand over."""
_LEASE_SHARE = 0.8
"""Share of the session during which a member that Kafka has just confirmed can rely on its assignment."""


class GroupMember:
    """One member of a consumer group. Use as an async context manager."""

    def __init__(
        self,
        connection: KafkaConnection,
        group_id: str,
        topic: str,
        session_seconds: float,
        on_revoked: Callable[[frozenset[int]], Awaitable[None]],
        on_assigned: Callable[[frozenset[int]], None],
    ) -> None:
        """Prepare; `__aenter__` joins.

        Args:
            connection: how to reach Kafka.
            group_id: the consumer group.
            topic: the full name of the topic whose partitions are divided.
            session_seconds: Kafka's session timeout; a member silent for longer loses its partitions.
            on_revoked: awaited with the partitions before other members may get them. Finish writing for them here.
            on_assigned: called after each rebalance with those assigned partitions that this member has owned without
                interruption. Another member may have written for the rest, even if this member owned them before.
        """
        self._connection = connection
        self._group_id = group_id
        self._topic = topic
        self._session_seconds = session_seconds
        self._on_revoked = on_revoked
        self._on_assigned = on_assigned
        self._handed_over = frozenset[int]()
        self._consumer: AIOKafkaConsumer | None = None
        self._lease_end = float("-inf")
        self.assigned: frozenset[int] | None = None
        """The assigned partitions; None during a rebalance."""
        self.rebalances = 0
        self.confirmed_at: float | None = None
        """When Kafka last confirmed the assignment (monotonic seconds); None before the first confirmation."""

    async def __aenter__(self) -> Self:
        """Join the group. The assignment follows shortly after.

        Raises:
            BusError: Kafka is unreachable or refuses.
        """
        session_millis = int(self._session_seconds * 1000)
        consumer = Consumer(
            self._connection,
            group_id=self._group_id,
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=session_millis,
            heartbeat_interval_ms=session_millis // _HEARTBEATS_A_SESSION,
            rebalance_timeout_ms=_REBALANCE_MILLIS,
            partition_assignment_strategy=[StickyPartitionAssignor],
        )
        consumer.subscribe([self._topic], listener=_Listener(self))
        self._consumer = consumer  # partitions may be assigned before `start` returns
        try:
            await consumer.start()
        except (TimeoutError, KafkaError, OSError) as error:
            self._consumer = None
            await stop_consumer(consumer)
            raise self._connection.explain(error) from error
        except asyncio.CancelledError:
            self._consumer = None
            await stop_consumer(consumer)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            await stop_consumer(
                self._consumer
            )  # leaves the group, so that the others need not wait for the session to expire

    def is_ours(self, now: float) -> bool:
        """Whether the assigned partitions certainly still belong to this member. `now` is in monotonic seconds.

        A process that was suspended resumes with outdated beliefs. Kafka reassigns a member's partitions only after a
        full session without hearing from it, so the assignment is trusted for slightly less than one session.
        """
        return bool(self.assigned) and now < self._lease_end

    async def renew(self, offsets: Mapping[int, int]) -> bool:
        """Send a sign of life and the next offset of each partition. Returns whether Kafka confirms the assignment.

        Args:
            offsets: by partition, the offset of the next record.
        """
        consumer = self._consumer
        if consumer is None or self.assigned is None:
            return False
        asked_at = time.monotonic()
        try:
            await consumer.getmany(timeout_ms=0)  # reads nothing, but Kafka considers a consumer that never polls stuck
            ours = {TopicPartition(self._topic, each): offset for each, offset in offsets.items()}
            if ours:
                await consumer.commit(ours)
                self.confirmed_at = asked_at
        except (KafkaError, IllegalStateError, OSError) as error:  # includes a rebalance in progress
            logger.info(
                "the consumer group does not confirm the assignment",
                extra={"group": self._group_id, "error": str(error)},
            )
            return False
        self._lease_end = asked_at + self._session_seconds * _LEASE_SHARE
        return True

    async def look_for_partitions(self) -> None:
        """Refresh the number of the topic's partitions; if some were added, the group divides all of them again."""
        if self._consumer is not None:
            try:
                await self._consumer._client.force_metadata_update()  # the default is every five minutes
            except (KafkaError, OSError) as error:
                logger.info("kafka does not answer how many partitions the topic has", extra={"error": str(error)})

    async def _revoked(self, partitions: frozenset[int]) -> None:
        if partitions:
            await self._on_revoked(partitions)
        # Within the lease, the group waits for this member to rejoin before it reassigns its partitions.
        self._handed_over = partitions if self.is_ours(time.monotonic()) else frozenset()
        self.assigned = None
        self._lease_end = float("-inf")

    def _assigned(self, partitions: frozenset[int]) -> None:
        assert self._consumer is not None
        self._consumer.pause(*(TopicPartition(self._topic, each) for each in partitions))
        self.assigned = partitions
        self.rebalances += 1
        self._on_assigned(partitions & self._handed_over)
        self._handed_over = frozenset()
        logger.info("partitions assigned", extra={"group": self._group_id, "partitions": sorted(partitions)})


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no type hints
    def __init__(self, member: GroupMember) -> None:
        self._member = member

    async def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        await self._member._revoked(frozenset(each.partition for each in revoked))  # a listener is part of its member

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        self._member._assigned(frozenset(each.partition for each in assigned))
