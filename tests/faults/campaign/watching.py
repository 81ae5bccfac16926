"""Watches the progress of each service of a campaign, on a thread for each."""

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Self

from faults.campaign.progress import METRICS, Happened, Look, Progress, Stuck, work_of
from faults.campaign.roles import Role

_LOOK_SECONDS = 3.0
_END_SECONDS = 15.0


class Watchers:
    """One for each role; `began` is time 0 of the schedule on the monotonic clock. Use it as a context manager."""

    def __init__(self, roles: Mapping[str, Role], began: float) -> None:
        self._began = began
        self._progress = {name: Progress(name) for name in roles}
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._watch, args=(role,), name=f"watching-{name}", daemon=True)
            for name, role in roles.items()
        ]

    def __enter__(self) -> Self:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for each in self._threads:
            each.join(_END_SECONDS)

    def _now(self) -> float:
        return time.monotonic() - self._began

    def _watch(self, role: Role) -> None:
        progress = self._progress[role.name]
        while not self._stop.wait(_LOOK_SECONDS):
            progress.look(self._look(role))

    def _look(self, role: Role) -> Look:
        process = role.process
        if process is None:
            return Look(self._now(), 0)
        try:
            metrics = process.metrics(*METRICS)
        except (OSError, ValueError):  # it starts, is frozen, or was killed while it answered
            return Look(self._now(), process.popen.pid)
        now = self._now()
        return Look(now, process.popen.pid, work_of(role.name, metrics, now))

    def wait_for_progress(self, since: float, seconds: float) -> None:
        """Wait until each service has made progress after a moment of the schedule, at most so long."""
        while self._now() < since + seconds and any(each.last_at <= since for each in self._progress.values()):
            self._stop.wait(_LOOK_SECONDS)

    def stuck(self, happened: Sequence[Happened]) -> list[Stuck]:
        """The result of `Progress.stuck` for all services."""
        return [found for each in self._progress.values() for found in each.stuck(happened)]
