import asyncio
from pathlib import Path

import pytest

from backpack_streams.demo.errors import ProgramEndedError
from backpack_streams.demo.pid_files import PidFiles
from backpack_streams.demo.program_states import ProgramStates
from backpack_streams.demo.restarts import Restarts
from backpack_streams.demo.supervisor import End, Supervisor


class OneProgram:
    """A program that ends as the test says."""

    name = "rest-poller"

    def __init__(self, *, is_ready_once_started: bool) -> None:
        self.is_ready_once_started = is_ready_once_started
        self.pid: int | None = 100
        self.ends: asyncio.Queue[End] = asyncio.Queue()
        self.started = asyncio.Event()

    async def start(self) -> None:
        self.pid = 101
        self.started.set()

    async def ended(self) -> End:
        end = await self.ends.get()
        self.pid = None
        return end


@pytest.fixture
def pids(tmp_path: Path) -> PidFiles:
    return PidFiles(tmp_path)


def lines_of_one_end(pids: PidFiles, *, is_ready_once_started: bool) -> list[str]:
    lines: list[str] = []

    async def run() -> None:
        program = OneProgram(is_ready_once_started=is_ready_once_started)
        supervisor = Supervisor(program, Restarts(), ProgramStates(lines.append), pids)
        task = asyncio.create_task(supervisor.run())
        program.ends.put_nowait(End("rest-poller ended", 1))
        await asyncio.wait_for(program.started.wait(), 30)
        while not pids.path("rest-poller").exists():  # noqa: ASYNC110 - it is written in the same step
            await asyncio.sleep(0)
        assert pids.path("rest-poller").read_text() == "101\n"
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(run())
    assert not pids.path("rest-poller").exists()
    return lines


def test_a_program_that_ended_is_restarted_and_its_pid_is_written(pids: PidFiles) -> None:
    end, restart = lines_of_one_end(pids, is_ready_once_started=False)
    assert end.startswith("rest-poller ended; restart in ")
    assert restart == "rest-poller restarted (restart 1, pid 101)"


def test_a_program_that_is_ready_once_started_is_reported_ready(pids: PidFiles) -> None:
    *_, ready = lines_of_one_end(pids, is_ready_once_started=True)
    assert ready.startswith("rest-poller ready again, ")


@pytest.mark.parametrize(
    ("most_failed_starts", "exit_code", "message"),
    [(9, 2, "rest-poller ended"), (2, 1, "rest-poller ended; it ended 2 times without ever being ready")],
    ids=["wrong usage", "never ready"],
)
def test_a_program_that_can_never_start_ends_the_demo(
    pids: PidFiles, most_failed_starts: int, exit_code: int, message: str
) -> None:
    async def run() -> None:
        program = OneProgram(is_ready_once_started=False)
        for _ in range(2):
            program.ends.put_nowait(End("rest-poller ended", exit_code))
        restarts = Restarts(most_failed_starts)
        await asyncio.wait_for(Supervisor(program, restarts, ProgramStates(lambda _: None), pids).run(), 30)

    with pytest.raises(ProgramEndedError) as raised:
        asyncio.run(run())
    assert str(raised.value) == message


def test_a_pid_that_cannot_be_written_is_no_failure(tmp_path: Path) -> None:
    pids = PidFiles(tmp_path / "missing")
    pids.write("rest-poller", 100)
    pids.remove("rest-poller")
    assert not pids.path("rest-poller").exists()
