import asyncio
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from backpack_streams.errors import EmbeddedError
from embedded_kafka import Child

SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


async def started(code: str, log: Path) -> Child:
    """Start a child and wait until it has printed `up`."""
    child = await Child.start(python(code), log_path=log)
    await asyncio.to_thread(wait_until_up, log)
    return child


def wait_until_up(log: Path) -> None:
    deadline = time.monotonic() + 20
    while "up" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def test_a_child_has_the_programs_exit_code_and_its_output_is_logged(tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    log.write_text("before\n")
    code = "import os, sys; print(os.getpid()); print('err', file=sys.stderr); sys.exit(7)"
    child = await Child.start(python(code), log_path=log)
    assert await child.wait() == 7
    assert child.returncode == 7
    assert sorted(log.read_text().split()) == sorted(["before", str(child.pid), "err"])


async def test_stop_sends_sigterm_first(tmp_path: Path) -> None:
    child = await started(SLEEPER, tmp_path / "log")
    assert child.returncode is None
    assert await child.stop(grace_seconds=10) == -signal.SIGTERM
    assert not is_running(child.pid)
    assert await child.stop() == -signal.SIGTERM


async def test_stop_kills_a_child_that_ignores_sigterm(tmp_path: Path) -> None:
    child = await started(STUBBORN, tmp_path / "log")
    assert await child.stop(grace_seconds=0.3) == -signal.SIGKILL
    assert not is_running(child.pid)


async def test_the_pid_is_that_of_the_program(tmp_path: Path) -> None:
    child = await started(SLEEPER, tmp_path / "log")
    os.kill(child.pid, signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL


async def test_ctrl_c_in_the_terminal_does_not_reach_the_child(tmp_path: Path) -> None:
    child = await started(SLEEPER, tmp_path / "log")
    assert os.getpgid(child.pid) != os.getpgid(0)
    assert os.getsid(child.pid) != os.getsid(0)
    child.send_signal(signal.SIGINT)
    assert await child.wait() == 1 or child.returncode == -signal.SIGINT


async def test_a_missing_program_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(EmbeddedError, match=r"cannot run .*no-such-program") as caught:
        await Child.start([str(tmp_path / "no-such-program")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("delay_seconds", [0.0, 0.01, 0.02, 0.05, 0.1, 0.2])
async def test_a_cancelled_start_leaves_no_process(tmp_path: Path, delay_seconds: float) -> None:
    pid_file = tmp_path / "pid"
    code = f"import os, pathlib, time; pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid())); time.sleep(600)"
    start = asyncio.create_task(Child.start(python(code)))
    await asyncio.sleep(delay_seconds)
    start.cancel()
    with suppress(asyncio.CancelledError):  # the start had not finished
        await (await start).stop()
    assert not (pid_file.exists() and pid_file.read_text() and is_running(int(pid_file.read_text())))


async def test_environment_and_folder_reach_the_child(tmp_path: Path) -> None:
    code = "import os; print(os.environ['WORD'], os.path.basename(os.getcwd()))"
    child = await Child.start(
        python(code), log_path=tmp_path / "log", environment={"WORD": "hello"}, working_directory=tmp_path
    )
    assert await child.wait() == 0
    assert (tmp_path / "log").read_text().split() == ["hello", tmp_path.name]


PARENT = """
import asyncio, sys
from pathlib import Path
from embedded_kafka import Child

async def main():
    child = await Child.start([sys.executable, "-c", sys.argv[1]], log_path=Path(sys.argv[2]), orphan_grace_seconds=1)
    while "up" not in Path(sys.argv[2]).read_text():
        await asyncio.sleep(0.02)
    print(child.pid, flush=True)
    await child.wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("code", [SLEEPER, STUBBORN], ids=["listens", "stubborn"])
def test_a_child_dies_with_its_killed_parent(tmp_path: Path, code: str) -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, code, tmp_path / "log"], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        parent.kill()
        assert wait_until_gone(pid, 10)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent died")
async def test_a_child_dies_with_its_watcher(tmp_path: Path) -> None:
    child = await started(SLEEPER, tmp_path / "log")
    os.kill(parent_of(child.pid), signal.SIGKILL)
    assert await child.wait() == -signal.SIGKILL
    assert await asyncio.to_thread(wait_until_gone, child.pid, 10)


def test_a_child_works_under_uvloop(tmp_path: Path) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def run() -> int:
        child = await started(SLEEPER, tmp_path / "log")
        return await child.stop()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(run()) == -signal.SIGTERM
