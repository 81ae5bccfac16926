import pytest

from backpack_streams.demo.program_states import ProgramStates
from backpack_streams.demo.rows import ServiceRow
from backpack_streams.demo.service_report import ServiceReport

KILLED = "rest-poller ended unexpectedly (by signal 9): service ready"


class Told:
    """The states of all programs, and the lines reported since the last call."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self.states = ProgramStates(self._lines.append)

    def lines(self) -> list[str]:
        lines = self._lines.copy()
        self._lines.clear()
        return lines


@pytest.fixture
def told() -> Told:
    return Told()


def test_frames_are_summed_over_all_services(told: Told) -> None:
    states = told.states
    states.saw_report("market-producer", ServiceReport(True, frames=100), "", at=101.0)
    states.saw_report("perp-producer", ServiceReport(True, frames=10), "", at=101.0)
    states.saw_report("market-producer", ServiceReport(True, frames=300, waiting_bytes=7), "", at=103.0)
    states.saw_report("perp-producer", ServiceReport(True, frames=30, waiting_bytes=1), "", at=103.0)
    assert states.frames_per_second == 115
    assert states.waiting_bytes == 8


def test_the_frames_of_a_restarted_service_still_count(told: Told) -> None:
    states = told.states
    states.saw_report("rest-poller", ServiceReport(True, frames=100), "", at=101.0)
    states.saw_report("rest-poller", ServiceReport(True, frames=200), "", at=102.0)
    states.saw_end("rest-poller", KILLED, 0.5, at=102.0)
    states.saw_restart("rest-poller", 4711)
    states.saw_report("rest-poller", ServiceReport(True, frames=20), "", at=103.0)
    assert states.frames_per_second == 60


def test_a_service_that_becomes_ready_or_not_ready_is_reported(told: Told) -> None:
    states = told.states
    states.saw_report("rest-poller", ServiceReport(False, ("starting",)), "", at=101.0)
    assert told.lines() == []
    assert states.rows() == [ServiceRow("rest-poller", False, "starting")]
    states.saw_report("rest-poller", ServiceReport(True), "", at=102.0)
    states.saw_report("rest-poller", ServiceReport(True), "", at=103.0)
    assert told.lines() == ["rest-poller ready"]
    states.saw_report("rest-poller", ServiceReport(False, ("Kafka is late",)), "WARNING no answer", at=104.0)
    assert told.lines() == ["rest-poller is not ready: Kafka is late"]
    assert states.rows() == [ServiceRow("rest-poller", False, "WARNING no answer")]
    assert states.ready_at("rest-poller") == 102.0, "it has been ready in this run"


def test_an_end_a_restart_and_the_recovery_are_reported(told: Told) -> None:
    states = told.states
    states.saw_report("rest-poller", ServiceReport(True), "", at=101.0)
    told.lines()
    states.saw_end("rest-poller", KILLED, 0.75, at=110.0)
    assert told.lines() == [f"{KILLED}; restart in 0.8 s"]
    assert states.rows() == [ServiceRow("rest-poller", False, KILLED)]
    assert states.ready_at("rest-poller") is None
    states.saw_restart_begin("rest-poller")
    assert states.rows() == [ServiceRow("rest-poller", False, "starting again")]
    states.saw_restart("rest-poller", 4711)
    assert told.lines() == ["rest-poller restarted (restart 1, pid 4711)"]
    assert states.rows() == [ServiceRow("rest-poller", False, "starting again", 1)]
    states.saw_report("rest-poller", ServiceReport(False, ("starting",)), "", at=112.0)
    states.saw_report("rest-poller", ServiceReport(True), "", at=114.5)
    assert told.lines() == ["rest-poller ready again, 4.5 s after it ended"]
    assert states.rows() == [ServiceRow("rest-poller", True, "", 1)]
    assert states.restarts == 1


def test_the_last_answer_of_a_run_that_has_ended_is_ignored(told: Told) -> None:
    states = told.states
    states.saw_report("rest-poller", ServiceReport(True), "", at=101.0)
    states.saw_end("rest-poller", KILLED, 0.5, at=102.0)
    told.lines()
    states.saw_report("rest-poller", ServiceReport(True), "", at=102.1)
    states.saw_ready("rest-poller", at=102.1)
    assert told.lines() == []
    assert states.ready_at("rest-poller") is None


def test_a_program_without_reports_recovers_likewise(told: Told) -> None:
    states = told.states
    states.saw_ready("kafka", at=101.0)
    states.saw_ready("kafka", at=103.0)
    assert told.lines() == [], "its start tells more than a line here could"
    assert states.ready_at("kafka") == 101.0
    states.saw_end("kafka", "Kafka broker 1 ended unexpectedly", 0.5, at=110.0)
    states.saw_restart("kafka", 4711)
    told.lines()
    states.saw_ready("kafka", at=116.0)
    assert told.lines() == ["kafka ready again, 6.0 s after it ended"]


def test_a_program_that_ends_before_its_first_report_is_shown(told: Told) -> None:
    told.states.saw_end("sandbox", "sandbox ended", 0.5, at=101.0)
    assert told.states.rows() == [ServiceRow("sandbox", False, "sandbox ended")]
