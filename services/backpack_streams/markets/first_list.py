"""The first market list of a service, for which it waits: the exchange may be down when the service starts."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.rest_errors import RestError

__all__ = ["until_listed"]

logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 30.0

T = TypeVar("T")


async def until_listed(ask: Callable[[], Awaitable[T]]) -> T:
    """Return what `ask` makes of the market list, retrying until the exchange answers, with pauses of up to 30 s.

    Args:
        ask: requests the list. Only its `RestError` is retried.

    Raises:
        Exception: whatever else `ask` raises.
    """
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
    while True:
        try:
            return await ask()
        except RestError as error:
            logger.warning("the list of markets could not be fetched; trying again", extra={"error": str(error)})
        await asyncio.sleep(backoff.next_delay_seconds())
