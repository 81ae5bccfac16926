"""Membership in a consumer group of a real Kafka: partitions that stayed ours, and partitions that another member may have had."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.group import GroupMember
from backpack_streams.bus.topics import Topic
from embedded_kafka import BlockingKafka

ALL = frozenset(range(4))
SESSION_SECONDS = 6.0  # the minimum of Kafka
DECIDED_SECONDS = 30.0


class Builder:
    """A member whose work is divided by the group; it keeps checking whether its partitions are still its own."""

    def __init__(self, connection: KafkaConnection, topic: str) -> None:
        self.kept: list[frozenset[int]] = []
        self.handed_over: list[frozenset[int]] = []
        self.renews = True
        self.member = GroupMember(connection, f"of {topic}", topic, SESSION_SECONDS, self._hand_over, self.kept.append)

    async def _hand_over(self, partitions: frozenset[int]) -> None:
        self.handed_over.append(partitions)

    @asynccontextmanager
    async def working(self) -> AsyncIterator["Builder"]:
        async with self.member, asyncio.TaskGroup() as tasks:
            renewing = tasks.create_task(self._renew())
            yield self
            renewing.cancel()

    async def _renew(self) -> None:
        while True:
            if self.renews:
                await self.member.renew(dict.fromkeys(self.member.assigned or (), 0))
            await asyncio.sleep(0.1)

    def owns(self) -> bool:
        return self.member.is_ours(time.monotonic())


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DECIDED_SECONDS):
        while not holds():  # noqa: ASYNC110  # there is no event for it
            await asyncio.sleep(0.05)


@pytest.fixture
async def topic(kafka: BlockingKafka, request: pytest.FixtureRequest) -> tuple[KafkaConnection, str]:
    connection = KafkaConnection(kafka.bootstrap_servers)
    name = f"group-{request.node.name}"
    await TopicAdmin(connection, "").apply([Topic(name, "Gap", len(ALL))])
    return connection, name


async def test_partitions_that_were_given_away_and_came_back_do_not_count_as_kept(
    topic: tuple[KafkaConnection, str],
) -> None:
    async with Builder(*topic).working() as first:
        await until(first.owns)
        assert (first.member.assigned, first.kept) == (ALL, [frozenset()])
        async with Builder(*topic).working() as second:
            await until(lambda: first.owns() and second.owns() and first.member.assigned != ALL)
            ours, others = first.member.assigned, second.member.assigned
            assert ours is not None
            assert others is not None
            assert (len(ours), ours | others, ours & others) == (2, ALL, frozenset())
            assert first.kept[-1] == ours, "nobody had them in between"
            assert second.kept[-1] == frozenset()
            assert first.handed_over == [ALL]
        await until(lambda: first.owns() and first.member.assigned == ALL)
        assert first.kept[-1] == ours


async def test_partitions_that_were_not_confirmed_for_a_while_do_not_count_as_kept(
    topic: tuple[KafkaConnection, str],
) -> None:
    async with Builder(*topic).working() as first:
        await until(first.owns)
        first.renews = False
        await until(lambda: not first.owns())
        async with Builder(*topic).working():
            await until(lambda: first.member.rebalances == 2)
            assert first.kept[-1] == frozenset()
            assert first.member.assigned
            assert not first.owns()
            first.renews = True
            await until(first.owns)
