"""What anybody may write to a topic does not end the gateway's reading, and after an outage nothing is missing unnoticed."""

import asyncio
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import ConsumerRecord
from stream_book import read

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.gateway.market_data import MarketData
from backpack_streams.gateway.plant import Plant
from backpack_streams.gateway.record_feed import RecordFeed
from backpack_streams.gateway.stream.broadcast import Broadcast
from backpack_streams.gateway.stream.client import CloseCode, Ending, StreamClient
from backpack_streams.gateway.stream.messages import Message
from backpack_streams.gateway.stream.requests import StreamRequest
from backpack_streams.gateway.topic_names import TRADE_TOPIC
from topics_in_memory import CODEC, PREFIX, T0, MemoryReader, Topics

INTEREST = {
    "symbol": "A",
    "source": "WEBSOCKET",
    "received_time": T0,
    "event_time": T0,
    "engine_time": T0,
    "cache_age_seconds": None,
    "open_interest": "1",
}
OUTAGE_TAILS = {TRADE_TOPIC: 10}


class EndOfTopicsError(Exception):
    """Everything was read."""


class EndingReader(MemoryReader):
    at_end: Callable[[], object] | None = None
    """Done when everything was read, once."""

    async def poll(
        self, timeout_ms: int, most: int = 10_000, only: Iterable[TopicPartition] = ()
    ) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        found = await super().poll(timeout_ms, most, only)
        if not found:
            act, self.at_end = self.at_end, None
            if act is None:
                raise EndOfTopicsError
            act()
        return found


async def test_records_of_another_kind_are_counted_and_passed_over() -> None:
    topics = Topics()
    topics.trade(1)
    topics.add(TRADE_TOPIC, "A", "OpenInterest", INTEREST, T0)
    odd = topics.add(TRADE_TOPIC, "A", "OpenInterest", INTEREST, T0)
    log = topics.logs[odd.topic, odd.partition]
    log[-1] = replace(odd, key=b"\xff\xfe")
    topics.trade(2)
    data = MarketData()
    feed = RecordFeed(KafkaConnection("127.0.0.1:1"), CODEC, PREFIX, data, Plant())
    offsets = {each: 0 for each in topics.logs if each[0] == PREFIX + TRADE_TOPIC}
    with pytest.raises(EndOfTopicsError):
        await feed._follow(EndingReader(topics), offsets)  # type: ignore[arg-type]
    assert [entry.row["id"] for entry in data.trade_window("A").newest(9)] == [2, 1]
    assert feed.undecodable_records == 2


class JoiningReader(EndingReader):
    """Ends only while it follows."""

    is_following = False

    async def existing_topic_partitions(self, names: Iterable[str]) -> dict[str, list[TopicPartition]]:
        found = {name: await self.topic_partitions(name) for name in names}
        return {name: each for name, each in found.items() if each}

    def follow(self, offsets: Mapping[TopicPartition, int], topics: Container[str] | None = None) -> None:
        self.is_following = True
        super().follow(offsets, topics)

    async def poll(
        self, timeout_ms: int, most: int = 10_000, only: Iterable[TopicPartition] = ()
    ) -> Mapping[TopicPartition, list[ConsumerRecord]]:
        if not self.is_following:
            return await MemoryReader.poll(self, timeout_ms, most, only)
        return await super().poll(timeout_ms, most, only)


class World:
    """A feed that keeps 10 trades of a partition at its start, and a client of the stream of trades."""

    def __init__(self) -> None:
        self.topics = Topics({TRADE_TOPIC: 1})
        self.partition = PREFIX + TRADE_TOPIC, 0
        self.data = MarketData()
        self.data.set_markets({"A": {"symbol": "A"}})
        self.feed = RecordFeed(KafkaConnection("127.0.0.1:1"), CODEC, PREFIX, self.data, Plant(), OUTAGE_TAILS)
        self.broadcast = Broadcast(self.data)
        self.data.subscribe(self.broadcast.on_change)
        self.sent: list[dict[str, Any]] = []
        self.codes: list[int] = []

    async def connect(self) -> None:
        """Read everything, then lose the connection."""
        reader: Any = JoiningReader(self.topics)
        offsets = await self.feed._join(reader)
        with pytest.raises(EndOfTopicsError):
            await self.feed._follow(reader, offsets)
        await asyncio.sleep(0.05)

    async def follow(self, meanwhile: Callable[[], object]) -> bool:
        """Read everything, then what is there after `meanwhile`. Returns whether the feed goes on to read."""
        reader: Any = JoiningReader(self.topics)
        offsets = await self.feed._join(reader)
        reader.at_end = meanwhile
        try:
            await self.feed._follow(reader, offsets)
        except EndOfTopicsError:
            return True
        return False

    def write(self, first: int, last: int) -> None:
        for trade_id in range(first, last + 1):
            self.topics.trade(trade_id, seconds=trade_id)
        self.topics.watermark(["trade.A"], last + 1, last)

    async def subscribe(self, **request: Any) -> None:
        client = StreamClient()
        self.broadcast.join(client, self)
        self.broadcast.apply(client, StreamRequest("subscribe", ["trades"], ["A"], **request))
        await asyncio.sleep(0.05)

    @property
    def is_ready(self) -> bool:
        return True

    def send(self, messages: list[Message]) -> None:
        self.sent += [read(message) for message in messages]

    def end(self, ending: Ending) -> None:
        self.codes.append(ending.code)

    def kinds(self) -> list[str]:
        return [message["type"] for message in self.sent]


@pytest.fixture
async def world() -> World:
    """After five trades, which the client has."""
    world = World()
    world.write(1, 5)
    await world.connect()
    await world.subscribe()
    return world


async def test_whatever_was_written_while_kafka_was_away_is_read(world: World) -> None:
    assert [row["id"] for row in world.sent[-1]["data"]] == [5, 4, 3, 2, 1]
    world.sent.clear()
    world.write(6, 45)
    await world.connect()
    assert [message["data"]["id"] for message in world.sent] == list(range(6, 46))
    assert (world.codes, world.feed.tails[world.partition]) == ([], 0)


@pytest.mark.parametrize("is_recreated", [False, True])
async def test_streams_end_if_records_left_kafka_unread(world: World, is_recreated: bool) -> None:
    sequence = world.sent[-1]["sequence"]
    if is_recreated:
        world.topics.logs[world.partition].clear()
        world.topics.end_of[world.partition] = 0
        world.write(6, 8)
    else:
        world.write(6, 45)
        world.topics.remove_before(world.partition, 20)
    world.sent.clear()
    await world.connect()
    assert (world.codes, world.kinds()) == ([CloseCode.RESTART], [])
    newest = [entry.row["id"] for entry in world.data.newest("trades", "A", 99)]
    assert newest == (list(range(8, 5, -1)) if is_recreated else list(range(45, 35, -1)))
    await world.subscribe(resume={"trades.A": sequence})
    assert world.kinds() == ["subscribed", "conflated", "snapshot"]


@pytest.mark.parametrize("what", ["removed", "recreated", "recreated and as long"])
async def test_streams_end_if_records_leave_kafka_while_it_is_read(world: World, what: str) -> None:
    def lose() -> None:
        if what == "removed":
            world.write(6, 45)
            world.topics.remove_before(world.partition, 20)
        else:
            world.topics.recreate(TRADE_TOPIC)
            world.write(100, 101 if what == "recreated" else 140)

    world.sent.clear()
    assert not await world.follow(lose)
    assert (world.codes, world.sent) == ([], [])
    await world.connect()
    assert (world.codes, world.kinds()) == ([CloseCode.RESTART], [])
    newest = [entry.row["id"] for entry in world.data.newest("trades", "A", 99)]
    last, count = {"removed": (45, 10), "recreated": (101, 2)}.get(what, (140, 10))
    assert newest == list(range(last, last - count, -1))


async def test_offsets_that_no_record_ever_had_are_no_loss(world: World) -> None:
    def skip() -> None:
        world.topics.skip(world.partition)
        world.write(6, 7)

    assert await world.follow(skip)
    await asyncio.sleep(0.05)
    assert [message["data"]["id"] for message in world.sent[-2:]] == [6, 7]
    assert world.codes == []


async def test_right_after_a_record_that_cannot_be_read_nothing_is_complete(world: World) -> None:
    def write_unreadable() -> None:
        world.write(6, 7)
        log = world.topics.logs[world.partition]
        log[-1] = replace(log[-1], value=b"?")

    assert await world.follow(write_unreadable)
    assert world.feed.undecodable_records == 1
    assert world.feed.complete_through(TRADE_TOPIC) is None
    assert await world.follow(lambda: world.write(8, 8))
    assert world.feed.complete_through(TRADE_TOPIC) == T0 + 9_000_000
