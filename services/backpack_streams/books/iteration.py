"""Iterations over a stream that keeps its own position: leaving one loses nothing, and two never run at once."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

from backpack_streams.errors import BookError

__all__ = ["Iteration", "Turn"]

Given = TypeVar("Given")


class Turn:
    """Ensures that only one iteration runs at a time, with one pending request."""

    def __init__(self, what: str) -> None:
        """Create a turn that no iteration has.

        Args:
            what: names the stream in error messages: `the record stream`.
        """
        self._what = what
        self._is_asked = False
        self._newest: weakref.ref[Iteration[Any]] | None = None

    @contextmanager
    def of(self, iteration: "Iteration[Any]") -> Iterator[None]:
        """Enter while an iteration requests the next item.

        Raises:
            BookError: another task's iteration is not finished, or this one has a pending request already.
        """
        other = None if self._newest is None else self._newest()
        if self._is_asked or (other is not None and other is not iteration and other.is_used_elsewhere()):
            raise BookError(
                f"two iterations over {self._what} at once: each would miss what the other is given; use one, or two streams"
            )
        self._newest = weakref.ref(iteration)
        self._is_asked = True
        try:
            yield
        finally:
            self._is_asked = False


class Iteration(AsyncIterator[Given], Generic[Given]):
    """One `async for`. `advance` returns the next item and raises `StopAsyncIteration` at the end."""

    def __init__(self, turn: Turn, advance: Callable[[], Awaitable[Given]]) -> None:
        """Prepare; nothing is requested before the first `anext`.

        Args:
            turn: shared by all iterations over one stream.
            advance: returns the next item and raises `StopAsyncIteration` at the end. A cancelled call must lose
                nothing.
        """
        self._turn = turn
        self._advance = advance
        self._task: weakref.ref[asyncio.Task[Any]] | None = None
        self._is_over = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Given:
        if self._is_over:
            raise StopAsyncIteration
        with self._turn.of(self):
            task = asyncio.current_task()
            self._task = None if task is None else weakref.ref(task)
            return await self._advance()

    async def aclose(self) -> None:
        """Leave the iteration; another one resumes from here."""
        self._is_over = True

    def is_used_elsewhere(self) -> bool:
        """Return whether a task other than the current one may still request items."""
        task = None if self._task is None else self._task()
        return not self._is_over and task is not None and not task.done() and task is not asyncio.current_task()
