"""An event loop in its own thread, for programs without asyncio."""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from backpack_streams.errors import BookError

__all__ = ["LoopThread"]

Result = TypeVar("Result")


class LoopThread:
    """Runs coroutines for synchronous callers between `start` and `stop`; may be started again after `stop`."""

    def __init__(self, name: str, what: str) -> None:
        """Prepare; the thread runs from `start` on.

        Args:
            name: name of the thread.
            what: names the object in error messages.
        """
        self._name = name
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread.

        Raises:
            BookError: it is running already.
        """
        if self._thread is not None:
            raise BookError(f"{self._what} is in use already: one `with` at a time")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=self._name, daemon=True)
        self._thread.start()

    def ask(self, question: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the thread and return its result. An interrupt of the program cancels it.

        Args:
            question: the coroutine. It is closed unrun if the call is refused.

        Raises:
            BookError: the thread is not running, or this is called from within it. Otherwise whatever the coroutine
                raises.
        """
        loop = self._loop
        if loop is None or self._thread is None or not self._thread.is_alive():
            question.close()
            raise BookError(f"{self._what} is not connected: use it with `with`")
        if threading.current_thread() is self._thread:
            question.close()
            raise BookError(f"{self._what} is asked from within its own thread, which would wait for itself")
        answer = asyncio.run_coroutine_threadsafe(question, loop)
        try:
            return answer.result()
        except BaseException:  # on any failure, an interrupt included, cancel the coroutine in the thread
            answer.cancel()
            raise

    def stop(self) -> None:
        """Stop the thread and cancel what still runs in it."""
        loop, thread = self._loop, self._thread
        self._loop = self._thread = None
        if loop is None or thread is None:
            return
        if thread.is_alive():
            asyncio.run_coroutine_threadsafe(_cancel_all(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
        loop.close()


async def _cancel_all() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
