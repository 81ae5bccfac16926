"""Calls a program's functions for the events of books."""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import aclosing

from backpack_streams.books.book_update import BookUpdate
from backpack_streams.books.reading_task import Updates
from backpack_streams.books.status import Status

__all__ = ["OnUpdate", "call_for_each"]

OnUpdate = Callable[[BookUpdate], Awaitable[None] | None]
"""A function or coroutine function that takes one event."""


async def call_for_each(updates: Updates, on_update: OnUpdate | None, on_status: OnUpdate | None) -> None:
    """Call the functions for each event until the events end; events not taken stay for the next iteration.

    Args:
        updates: the events.
        on_update: called with every event; None for no call.
        on_status: called first with each event that changes a book's status; None for no call.

    Raises:
        BookError: another iteration is active. Otherwise an error of one of these functions, or the error that ended the reading.
    """
    statuses: dict[str, Status] = {}
    async with aclosing(updates) as events:
        async for update in events:
            status = update.status
            if on_status is not None and statuses.get(update.symbol) is not status:
                await _call(on_status, update)
            statuses[update.symbol] = status
            if on_update is not None:
                await _call(on_update, update)


async def _call(function: OnUpdate, update: BookUpdate) -> None:
    answer = function(update)
    if inspect.isawaitable(answer):
        await answer
