"""Functions that a command's table can name in tests."""

import asyncio
import os
import signal
from typing import Any

from pydantic import Field

from backpack_streams.errors import BusError
from backpack_streams.runtime.settings import KafkaSettings, LogSettings

CALLS: list[tuple[Any, ...]] = []


class ProbeSettings(KafkaSettings, LogSettings):
    depth: int | None = Field(default=None, ge=1, description="levels")


def run(settings: ProbeSettings, *positionals: Any) -> int | None:
    CALLS.append((settings, *positionals))
    return settings.depth


async def run_async(settings: ProbeSettings, *positionals: Any) -> int:
    CALLS.append((settings, *positionals))
    return 7


def fail(settings: ProbeSettings) -> None:
    raise BusError("Kafka cannot be reached at x:\ncheck bootstrap_servers")


def interrupt(settings: ProbeSettings) -> None:
    os.kill(os.getpid(), signal.SIGINT)


def terminate(settings: ProbeSettings) -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
    finally:
        CALLS.append(("closed",))


async def terminate_async(settings: ProbeSettings) -> None:
    try:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.Event().wait()
    finally:
        CALLS.append(("closed",))


def lose_reader(settings: ProbeSettings) -> None:
    raise BrokenPipeError
