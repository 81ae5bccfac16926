"""The state of each program of the demo, computed from events: whether it runs, is ready, why it ended, how often it was restarted.

Sans I/O, and without a clock: times are seconds on one monotonic clock.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from backpack_streams.demo.rates import RateWindow
from backpack_streams.demo.rows import ServiceRow
from backpack_streams.demo.service_report import ServiceReport

__all__ = ["ProgramStates"]

_RATE_WINDOW_SECONDS: Final = 5.0
_ALL_FRAMES: Final = "frames"
_NOTHING_YET: Final = ServiceReport(is_ready=False)


@dataclass(slots=True)
class _State:
    report: ServiceReport = _NOTHING_YET
    note: str = ""
    ready_at: float | None = None
    """When the present run became ready for the first time."""
    ended_at: float | None = None
    """When it ended by itself; None once it has been ready again."""
    is_running: bool = True
    restarts: int = 0
    frames_before: int = 0
    """Frames of the runs before the present one."""


class ProgramStates:
    """All programs by name, in the order in which they were first seen.

    Args:
        tell: takes one line for each event.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._states: dict[str, _State] = {}
        self._frame_rates = RateWindow(_RATE_WINDOW_SECONDS)

    # Events.

    def saw_ready(self, name: str, at: float) -> None:
        """Take note that a program without a report is ready."""
        state = self._states.setdefault(name, _State())
        if state.is_running:
            self._is_ready(name, state, at)
            state.report = ServiceReport(is_ready=True)

    def saw_report(self, name: str, report: ServiceReport, note: str, at: float) -> None:
        """Take a service's report. A report of a program whose end was seen is ignored.

        Args:
            name: the service.
            report: what its metrics say.
            note: the latest trouble in its log if it is not ready; empty if there is none.
            at: monotonic seconds.
        """
        state = self._states.setdefault(name, _State())
        if not state.is_running:  # the answer of a run that has ended meanwhile
            return
        if report.is_ready:
            if not state.report.is_ready and state.ended_at is None:
                self._tell(f"{name} ready")
            self._is_ready(name, state, at)
        elif state.report.is_ready:
            self._tell(f"{name} is not ready: {'; '.join(report.reasons)}")
        state.report, state.note = report, note or "; ".join(report.reasons)
        self._frame_rates.add(at, {_ALL_FRAMES: self._frames()})

    def saw_end(self, name: str, what_happened: str, delay_seconds: float, at: float) -> None:
        """Take a program's end.

        Args:
            name: the program.
            what_happened: one line on how and why it ended.
            delay_seconds: time until it is started again.
            at: when it ended, monotonic seconds.
        """
        state = self._states.setdefault(name, _State())
        state.is_running, state.ready_at, state.ended_at = False, None, at
        state.frames_before += state.report.frames
        state.report, state.note = _NOTHING_YET, what_happened
        self._tell(f"{what_happened}; restart in {delay_seconds:.1f} s")

    def saw_restart_begin(self, name: str) -> None:
        """A program that has ended is being started again."""
        self._states[name].note = "starting again"

    def saw_restart(self, name: str, pid: int | None) -> None:
        """Take a program's restart, ready or not."""
        state = self._states[name]
        state.is_running = True
        state.restarts += 1
        self._tell(f"{name} restarted (restart {state.restarts}, pid {pid})")

    # Views.

    def ready_at(self, name: str) -> float | None:
        """Return when the present run of a program became ready; None if it has not."""
        state = self._states.get(name)
        return None if state is None else state.ready_at

    @property
    def frames_per_second(self) -> float:
        """Frames that all services together receive, over the last five seconds."""
        return self._frame_rates.rate(_ALL_FRAMES)

    @property
    def waiting_bytes(self) -> int:
        """Bytes in all services that wait for Kafka."""
        return sum(state.report.waiting_bytes for state in self._states.values())

    @property
    def restarts(self) -> int:
        """Number of restarts of all programs."""
        return sum(state.restarts for state in self._states.values())

    def rows(self) -> list[ServiceRow]:
        """Return the programs that were seen at least once."""
        return [
            ServiceRow(name, state.report.is_ready, "" if state.report.is_ready else state.note, state.restarts)
            for name, state in self._states.items()
        ]

    def _is_ready(self, name: str, state: _State, at: float) -> None:
        if state.ready_at is None:
            state.ready_at = at
        if state.ended_at is not None:
            self._tell(f"{name} ready again, {at - state.ended_at:.1f} s after it ended")
            state.ended_at = None

    def _frames(self) -> int:
        return sum(state.frames_before + state.report.frames for state in self._states.values())
