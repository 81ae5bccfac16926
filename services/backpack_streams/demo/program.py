"""One program of the demo: a child process with its log, which runs until it is stopped, and may be started again."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from backpack_streams.demo.errors import ProgramEndedError
from backpack_streams.demo.last_words import last_words, latest_trouble
from backpack_streams.demo.supervisor import End
from embedded_kafka import Child
from embedded_kafka.broker_log import BrokerLog

__all__ = ["Program"]


class Program:
    """A program to `start` and `stop`. Its output goes to `NAME.log` in the folder of logs."""

    is_ready_once_started = False

    def __init__(self, name: str, command: Sequence[str], environment: Mapping[str, str], logs: Path) -> None:
        """Prepare; nothing is started.

        Args:
            name: the program, which is also the name of its log.
            command: the program and its arguments.
            environment: its whole environment.
            logs: the folder of logs.
        """
        self.name = name
        self._command = command
        self._environment = environment
        self._log = BrokerLog(logs / f"{name}.log")
        self._child: Child | None = None

    @property
    def log_path(self) -> Path:
        """The file of its output."""
        return self._log.path

    @property
    def pid(self) -> int | None:
        """Process id of the present run; None unless it runs."""
        return None if self._child is None or self._child.returncode is not None else self._child.pid

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

    async def ended(self) -> End:
        """Wait until it ends; return how, why, and where the log is.

        Raises:
            ProgramEndedError: it was never started.
        """
        if self._child is None:
            raise ProgramEndedError(f"{self.name} is not started")
        code = await self._child.wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        return End(f"{self.name} ended unexpectedly ({how}): {self.last_words()} (log: {self.log_path})", code)

    async def stop(self, grace_seconds: float) -> int | None:
        """Send SIGTERM, and SIGKILL after the grace; return once it has ended.

        Args:
            grace_seconds: time between SIGTERM and SIGKILL.

        Returns:
            The exit code, negative for a signal; None if it never ran.
        """
        return None if self._child is None else await self._child.stop(grace_seconds)

    def kill(self) -> None:
        """Send SIGKILL."""
        if self._child is not None:
            self._child.kill()
