"""The embedded Kafka for code without an event loop, such as a test session's fixtures: runs a loop of its own in a thread."""

import asyncio
import threading
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from embedded_kafka.kafka import EmbeddedKafka

__all__ = ["BlockingKafka"]

Result = TypeVar("Result")


class BlockingKafka:
    """Starts and stops an `EmbeddedKafka` from synchronous code; each call waits for its end and raises its errors."""

    def __init__(self, kafka: EmbeddedKafka) -> None:
        """Prepare an event loop and its thread, a daemon; `start` starts both.

        Args:
            kafka: the cluster to run, not yet started.
        """
        self._kafka = kafka
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="embedded-kafka", daemon=True)

    @property
    def kafka(self) -> EmbeddedKafka:
        """The cluster in the thread. Its properties may be read from any thread; its coroutines must not be awaited outside of it."""
        return self._kafka

    @property
    def bootstrap_servers(self) -> str:
        """Addresses for clients, `HOST:PORT` separated by commas."""
        return self._kafka.bootstrap_servers

    @property
    def broker_pids(self) -> dict[int, int]:
        """Process id of each running broker, by its index from 0."""
        return self._kafka.broker_pids

    def start(self) -> None:
        """Start the cluster; see `EmbeddedKafka.start`. Call it once. After a failure the thread has ended.

        Raises:
            EmbeddedError: the cluster cannot be started.
        """
        self._thread.start()
        try:
            self._call(self._kafka.start())
        except BaseException:  # without a Kafka there is nothing to stop later
            self._end_loop()
            raise

    def stop(self) -> None:
        """Stop the cluster; see `EmbeddedKafka.stop`. It cannot be started again."""
        try:
            self._call(self._kafka.stop())
        finally:
            self._end_loop()

    def wait(self) -> None:
        """Wait; see `EmbeddedKafka.wait`. Call it from another thread than the one that will call `stop`.

        Raises:
            EmbeddedError: a broker ended unexpectedly.
        """
        self._call(self._kafka.wait())

    def stop_broker(self, index: int, *, kill: bool = False) -> None:
        """Stop one broker; see `EmbeddedKafka.stop_broker`.

        Args:
            index: the broker, counted from 0.
            kill: whether to send SIGKILL at once.
        """
        self._call(self._kafka.stop_broker(index, kill=kill))

    def start_broker(self, index: int) -> None:
        """Start one broker again; see `EmbeddedKafka.start_broker`.

        Args:
            index: the broker, counted from 0.

        Raises:
            EmbeddedError: it is running, or it cannot be started.
        """
        self._call(self._kafka.start_broker(index))

    def _call(self, coroutine: Coroutine[Any, Any, Result]) -> Result:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
