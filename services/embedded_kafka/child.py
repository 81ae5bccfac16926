"""A child process that cannot outlive this one: every program of the demo and every broker runs as a `Child`."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from backpack_streams.errors import EmbeddedError

__all__ = ["Child"]

_WATCHER = Path(__file__).with_name("watch.py")
_REPORT_LIMIT_BYTES = 4096
DEFAULT_ORPHAN_GRACE_SECONDS = 5.0


class Child:
    """A running program, in a session of its own (Ctrl-C in the terminal reaches only the parent).

    A watcher process runs the program. It ends the program when this process ends, even by `kill -9`, and then ends as
    the program did, with the same exit code or signal. Signals go through the watcher, so they never hit another process
    that got the same pid. Belongs to the event loop in which it was started.
    """

    def __init__(self, process: asyncio.subprocess.Process, pid: int, lifeline: int) -> None:
        """Wrap a watcher that runs already; use `start` to get one.

        Args:
            process: the watcher.
            pid: process id of the program.
            lifeline: descriptor of the write end of the watcher's pipe; closing it ends the program.
        """
        self._process = process
        self._lifeline: int | None = lifeline
        self.pid = pid
        """Process id of the program itself, not of its watcher."""

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        *,
        log_path: Path | None = None,
        environment: Mapping[str, str] | None = None,
        working_directory: Path | None = None,
        orphan_grace_seconds: float = DEFAULT_ORPHAN_GRACE_SECONDS,
        watcher_keeps_open: Sequence[int] = (),
    ) -> "Child":
        """Start `command`; return once it runs. After a failure or a cancellation nothing of it runs.

        Args:
            command: program and arguments.
            log_path: file to which its output and errors are appended; None: it shares ours.
            environment: its whole environment; None: ours.
            working_directory: None: ours.
            orphan_grace_seconds: time between SIGTERM and SIGKILL once this process is gone.
            watcher_keeps_open: file descriptors that stay open until the program has ended, such as a lock's.

        Raises:
            EmbeddedError: the program cannot be run.
        """
        log: IO[bytes] | None = log_path.open("ab") if log_path is not None else None
        lifeline_reader, lifeline = os.pipe()
        report, report_writer = os.pipe()
        process: asyncio.subprocess.Process | None = None
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(_WATCHER)),
                *(str(lifeline_reader), str(report_writer), str(orphan_grace_seconds), *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                cwd=working_directory,
                pass_fds=(lifeline_reader, report_writer, *watcher_keeps_open),
                start_new_session=True,
            )
            os.close(report_writer)
            report_writer = -1
            pid = _pid_in(await asyncio.to_thread(_read_report, os.dup(report)), command)
        except BaseException:  # on a cancellation or a failure, the closed lifeline ends a watcher that runs already
            os.close(lifeline)
            if process is not None:
                await process.wait()
            raise
        finally:
            for end in (lifeline_reader, report, report_writer):
                if end >= 0:
                    os.close(end)
            if log is not None:
                log.close()
        return cls(process, pid, lifeline)

    @property
    def returncode(self) -> int | None:
        """The program's exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until the program has ended; return its exit code, negative for a signal."""
        code = await self._process.wait()
        self._close_lifeline()
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal to the program, through the watcher. Does nothing if it has ended.

        Args:
            number: the signal, such as `signal.SIGTERM`.
        """
        if self._lifeline is not None:
            with suppress(BrokenPipeError):  # the watcher has ended, and so has the program
                os.write(self._lifeline, bytes([number]))

    def kill(self) -> None:
        """Send SIGKILL to the program."""
        self.send_signal(signal.SIGKILL)

    async def stop(self, grace_seconds: float = 10.0) -> int:
        """Send SIGTERM, and SIGKILL after the grace; return once the program has ended.

        Args:
            grace_seconds: time between SIGTERM and SIGKILL.

        Returns:
            The program's exit code, negative for a signal.
        """
        self.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_seconds):
                return await self.wait()
        except TimeoutError:
            self.kill()
            return await self.wait()

    def _close_lifeline(self) -> None:
        if self._lifeline is not None:
            os.close(self._lifeline)
            self._lifeline = None


def _read_report(report: int) -> str:
    with open(report, "rb") as stream:
        return stream.readline(_REPORT_LIMIT_BYTES).decode(errors="replace").strip()


def _pid_in(report: str, command: Sequence[str]) -> int:
    kind, _, value = report.partition(" ")
    if kind == "pid":
        return int(value)
    raise EmbeddedError(f"cannot run {command[0]}: {value or 'its watcher ended at once'}")
