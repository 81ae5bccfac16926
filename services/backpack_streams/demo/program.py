"""One program of the demo: a child process with its log, which is to run until it is told to stop."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from backpack_streams.demo.errors import ProgramEndedError
from backpack_streams.demo.last_words import last_words, latest_trouble
from backpack_streams.embedded import Child
from backpack_streams.embedded.broker_log import BrokerLog

__all__ = ["Program"]


class Program:
    """`start` it, `watch` it, `stop` it. What it prints goes to `NAME.log` in the folder of logs."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = BrokerLog(logs / f"{name}.log")
        self._child: Child | None = None

    @property
    def log_path(self) -> Path:
        """Where its output goes."""
        return self._log.path

    def last_words(self) -> str:
        """The most telling line of this run's log."""
        return last_words(self._log.tail())

    def latest_trouble(self) -> str:
        """The last warning or error in this run's log; empty if there is none."""
        return latest_trouble(self._log.tail())

    async def start(self) -> None:
        """Start it; returns once the process runs, which says nothing of whether it is ready.

        Raises:
            EmbeddedError: it cannot be run.
        """
        self._log.begin_run()
        self._child = await Child.start(self._command, log_path=self._log.path, environment=self._environment)

    async def watch(self) -> NoReturn:
        """Wait until it ends.

        Raises:
            ProgramEndedError: it has ended; says how, why, and where to read more.
        """
        if self._child is None:
            raise ProgramEndedError(f"{self.name} is not started")
        code = await self._child.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise ProgramEndedError(f"{self.name} ended unexpectedly ({how}): {self.last_words()} (log: {self.log_path})")

    async def stop(self, grace_seconds: float) -> int | None:
        """SIGTERM, SIGKILL after the grace; its exit code once it has ended, None if it never ran."""
        return None if self._child is None else await self._child.stop(grace_seconds)

    def kill(self) -> None:
        """SIGKILL."""
        if self._child is not None:
            self._child.kill()
