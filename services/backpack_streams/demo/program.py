"""One program of the demo: a child process with its log, which runs until it is stopped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from backpack_streams.demo.errors import ProgramEndedError
from backpack_streams.demo.last_words import last_words, latest_trouble
from backpack_streams.embedded import Child
from backpack_streams.embedded.broker_log import BrokerLog

__all__ = ["Program"]


class Program:
    """A program to `start`, `watch` and `stop`. Its output goes to `NAME.log` in the folder of logs."""

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        self.name = name
        self._command = command
        self._environment = environment
        self._log = BrokerLog(logs / f"{name}.log")
        self._child: Child | None = None

    @property
    def log_path(self) -> Path:
        """The file of its output."""
        return self._log.path

    def last_words(self) -> str:
        """Return the most informative line of this run's log."""
        return last_words(self._log.tail())

    def latest_trouble(self) -> str:
        """Return the last warning or error in this run's log; empty if there is none."""
        return latest_trouble(self._log.tail())

    async def start(self) -> None:
        """Start the program; return once the process runs, whether it is ready or not.

        Raises:
            EmbeddedError: it cannot be run.
        """
        self._log.begin_run()
        self._child = await Child.start(self._command, log_path=self._log.path, environment=self._environment)

    async def watch(self) -> NoReturn:
        """Wait until it ends.

        Raises:
            ProgramEndedError: it has ended; the message says how, why, and where the log is.
        """
        if self._child is None:
            raise ProgramEndedError(f"{self.name} is not started")
        code = await self._child.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        raise ProgramEndedError(f"{self.name} ended unexpectedly ({how}): {self.last_words()} (log: {self.log_path})")

    async def stop(self, grace_seconds: float) -> int | None:
        """Send SIGTERM, and SIGKILL after the grace; return the exit code once it has ended, None if it never ran."""
        return None if self._child is None else await self._child.stop(grace_seconds)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._child is not None:
            self._child.kill()
