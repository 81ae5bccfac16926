"""A reader whose partitions, errors and clock a test controls: what Kafka may do while a topic is read to its end."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest
from aiokafka import TopicPartition

from backpack_streams.bus import topic_end

Turn = Callable[["ScriptedReader"], None]


class ScriptedReader:
    """Partitions are logs of (offset, value); offsets may be missing. Each poll takes one turn of the script first, and one second.

    A turn may change anything, or raise what the poll then raises. `away` are partitions without a leader, `resetting` those whose
    beginning Kafka has not returned yet.
    """

    def __init__(
        self, logs: Mapping[TopicPartition, Iterable[tuple[int, bytes]]], ends: Mapping[TopicPartition, int]
    ) -> None:
        self.logs = {each: list(log) for each, log in logs.items()}
        self.log_ends = dict(ends)
        self.script: list[Turn] = []
        self.away: set[TopicPartition] = set()
        self.resetting: set[TopicPartition] = set()
        self.positions: dict[TopicPartition, int] = {}
        self.now = 0.0
        self.polls: list[int] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def topic_partitions(self, topic: str) -> list[TopicPartition]:
        return sorted(each for each in self.log_ends if each[0] == topic)

    async def ends(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {each: self.log_ends[each] for each in topic_partitions}

    async def beginnings(self, topic_partitions: Iterable[TopicPartition]) -> dict[TopicPartition, int]:
        return {
            each: min((offset for offset, _ in self.logs[each]), default=self.log_ends[each])
            for each in topic_partitions
        }

    def assign(self, offsets: Mapping[TopicPartition, int]) -> None:
        self.positions = dict(offsets)

    follow = assign

    def reached(self, topic_partition: TopicPartition) -> int | None:
        return None if topic_partition in self.resetting else self.positions[topic_partition]

    async def poll(self, timeout_ms: int, most: int = 10_000, only: Iterable[TopicPartition] = ()) -> Mapping[Any, Any]:
        await asyncio.sleep(0)
        self.now += 1
        self.polls.append(most)
        if self.script:
            self.script.pop(0)(self)
        batches = {}
        for topic_partition in set(only or self.positions) - self.away - self.resetting:
            position = self.positions[topic_partition]
            records = [record(topic_partition, *entry) for entry in self.logs[topic_partition] if entry[0] >= position][
                :most
            ]
            if records:
                batches[TopicPartition(*topic_partition)] = records
            is_all = not records or records[-1].offset == self.logs[topic_partition][-1][0]
            self.positions[topic_partition] = self.log_ends[topic_partition] if is_all else records[-1].offset + 1
            most -= len(records)
            if not most:
                break
        return batches


def record(topic_partition: TopicPartition, offset: int, value: bytes) -> Any:
    topic, partition = topic_partition
    return SimpleNamespace(
        topic=topic, partition=partition, offset=offset, key=b"k", value=value, timestamp=1_700_000_000_000
    )


def keep_time(reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading to an end uses the reader's clock from now on, without real waiting."""
    monkeypatch.setattr(topic_end, "time", SimpleNamespace(monotonic=lambda: reader.now))
    monkeypatch.setattr(topic_end, "_FIRST_RETRY_SECONDS", 1e-9)
    monkeypatch.setattr(topic_end, "_LONGEST_RETRY_SECONDS", 1e-9)
