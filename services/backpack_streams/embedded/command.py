"""The command `backpack-streams kafka`: only an embedded Kafka, until Ctrl-C or SIGTERM."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from backpack_streams.embedded.kafka import EmbeddedKafka

__all__ = ["run_kafka", "run_until_signal"]

_print_line = partial(print, flush=True)
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_kafka(port: int, data_dir: Path, brokers: int, out: Callable[[str], object] = _print_line) -> None:
    """Start, print `ready HOST:PORT[,HOST:PORT...]` once the cluster takes traffic, run until a signal, then stop it cleanly.

    Handles signals as `run_until_signal` does.

    Args:
        port: port of the first broker; 0 picks free ones.
        data_dir: folder of the data, kept for the next start.
        brokers: 1 or 3.
        out: takes each printed line.

    Raises:
        EmbeddedError: it cannot be started, or a broker ended unexpectedly.
    """
    kafka = EmbeddedKafka(data_dir, port, brokers, announce=out)
    await run_until_signal(_serve(kafka, out), kafka.stop)


async def run_until_signal(serve: Coroutine[Any, Any, None], stop: Callable[[], Awaitable[None]]) -> None:
    """Run `serve` until it ends or a signal comes, then call `stop`. Raises what `serve` raised.

    Handles SIGINT, SIGTERM and SIGHUP while it runs, so it must be called from the main thread.
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


async def _serve(kafka: EmbeddedKafka, out: Callable[[str], object]) -> None:
    await kafka.start()
    out(f"ready {kafka.bootstrap_servers}")
    await kafka.wait()
