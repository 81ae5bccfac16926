"""Iterations over a stream that keeps its own place: leaving one loses nothing, and no two run side by side."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, Generic, Self, TypeVar

from backpack_streams.errors import BookError

__all__ = ["Iteration", "Turn"]

Given = TypeVar("Given")


class Turn:
    """Whose turn it is: one iteration at a time, and one question of it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._is_asked = False
        self._newest: weakref.ref[Iteration[Any]] | None = None

    @contextmanager
    def of(self, iteration: "Iteration[Any]") -> Iterator[None]:
        """While an iteration asks for what comes next.

        Raises:
            BookError: another one is not finished in another task, or this one is asked twice at once.
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
    """One `async for`. `advance` gives what comes next and raises `StopAsyncIteration` at the end."""

    def __init__(self, turn: Turn, advance: Callable[[], Awaitable[Given]]) -> None:
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
        """Leave it; another one goes on from here."""
        self._is_over = True

    def is_used_elsewhere(self) -> bool:
        """Whether a task other than the running one may still ask for more."""
        task = None if self._task is None else self._task()
        return not self._is_over and task is not None and not task.done() and task is not asyncio.current_task()
