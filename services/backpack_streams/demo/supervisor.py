"""Runs one program for as long as the demo runs: whenever it ends by itself, it is started again. `Restarts` decides."""

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import NoReturn, Protocol

from backpack_streams.demo.errors import ProgramEndedError
from backpack_streams.demo.pid_files import PidFiles
from backpack_streams.demo.program_states import ProgramStates
from backpack_streams.demo.restarts import Restarts

__all__ = ["End", "Startable", "Supervisor"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class End:
    """How a program ended."""

    line: str
    """One line: which program, how it ended, its last words, its log."""
    exit_code: int | None = None
    """Negative for a signal; None if unknown."""


class Startable(Protocol):
    """A program that runs and can be started again once it has ended."""

    name: str
    is_ready_once_started: bool
    """Whether `start` returns only when the program is ready."""

    @property
    def pid(self) -> int | None:
        """Process id; None unless it runs."""

    async def start(self) -> None:
        """Start it again.

        Raises:
            EmbeddedError: it cannot be started.
        """

    async def ended(self) -> End:
        """Wait until it has ended although nothing asked it to."""


class Supervisor:
    """One program under supervision, which runs already. Its pid is in its pid file while it runs."""

    def __init__(self, program: Startable, restarts: Restarts, states: ProgramStates, pids: PidFiles) -> None:
        """Prepare to supervise a program that runs.

        Args:
            program: the program.
            restarts: decides whether and when it is started again.
            states: takes its ends and restarts.
            pids: takes its process id.
        """
        self._program = program
        self._restarts = restarts
        self._states = states
        self._pids = pids

    async def run(self) -> NoReturn:
        """Restart the program after each end, until cancelled.

        Raises:
            ProgramEndedError: it can never start; the message says why.
            EmbeddedError: it cannot be started again.
        """
        name = self._program.name
        try:
            while True:
                self._pids.write(name, self._program.pid)
                end = await self._program.ended()
                self._pids.remove(name)
                await asyncio.sleep(self._delay_seconds(end))
                self._states.saw_restart_begin(name)
                await self._program.start()
                self._states.saw_restart(name, self._program.pid)
                if self._program.is_ready_once_started:
                    self._states.saw_ready(name, time.monotonic())
        finally:
            self._pids.remove(name)

    def _delay_seconds(self, end: End) -> float:
        name, now = self._program.name, time.monotonic()
        logger.warning("a program ended", extra={"program": name, "exit_code": end.exit_code, "reason": end.line})
        delay_seconds = self._restarts.delay_seconds(end.exit_code, now, self._states.ready_at(name))
        if delay_seconds is None:
            times = self._restarts.ends
            raise ProgramEndedError(
                end.line if times == 1 else f"{end.line}; it ended {times} times without ever being ready"
            )
        self._states.saw_end(name, end.line, delay_seconds, now)
        return delay_seconds
