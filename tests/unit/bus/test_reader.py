"""A cancelled poll loses nothing, even while it fetches a schema."""

import asyncio
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader

A, B = TopicPartition("t", 0), TopicPartition("t", 1)


class Consumer:
    """Returns each answer once and is then positioned after it, as aiokafka does."""

    def __init__(self, *answers: dict[TopicPartition, list[Any]]) -> None:
        self.answers = list(answers)
        self._fetcher = SimpleNamespace(error_future=SimpleNamespace(done=lambda: False))

    async def getmany(
        self, *chosen: TopicPartition, timeout_ms: int, max_records: int
    ) -> dict[TopicPartition, list[Any]]:
        return self.answers.pop(0) if self.answers else {}

    def assign(self, topic_partitions: Iterable[TopicPartition]) -> None:
        return

    def seek(self, topic_partition: TopicPartition, offset: int) -> None:
        return


class Record:
    def __init__(self, value: bytes) -> None:
        self.value = value


class SlowCodec:
    """`meet` returns only once the registry answers."""

    def __init__(self) -> None:
        self.answers = asyncio.Event()
        self.met: list[bytes] = []

    async def meet(self, values: Iterable[bytes]) -> None:
        await self.answers.wait()
        self.met += values


def reader_of(consumer: Consumer, codec: SlowCodec | None) -> Reader:
    reader = Reader(KafkaConnection("localhost:1"), codec)  # type: ignore[arg-type]
    reader._consumer = consumer
    return reader


async def cancelled_poll(reader: Reader) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await reader.poll(0)


async def test_a_poll_cancelled_while_a_schema_is_fetched_loses_nothing() -> None:
    codec, batch = SlowCodec(), [Record(b"1"), Record(b"2")]
    reader = reader_of(Consumer({A: batch}, {A: [Record(b"3")]}), codec)
    await cancelled_poll(reader)
    await cancelled_poll(reader)
    codec.answers.set()
    assert await reader.poll(0) == {A: batch}
    assert codec.met == [b"1", b"2"]
    assert [each.value for each in (await reader.poll(0))[A]] == [b"3"]
    assert await reader.poll(0) == {}


async def test_only_the_requested_partitions_are_given() -> None:
    codec, first, second = SlowCodec(), [Record(b"1")], [Record(b"2")]
    reader = reader_of(Consumer({A: first, B: second}), codec)
    await cancelled_poll(reader)
    codec.answers.set()
    assert await reader.poll(0, only=[("t", 1)]) == {B: second}
    assert await reader.poll(0, only=[("t", 0)]) == {A: first}


async def test_records_read_before_an_assignment_are_dropped() -> None:
    codec = SlowCodec()
    reader = reader_of(Consumer({A: [Record(b"1")]}, {A: [Record(b"2")]}), codec)
    await cancelled_poll(reader)
    reader.assign({("t", 0): 1})
    codec.answers.set()
    assert [each.value for each in (await reader.poll(0))[A]] == [b"2"]


async def test_without_a_codec_records_are_given_unchanged() -> None:
    batch = [Record(b"1")]
    assert await reader_of(Consumer({A: batch}), None).poll(0) == {A: batch}
