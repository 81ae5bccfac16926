"""SIGTERM ends every command, also where the kernel would not: process 1 of a container gets no signal's default action.

Commands that take SIGTERM themselves (services, the sandbox, `replay`) put their own handler over this one. The first
SIGTERM unwinds as Ctrl-C does, so that files and connections are closed; a second one ends the process at once.
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
    """SIGTERM came. A `SystemExit`, since that is what event loops let pass."""


@contextlib.contextmanager
def ends_on_sigterm() -> Iterator[None]:
    """Within it, SIGTERM raises `Terminated` where the code is, unless somebody else handles it already."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, _leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


async def run_until_sigterm(coroutine: Coroutine[Any, Any, T]) -> T | int:
    """What `coroutine` returns, or `EXIT_TERMINATED` where SIGTERM cancelled it: an exception may not cut through a loop anywhere."""
    import asyncio  # not for `--help`

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
        # The loop's own leave-taking is left, and it may wait for a thread that waits for somebody who is away.
        loop.remove_signal_handler(signal.SIGTERM)
        signal.signal(signal.SIGTERM, _leave_at_once if terminated else _leave)


def _leave(*_: object) -> NoReturn:
    signal.signal(signal.SIGTERM, _leave_at_once)
    raise Terminated(EXIT_TERMINATED)


def _leave_at_once(*_: object) -> NoReturn:
    os._exit(EXIT_TERMINATED)
