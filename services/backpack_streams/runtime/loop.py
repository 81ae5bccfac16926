"""The event loop of our processes: uvloop if it is installed, else that of asyncio."""

import asyncio
from collections.abc import Callable, Iterable

Task = asyncio.Task[None]


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the argument of `asyncio.Runner(loop_factory=...)`."""
    try:
        import uvloop
    except ImportError:  # uvloop is an extra, and not available for every platform
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


class BackgroundTasks:
    """The tasks of a service until it is stopped: the end of any of them ends the service.

    Attributes:
        failures: tasks that ended although nothing asked them to. /healthz shows them until the process ends.
    """

    def __init__(self) -> None:
        self.failures: list[str] = []

    async def first_to_end(self, tasks: Iterable[Task], stop: asyncio.Event, may_end: Task | None = None) -> None:
        """Wait for the first of `tasks` to end, or for `stop`.

        Args:
            tasks: tasks that should not end by themselves.
            stop: set to end the service.
            may_end: a task that may return early.

        Raises:
            BaseException: the error of the task that ended, or of `may_end`.
        """
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
