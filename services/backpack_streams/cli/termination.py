"""Makes SIGTERM end every command. As process 1 of a container, a process gets no default action of a signal from the kernel.

Commands that handle SIGTERM themselves (services, the sandbox, `replay`) replace this handler with their own. The first
SIGTERM unwinds like Ctrl-C, so that files and connections are closed; a second one ends the process at once.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Coroutine, Iterator
from typing import Any, NoReturn, TypeVar

EXIT_TERMINATED = 128 + signal.SIGTERM  # what shells show for a process that SIGTERM ended

T = TypeVar("T")


class Terminated(SystemExit):
    """SIGTERM was received. It is a `SystemExit`, because event loops let that pass."""


@contextlib.contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Within this context SIGTERM raises `Terminated` at the current line, unless another handler is installed already.

    A second SIGTERM ends the process at once. Does nothing outside of the main thread.

    Raises:
        Terminated: SIGTERM was received.
    """
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def run_until_sigterm(coroutine: Coroutine[Any, Any, T]) -> T | int:
    """Run a coroutine that SIGTERM cancels: an exception must not interrupt a loop anywhere.

    A second SIGTERM ends the process at once, also while the loop shuts down. Call it from the main thread, in a task
    of its own.

    Args:
        coroutine: the work.

    Returns:
        Its result, or `EXIT_TERMINATED` if SIGTERM cancelled it.
    """
    import asyncio  # not needed for `--help`

    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    terminated = False

    def on_sigterm() -> None:
        nonlocal terminated
        if terminated or task is None:
            os._exit(EXIT_TERMINATED)
        terminated = True
        task.cancel()

    loop.add_signal_handler(signal.SIGTERM, on_sigterm)
    try:
        return await coroutine
    except asyncio.CancelledError:
        if not terminated:
            raise
        return EXIT_TERMINATED
    finally:
        # The loop still has to shut down, and that may wait for a thread that waits for a server that does not answer.
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, _leave_at_once if terminated else _leave)


def _leave(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, _leave_at_once)
    raise Terminated(EXIT_TERMINATED)


def _leave_at_once(*_: object) -> NoReturn:
    os._exit(EXIT_TERMINATED)
