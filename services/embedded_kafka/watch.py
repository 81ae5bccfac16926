"""Runs one program, and ends it when the process that started it is gone, however that process ended.

`child.py` runs it as a separate script (standard library only):

    python -I -S watch.py LIFELINE_FD REPORT_FD ORPHAN_GRACE_SECONDS PROGRAM ARGUMENT...

The lifeline is the read end of a pipe whose write end only the parent holds. A byte on it is the number of a signal
for the program. Its end means that the parent is gone (`kill -9` included, on every POSIX system): then the program gets
SIGTERM, and after the grace SIGKILL, with its children. `PR_SET_PDEATHSIG` in the program itself would not suffice: it
is tied to the thread that forked, and is Linux only. Here it is a second safeguard, in case this watcher is killed.
"""

import contextlib
import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

PR_SET_PDEATHSIG = 1
CANNOT_RUN_EXIT_CODE = 127


def _ready_to_exec() -> Callable[[], None]:
    """Return the function that the forked process calls before it becomes the program."""
    watcher_pid = os.getpid()
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None

    def before_exec() -> None:
        # A shell's background job ignores SIGINT, and its children would inherit that.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        if libc is not None:
            libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != watcher_pid:
                os._exit(CANNOT_RUN_EXIT_CODE)

    return before_exec


class Watch:
    """One program under watch."""

    def __init__(self, lifeline: int, orphan_grace_seconds: float) -> None:
        """Set up the signal handlers. Call it once per process, from the main thread.

        Args:
            lifeline: descriptor of the read end of the pipe that the parent holds open.
            orphan_grace_seconds: time between SIGTERM and SIGKILL once the parent is gone or this process got SIGTERM.
        """
        self._lifeline: int | None = lifeline
        self._grace_seconds = orphan_grace_seconds
        self._kill_at: float | None = None
        self._told_to_end = False
        self._wake_reader, wake_writer = os.pipe()
        for end in (self._wake_reader, wake_writer):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_writer, warn_on_full_buffer=False)
        # Handlers instead of SIG_IGN: the program must not inherit an ignored signal.
        for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        signal.signal(signal.SIGTERM, self._on_terminate)

    def _on_terminate(self, *_: object) -> None:
        self._told_to_end = True

    def run(self, program: Sequence[str], report: int) -> int:
        """Run the program to its end, in a session of its own.

        Args:
            program: the program and its arguments.
            report: descriptor to write one line to: `pid N` once the program runs, `error TEXT` if it cannot be run.
                Closed once the program runs.

        Returns:
            The program's exit code, negative for the signal that ended it; 127 if it cannot be run.
        """
        try:
            process = subprocess.Popen(
                program,
                start_new_session=True,
                preexec_fn=_ready_to_exec(),  # noqa: PLW1509 - unsafe beside other threads; this process has one
            )
        except OSError as error:
            os.write(report, f"error {error}\n".encode())
            return CANNOT_RUN_EXIT_CODE
        with contextlib.suppress(BrokenPipeError):  # the parent is gone already; the lifeline shows it too
            os.write(report, f"pid {process.pid}\n".encode())
        os.close(report)
        while process.poll() is None:
            self._wait_for_something()
            self._act(process)
        return process.returncode

    def _wait_for_something(self) -> None:
        ends = [self._wake_reader] if self._lifeline is None else [self._wake_reader, self._lifeline]
        timeout = None if self._kill_at is None else max(0.0, self._kill_at - time.monotonic())
        readable, _, _ = select.select(ends, [], [], timeout)
        if self._wake_reader in readable:
            os.read(self._wake_reader, 4096)

    def _act(self, process: "subprocess.Popen[bytes]") -> None:
        if self._lifeline is not None and select.select([self._lifeline], [], [], 0)[0]:
            numbers = os.read(self._lifeline, 64)
            for number in numbers:
                process.send_signal(number)
            if not numbers:
                self._lifeline = None
                self._told_to_end = True
        if self._told_to_end and self._kill_at is None:
            process.terminate()
            self._kill_at = time.monotonic() + self._grace_seconds
        if self._kill_at is not None and time.monotonic() >= self._kill_at:
            with contextlib.suppress(ProcessLookupError):  # it ended between the check and the kill
                os.killpg(process.pid, signal.SIGKILL)
            self._kill_at = time.monotonic() + 1.0


def end_alike(exit_code: int) -> None:
    """End this process as the program ended, so that the parent sees the program's own exit.

    For a signal, this process disables its own core dump and sends itself the same signal.

    Args:
        exit_code: exit code of the program, negative for a signal.
    """
    if exit_code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with contextlib.suppress(OSError, ValueError):  # SIGKILL and SIGSTOP have no handler to reset
            signal.signal(-exit_code, signal.SIG_DFL)
        os.kill(os.getpid(), -exit_code)
    sys.exit(exit_code)


def main(arguments: Sequence[str]) -> None:
    """Parse the command line that the module describes, run the program, and end as it ended.

    Args:
        arguments: everything after the name of the script.
    """
    lifeline, report, grace, *program = arguments
    end_alike(Watch(int(lifeline), float(grace)).run(program, int(report)))


if __name__ == "__main__":
    main(sys.argv[1:])
