"""Takes what a service keeps for its whole life out of garbage collections.

A full collection looks at every object that may be part of a cycle, and nothing else runs meanwhile: with all books in memory
it took up to 0.2 s. `gc.freeze` (Python documentation, module gc) exempts the objects that exist when it is called. They are
still freed when their last reference goes; only cycles among them are not.
"""

import asyncio
import gc
import logging
from collections.abc import Callable, Sequence
from typing import Final

__all__ = ["freeze_when_ready"]

_LOOK_SECONDS: Final = 0.5

logger = logging.getLogger(__name__)


async def freeze_when_ready(not_ready: Callable[[], Sequence[str]], look_seconds: float = _LOOK_SECONDS) -> None:
    """Wait until a service is ready for the first time, when it holds what it will keep; then collect and freeze.

    Args:
        not_ready: returns why the service is not ready; empty if it is.
        look_seconds: time between two looks, in seconds.
    """
    while not_ready():  # noqa: ASYNC110  # readiness is asked for, it has no event
        await asyncio.sleep(look_seconds)
    gc.collect()
    gc.freeze()
    logger.debug("frozen for the garbage collector", extra={"objects": gc.get_freeze_count()})
