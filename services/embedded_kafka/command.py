"""The commands `kafka` and `registry`: only an embedded Kafka or schema registry, until Ctrl-C or SIGTERM."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any

from embedded_kafka.kafka import EmbeddedKafka
from embedded_kafka.registry import EmbeddedRegistry
from embedded_kafka.settings import EmbeddedKafkaSettings, EmbeddedRegistrySettings

__all__ = ["run_kafka", "run_registry", "run_until_signal"]

_print_line = partial(print, flush=True)
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_kafka(settings: EmbeddedKafkaSettings, out: Callable[[str], object] = _print_line) -> None:
    """Start, print `ready HOST:PORT[,HOST:PORT...]` once the cluster takes traffic, run until a signal, then stop it cleanly.

    Handles signals as `run_until_signal` does. The data folder is kept for the next start.

    Args:
        settings: the port, the data folder and the number of brokers.
        out: takes each line for the user, without a newline; by default it prints and flushes.

    Raises:
        EmbeddedError: it cannot be started, or a broker ended unexpectedly.
    """
    kafka = EmbeddedKafka(settings.data_dir, settings.port, settings.brokers, announce=out)

    async def serve() -> None:
        await kafka.start()
        out(f"ready {kafka.bootstrap_servers}")
        await kafka.wait()

    await run_until_signal(serve(), kafka.stop)


async def run_registry(settings: EmbeddedRegistrySettings, out: Callable[[str], object] = _print_line) -> None:
    """Start, print `ready URL` once the registry answers, run until a signal, then stop it cleanly.

    Handles signals as `run_until_signal` does. The data folder is kept for the next start.

    Args:
        settings: the port and the data folder.
        out: takes each line for the user, without a newline; by default it prints and flushes.

    Raises:
        EmbeddedError: it cannot be started, or it ended unexpectedly.
    """
    registry = EmbeddedRegistry(settings.data_dir, settings.port, announce=out)

    async def serve() -> None:
        await registry.start()
        out(f"ready {registry.url}")
        await registry.wait()

    await run_until_signal(serve(), registry.stop)


async def run_until_signal(serve: Coroutine[Any, Any, None], stop: Callable[[], Awaitable[None]]) -> None:
    """Run `serve` until it ends or a signal comes, then call `stop`.

    Handles SIGINT, SIGTERM and SIGHUP while it runs, so it must be called from the main thread. A signal cancels
    `serve`; that is not an error.

    Args:
        serve: the work; it starts here, as a task.
        stop: called once `serve` has ended, for whatever reason.

    Raises:
        Exception: what `serve` raised, after `stop` has returned.
    """
    loop = asyncio.get_running_loop()
    serving = asyncio.create_task(serve)
    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, serving.cancel)
    try:
        await asyncio.wait({serving})
        await stop()
    finally:
        for number in _STOP_SIGNALS:
            loop.remove_signal_handler(number)
    if not serving.cancelled():
        serving.result()
