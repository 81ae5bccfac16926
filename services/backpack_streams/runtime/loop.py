"""The event loop that our processes run in: uvloop where it is installed, asyncio's own elsewhere."""

import asyncio
from collections.abc import Callable, Iterable


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What `asyncio.Runner(loop_factory=...)` is to be given."""
    try:
        import uvloop
    except ImportError:  # it is an extra, and not made for every platform
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


async def first_to_end(tasks: Iterable["asyncio.Task[None]"], may_end: "asyncio.Task[None]") -> None:
    """Waits for the first of `tasks` to end; an error in it, or in the one that may end, is raised."""
    waiting = {*tasks, may_end}
    while True:
        done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        if done != {may_end}:
            return
