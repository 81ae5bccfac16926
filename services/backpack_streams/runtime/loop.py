"""The event loop that our processes run in: uvloop where it is installed, asyncio's own elsewhere."""

import asyncio
from collections.abc import Callable, Iterable

Task = asyncio.Task[None]


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """What `asyncio.Runner(loop_factory=...)` is to be given."""
    try:
        import uvloop
    except ImportError:  # it is an extra, and not made for every platform
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class BackgroundTasks:
    """What a service does until it is stopped: whatever of it ends, ends the service.

    Attributes:
        failures: what has ended although nothing asked it to: /healthz says so from then on, however long the service takes to leave.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []

    async def first_to_end(self, tasks: Iterable[Task], stop: asyncio.Event, may_end: Task | None = None) -> None:
        """Waits for the first of `tasks` to end, or for `stop`; an error in one of them, or in the one that may end, is raised."""
        stopping = asyncio.create_task(_wait(stop), name="stop")
        waiting = {*tasks, stopping} | ({may_end} if may_end is not None else set())
        try:
            while True:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                ended = [task for task in done - {stopping} if task is not may_end or _failed(task)]
                self.failures += map(_told, ended)
                for task in done:
                    task.result()
                if done != {may_end}:
                    return
        finally:
            stopping.cancel()


async def _wait(stop: asyncio.Event) -> None:
    await stop.wait()


def _failed(task: Task) -> bool:
    return task.cancelled() or task.exception() is not None


def _told(task: Task) -> str:
    error = None if task.cancelled() else task.exception()
    reason = "" if error is None else f" ({type(error).__name__}: {error})"
    return f"the task {task.get_name()!r} ended although nothing asked it to{reason}"
