"""The services of a campaign: each is restarted when it ends, like by Kubernetes."""

import subprocess
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from faults.campaign.clock import Clock
from plant import Service

_RESTART_SECONDS = 2.0
_LOOK_SECONDS = 0.1
_TERMINATION_GRACE_SECONDS = 30.0


class Ended(NamedTuple):
    """A process that ended although nobody killed it."""

    at: float
    service: str
    code: int
    log: str


class Role:
    """One service, across restarts of its process."""

    def __init__(self, name: str, start: Callable[[dict[str, str] | None], Service], clock: Clock | None) -> None:
        """`start` starts a process, with its own environment if given."""
        self.name = name
        self.clock = clock
        self.starts = 0
        self.ended: list[Ended] = []
        self._start = start
        self._lock = threading.RLock()
        self._process: Service | None = None
        self._restart_at = 0.0
        self._is_over = False
        self._watcher = threading.Thread(target=self._watch, name=f"role-{name}", daemon=True)

    def begin(self) -> None:
        """Start the first process, and watch from then on."""
        self._launch()
        self._watcher.start()

    def end(self) -> None:
        """Kill the process without a restart."""
        self._is_over = True
        self._watcher.join(10)
        with self._lock:
            if self._process is not None:
                self._process.kill()

    def _launch(self) -> None:
        self._process = self._start(self.clock.environment() if self.clock else None)
        self.starts += 1

    def _watch(self) -> None:
        while not self._is_over:
            with self._lock:
                process = self._process
                if process is None:
                    if time.monotonic() >= self._restart_at:
                        self._launch()
                elif process.popen.poll() is not None:
                    code = process.popen.returncode
                    self.ended.append(Ended(time.time(), self.name, code, process.log_tail()))
                    self._away(_RESTART_SECONDS)
            time.sleep(_LOOK_SECONDS)

    def _away(self, seconds: float) -> None:
        self._process = None
        self._restart_at = time.monotonic() + seconds

    def kill(self, down: float) -> None:
        """SIGKILL; another process starts so much later."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
            self._away(down)

    def terminate(self, down: float) -> bool:
        """SIGTERM, SIGKILL after the grace period; another process starts so much later. False if SIGKILL was needed."""
        with self._lock:
            process, self._process = self._process, None
            self._restart_at = time.monotonic() + _TERMINATION_GRACE_SECONDS + down
        if process is None:
            return True
        process.popen.terminate()
        try:
            process.popen.wait(_TERMINATION_GRACE_SECONDS)
            return True
        except subprocess.TimeoutExpired:
            process.kill()
            return False
        finally:
            with self._lock:
                self._restart_at = time.monotonic() + down

    def suspend(self) -> Service | None:
        """SIGSTOP; return the stopped process."""
        with self._lock:
            if self._process is not None:
                self._process.suspend()
            return self._process

    def resume(self, process: Service) -> None:
        """SIGCONT, unless it is dead by now."""
        with self._lock:
            if process.popen.poll() is None:
                process.resume()

    @property
    def process(self) -> Service | None:
        """The current process; None while it is down."""
        with self._lock:
            return self._process
