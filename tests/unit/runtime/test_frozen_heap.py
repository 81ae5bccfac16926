"""The heap is frozen once, when the service is ready for the first time."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from backpack_streams.runtime.frozen_heap import freeze_when_ready


@pytest.fixture(autouse=True)
def _thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


async def test_a_heap_is_frozen_once_its_service_is_ready() -> None:
    looks: list[int] = []

    def not_ready() -> list[str]:
        looks.append(gc.get_freeze_count())
        return ["starting"] if len(looks) < 3 else []

    before = gc.get_freeze_count()
    await asyncio.wait_for(freeze_when_ready(not_ready, look_seconds=0.001), 10)
    assert looks == [before] * 3
    assert gc.get_freeze_count() > before


async def test_garbage_of_the_start_is_collected_before() -> None:
    class Node:
        freed = 0
        me: "Node"

        def __del__(self) -> None:
            Node.freed += 1

    gc.disable()
    try:
        node = Node()
        node.me = node
        del node
        await freeze_when_ready(list)
    finally:
        gc.enable()
    assert Node.freed == 1


async def test_what_is_made_later_is_still_collected() -> None:
    await freeze_when_ready(list)
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
