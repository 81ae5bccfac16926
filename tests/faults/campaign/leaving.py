"""Ways to leave an `async for` loop and to come back, as programs do. Whoever reads a stream so must lose nothing."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterable, Awaitable, Callable
from typing import NoReturn, TypeVar

T = TypeVar("T")
Take = Callable[[T], None]

_AWAY_SECONDS = 0.05
"""How long a loop runs that ends by time."""


class Left(Exception):  # noqa: N818  # no error of anybody: what a program raises to get out of its own loop
    """The program has had enough for now."""


async def leave_often(stream: AsyncIterable[T], take: Take[T], items: int) -> NoReturn:
    """Reads for ever, and leaves the loop every few items: by break, by an exception, when time is up, cancelled, in turn.

    Args:
        stream: what is read.
        take: gets each item at once.
        items: how many, where the number ends the loop.
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
    """Cancels a task, waits for its end, and raises what ended it before."""
    assert isinstance(task, asyncio.Future)
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.result()
