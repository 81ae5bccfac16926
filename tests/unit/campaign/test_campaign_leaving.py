"""The program that leaves its loop: it loses nothing of a stream that keeps its state, and shows what another one loses."""

import asyncio
from collections.abc import AsyncIterator
from typing import Self

import pytest

from faults.campaign.leaving import ended, leave_often

ITEMS = 60


class Kept:
    """A stream whose state outlives every loop."""

    def __init__(self, fails_at: int = ITEMS + 1) -> None:
        self._next = 0
        self._fails_at = fails_at
        self.loops = 0

    def __aiter__(self) -> Self:
        self.loops += 1
        return self

    async def __anext__(self) -> int:
        await asyncio.sleep(0.002)
        if self._next == self._fails_at:
            raise OSError("Kafka is away")
        self._next += 1
        return self._next


class Batches:
    """A stream that gives batches by a generator: the rest of a batch dies with it."""

    def __init__(self) -> None:
        self._next = 0

    async def __aiter__(self) -> AsyncIterator[int]:
        while True:
            await asyncio.sleep(0.002)
            batch = range(self._next, self._next + 5)
            self._next += 5
            for each in batch:
                yield each


async def read(stream: Kept | Batches) -> list[int]:
    given: list[int] = []
    enough = asyncio.Event()

    def take(item: int) -> None:
        given.append(item)
        if len(given) >= ITEMS:
            enough.set()

    reading = asyncio.create_task(leave_often(stream, take, 3))
    await asyncio.wait({reading, asyncio.create_task(enough.wait())}, return_when=asyncio.FIRST_COMPLETED)
    await ended(reading)
    return given


def test_nothing_is_lost_of_a_stream_that_keeps_its_state():
    stream = Kept()
    given = asyncio.run(read(stream))
    assert given == list(range(1, len(given) + 1))
    assert stream.loops >= 4, "each way to leave"


def test_what_dies_with_a_loop_is_seen():
    given = asyncio.run(read(Batches()))
    assert given != list(range(given[0], given[0] + len(given)))


@pytest.mark.parametrize("at", range(0, 30, 3))
def test_what_the_stream_raises_comes_out_whichever_way_it_is_left(at):
    with pytest.raises(OSError, match="Kafka is away"):
        asyncio.run(read(Kept(fails_at=at)))
