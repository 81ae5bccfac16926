"""Membership in a consumer group, for the division of work alone: which partitions of a topic are ours, and whether they still are.

Where to read from is not the group's business; offsets are committed as a sign of life, and so that whoever watches the group's
lag sees it.
"""

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
"""How long the group waits for a member to join again: longer than it takes one that lives to hand over."""
_LEASE_SHARE = 0.8
"""Share of the session for which a member that was just heard of can be sure to be one."""


class GroupMember:
    """One member. Use as an async context manager.

    `on_revoked` is awaited with the partitions before they may go to others: what is still to be written of them is written there.
    `on_assigned` is told, whenever the group has shared out the partitions anew, which of ours have been ours all along. Of the
    others somebody else may have written, even where they were ours before.
    """

    def __init__(
        self,
        connection: KafkaConnection,
        group_id: str,
        topic: str,
        session_seconds: float,
        on_revoked: Callable[[frozenset[int]], Awaitable[None]],
        on_assigned: Callable[[frozenset[int]], None],
    ) -> None:
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
        """The partitions that are ours; None while the group decides."""
        self.rebalances = 0
        self.confirmed_at: float | None = None
        """When Kafka last confirmed what is assigned (monotonic seconds); None while nothing is."""

    async def __aenter__(self) -> Self:
        """Joins the group; which partitions are ours is known a moment later.

        Raises:
            BusError: Kafka cannot be reached or refuses.
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
        self._consumer = consumer  # partitions may be ours before `start` returns
        try:
            await consumer.start()
        except (TimeoutError, KafkaError, OSError) as error:
            self._consumer = None
            await stop_consumer(consumer)
            raise self._connection.explain(error) from error
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._consumer is not None:
            await stop_consumer(self._consumer)  # leaves the group, so the others need not wait for the session's end

    def is_ours(self, now: float) -> bool:
        """Whether what is assigned is ours for certain; `now` is in monotonic seconds.

        A process that was suspended wakes up believing what was true before. Kafka gives nothing of ours to others within a session
        after it heard of us, so we trust the assignment for somewhat less than that.
        """
        return bool(self.assigned) and now < self._lease_end

    async def renew(self, offsets: Mapping[int, int]) -> bool:
        """Tells Kafka that we are there, and the offsets of what comes next; whether it agrees that they are ours."""
        consumer = self._consumer
        if consumer is None or self.assigned is None:
            return False
        asked_at = time.monotonic()
        try:
            await consumer.getmany(timeout_ms=0)  # nothing is read, but a consumer that never asks is taken for stuck
            ours = {TopicPartition(self._topic, each): offset for each, offset in offsets.items()}
            if ours:
                await consumer.commit(ours)
                self.confirmed_at = asked_at
        except (KafkaError, IllegalStateError, OSError) as error:  # a rebalance under way is one of them
            logger.info("the group does not confirm what is ours", extra={"group": self._group_id, "error": str(error)})
            return False
        self._lease_end = asked_at + self._session_seconds * _LEASE_SHARE
        return True

    async def look_for_partitions(self) -> None:
        """Asks Kafka which partitions the topic has; where some were added, the group shares out all of them anew."""
        if self._consumer is not None:
            try:
                await self._consumer._client.force_metadata_update()  # else it would look every five minutes
            except (KafkaError, OSError) as error:
                logger.info("kafka does not say which partitions there are", extra={"error": str(error)})

    async def _revoked(self, partitions: frozenset[int]) -> None:
        if partitions:
            await self._on_revoked(partitions)
        # Within the lease the group waits for us to join again and gives nothing of ours away before.
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
