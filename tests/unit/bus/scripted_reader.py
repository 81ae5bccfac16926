"""A reader whose partitions, troubles and clock a test decides: what Kafka does to one that reads a topic to its end."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest
from aiokafka import TopicPartition

from backpack_streams.bus import topic_end
from backpack_streams.bus.reader import Place

Turn = Callable[["ScriptedReader"], None]


class ScriptedReader:
    """Partitions are logs of (offset, value); offsets may be missing. Each poll takes a turn of the script first, and a second.

    A turn may change anything, or raise what the poll then raises. `away` are partitions without a leader, `resetting` such whose
    beginning Kafka has yet to say.
    """

    def __init__(self, logs: Mapping[Place, Iterable[tuple[int, bytes]]], ends: Mapping[Place, int]) -> None:
        self.logs = {place: list(log) for place, log in logs.items()}
        self.log_ends = dict(ends)
        self.script: list[Turn] = []
        self.away: set[Place] = set()
        self.resetting: set[Place] = set()
        self.positions: dict[Place, int] = {}
        self.now = 0.0
        self.polls: list[int] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    async def places(self, topic: str) -> list[Place]:
        return sorted(place for place in self.log_ends if place[0] == topic)

    async def ends(self, places: Iterable[Place]) -> dict[Place, int]:
        return {place: self.log_ends[place] for place in places}

    async def beginnings(self, places: Iterable[Place]) -> dict[Place, int]:
        return {
            place: min((offset for offset, _ in self.logs[place]), default=self.log_ends[place]) for place in places
        }

    def assign(self, offsets: Mapping[Place, int]) -> None:
        self.positions = dict(offsets)

    follow = assign

    def reached(self, place: Place) -> int | None:
        return None if place in self.resetting else self.positions[place]

    async def poll(self, timeout_ms: int, most: int = 10_000, only: Iterable[Place] = ()) -> Mapping[Any, Any]:
        await asyncio.sleep(0)
        self.now += 1
        self.polls.append(most)
        if self.script:
            self.script.pop(0)(self)
        batches = {}
        for place in set(only or self.positions) - self.away - self.resetting:
            position = self.positions[place]
            records = [record(*place, *entry) for entry in self.logs[place] if entry[0] >= position][:most]
            if records:
                batches[TopicPartition(*place)] = records
            is_all = not records or records[-1].offset == self.logs[place][-1][0]
            self.positions[place] = self.log_ends[place] if is_all else records[-1].offset + 1
            most -= len(records)
            if not most:
                break
        return batches


def record(topic: str, partition: int, offset: int, value: bytes) -> Any:
    return SimpleNamespace(
        topic=topic, partition=partition, offset=offset, key=b"k", value=value, timestamp=1_700_000_000_000
    )


def keep_time(reader: ScriptedReader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads to an end has the reader's clock from now on, and waits for nothing."""
    monkeypatch.setattr(topic_end, "time", SimpleNamespace(monotonic=lambda: reader.now))
    monkeypatch.setattr(topic_end, "_FIRST_RETRY_SECONDS", 1e-9)
    monkeypatch.setattr(topic_end, "_LONGEST_RETRY_SECONDS", 1e-9)
