"""Ways in which programs leave an `async for` loop and come back. They must not lose anything."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")
Take = Callable[[T], None]

_AWAY_SECONDS = 0.05
"""The duration of a loop that ends by time."""


class Left(Exception):  # noqa: N818  # not an error: a program raises it to leave its own loop
    """Leave the loop."""


async def leave_often(stream: AsyncIterable[T], take: Take[T], items: int) -> NoReturn:
    """Read forever, and leave the loop every few items: in turn by break, by an exception, by a timeout and by cancellation.

    Args:
        stream: the stream to read.
        take: gets each item at once.
        items: how many, if the number ends the loop.
    """
    for way in itertools.cycle((_by_break, _by_exception, _by_timeout, _by_cancellation)):
        await way(stream, take, items)
        await asyncio.sleep(0)  # the program does something else
    raise AssertionError


async def _by_break(stream: AsyncIterable[T], take: Take[T], items: int) -> None:
    taken = 0
    async for item in stream:
        take(item)
        taken += 1
        if taken == items:
            break


async def _by_exception(stream: AsyncIterable[T], take: Take[T], items: int) -> None:
    taken = 0
    with contextlib.suppress(Left):
        async for item in stream:
            take(item)
            taken += 1
            if taken == items:
                raise Left


async def _by_timeout(stream: AsyncIterable[T], take: Take[T], _: int) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_AWAY_SECONDS):
            await _for_ever(stream, take)


async def _by_cancellation(stream: AsyncIterable[T], take: Take[T], _: int) -> None:
    reading = asyncio.ensure_future(_for_ever(stream, take))
    try:
        await asyncio.wait({reading}, timeout=_AWAY_SECONDS)
    finally:
        await ended(reading)


async def _for_ever(stream: AsyncIterable[T], take: Take[T]) -> None:
    async for item in stream:
        take(item)


async def ended(task: Awaitable[object]) -> None:
    """Cancel a task, wait for its end, and raise an earlier error of it."""
    assert isinstance(task, asyncio.Future)
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
