"""The life of a service's process: logging, event loop, signals, metrics and health, and its end."""

import asyncio
import contextlib
import functools
import logging
import os
import signal
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Protocol

from prometheus_client.registry import Collector, CollectorRegistry

from backpack_streams import __version__
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.runtime.frozen_heap import freeze_when_ready
from backpack_streams.runtime.health import HealthAnswers, health_server
from backpack_streams.runtime.logging import configure_logging
from backpack_streams.runtime.loop import loop_factory
from backpack_streams.runtime.metrics import event_loop_lag, new_registry, render, sample_event_loop_lag
from backpack_streams.runtime.settings import LogSettings, MetricsSettings
from backpack_streams.runtime.start_attempts import StartAttempts

EXIT_FAILED = 1
SIGNAL_EXIT_BASE = 128  # shells report death by signal N as 128 + N

logger = logging.getLogger(__name__)


class Service(Protocol):
    """What the process needs of a service that it runs."""

    async def open(self) -> object:
        """Connect and load what is needed, however long that takes. If it fails or is cancelled, it closes what it opened.

        Raises:
            KafkaUnreachableError: Kafka is down; another service is built and opened later.
            BackpackStreamsError: the service cannot start.
        """

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then flush what is unsent and return. An earlier return is a failure."""

    def readiness(self) -> list[str]:
        """Return why the service is not ready; empty when it is."""

    def failures(self) -> list[str]:
        """Return why the service cannot go on, from the moment it is known until the process ends; empty while it is alive."""

    def collectors(self) -> Iterable[Collector]:
        """Return what the service adds to /metrics. Called before `open`, so that a service that waits shows what it waits for."""


class ServiceError(BackpackStreamsError):
    """A service ended although nothing asked it to."""


def run_service(
    name: str,
    build: Callable[[], Service],
    metrics: MetricsSettings,
    log: LogSettings,
) -> int:
    """Run a service until SIGTERM or SIGINT; return the process's exit code.

    The event loop calls `build`, then opens the service; a signal during that cancels it. The first signal makes the
    service flush and leave (exit code 0), a second one ends the process at once (143 or 130). A `BackpackStreamsError`
    becomes one log line and ends with its own exit code; any other exception is logged with its traceback, exit code 1.

    Args:
        name: the service's name.
        build: creates the service.
        metrics: the address of metrics and health.
        log: the level and format of the log.
    """
    configure_logging(log)
    host = ServiceHost(name, build, metrics)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            runner.run(host.run())
    except BackpackStreamsError as error:
        logger.error("service failed", extra={"service": name, "reason": str(error)})
        return error.exit_code
    except Exception:  # any exception must reach the log before the process ends
        logger.exception("service failed unexpectedly", extra={"service": name})
        return EXIT_FAILED
    logger.info("service stopped", extra={"service": name})
    return 0


class ServiceHost:
    """One service in its event loop, with its signals, its background tasks and its health server."""

    def __init__(self, name: str, build: Callable[[], Service], metrics: MetricsSettings) -> None:
        """Prepare; for the arguments see `run_service`."""
        self._name = name
        self._build = build
        self._metrics = metrics
        self._service: Service | None = None
        self._failure: str | None = None
        self._failed_attempt: str | None = None
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Build the service and run it until a signal.

        Raises:
            BackpackStreamsError: the service failed, or its health server could not listen.
        """
        with _signals(self._stop):
            registry = new_registry(self._name, self.not_ready)
            lag = event_loop_lag()
            registry.register(lag)
            answers = HealthAnswers(self.failures, self.not_ready, functools.partial(render, registry))
            background = (
                asyncio.create_task(sample_event_loop_lag(lag.cell()), name="event-loop-lag"),
                asyncio.create_task(freeze_when_ready(self.not_ready), name="freeze-when-ready"),
            )
            try:
                async with self._health_server(answers):
                    logger.info("service starting", extra={"service": self._name, "version": __version__})
                    await self._build_and_run(registry)
            finally:
                for each in background:
                    each.cancel()

    def failures(self) -> list[str]:
        """Why /healthz fails; empty while the service lives."""
        if self._failure:
            return [self._failure]
        return [] if self._service is None else self._service.failures()

    def not_ready(self) -> list[str]:
        """Why /readyz fails, apart from failures."""
        if self._stop.is_set():
            return ["stopping"]
        if self._service is None:
            return ["starting", *([f"the last attempt failed: {self._failed_attempt}"] if self._failed_attempt else [])]
        return self._service.readiness()

    def _health_server(self, answers: HealthAnswers) -> contextlib.AbstractAsyncContextManager[object]:
        if self._metrics.metrics_port == 0:
            return contextlib.nullcontext()
        return health_server(self._metrics.metrics_host, self._metrics.metrics_port, answers)

    async def _build_and_run(self, registry: CollectorRegistry) -> None:
        try:
            service = await self._started(registry)
            if service is None:
                return
            self._service = service
            await service.run(self._stop)
        except BaseException as error:
            self._failure = f"{type(error).__name__}: {error}"
            raise
        if not self._stop.is_set():
            self._failure = "the service ended although nothing asked it to"
            raise ServiceError(f"{self._failure}; its log says what came before")

    async def _started(self, registry: CollectorRegistry) -> Service | None:
        """Return the service, open; None after a signal.

        Waits while Kafka cannot be reached, and for files that do not fit together: a rotation replaces them one by one. Each
        attempt has a new service, so nothing of a failed one is left.
        """
        attempts = StartAttempts()
        shown: list[Collector] = []
        while not self._stop.is_set():
            try:
                service = self._build()
                for collector in shown:  # of the attempt before: /metrics shows them while the service waits
                    registry.unregister(collector)
                shown = list(service.collectors())
                for collector in shown:
                    registry.register(collector)
                return service if await _unless_stopped(service.open(), self._stop) else None
            except BackpackStreamsError as error:
                delay_seconds = attempts.delay_seconds(error, time.monotonic())
                if delay_seconds is None:
                    raise
                if self._failed_attempt != str(error):
                    logger.warning("the service cannot start yet; retrying", extra={"reason": str(error)})
                self._failed_attempt = str(error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), delay_seconds)
        return None


async def _unless_stopped(opening: Awaitable[object], stop: asyncio.Event) -> bool:
    """Await `opening`, or cancel it if `stop` is set first. Return whether it completed."""
    start = asyncio.ensure_future(opening)
    stopping = asyncio.create_task(stop.wait(), name="stop-during-start")
    try:
        await asyncio.wait({start, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if start.done():
            start.result()
            return True
        start.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await start
            return True
        return False
    finally:
        stopping.cancel()
        if not start.done():
            start.cancel()


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            logger.warning("second signal, leaving at once", extra={"signal": number.name})
            os._exit(SIGNAL_EXIT_BASE + number)
        logger.info("signal received, flushing and leaving", extra={"signal": number.name})
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGUSR1, log_tasks)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            loop.remove_signal_handler(number)


def log_tasks() -> None:
    """Log what every task of the event loop waits for: `kill -USR1` asks a service that seems stuck."""
    tasks = sorted(asyncio.all_tasks(), key=asyncio.Task.get_name)
    logger.info("tasks", extra={"waits_in": {task.get_name(): _waits_in(task) for task in tasks}})


def _waits_in(task: "asyncio.Task[object]") -> list[str]:
    """Return the chain of coroutines from the task's own to the innermost, each as `function:line`."""
    chain = []
    coroutine: object = task.get_coro()
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "ag_frame", None)
        if frame is not None:
            chain.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
        coroutine = getattr(coroutine, "cr_await", None) or getattr(coroutine, "ag_await", None)
    return chain
