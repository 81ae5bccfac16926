"""Every command as process 1 of a container: there the kernel ignores SIGTERM unless the program handles it."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backpack_streams.cli.commands import COMMANDS
from plant import PROGRAM, wait_until

NAMESPACE = (
    "unshare",
    *(() if os.geteuid() == 0 else ("--user", "--map-root-user")),
    "--fork",
    "--pid",
    "--mount-proc",
    "--kill-child",
)
NOT_IN_A_CONTAINER = {"demo", "kafka", "registry"}  # they start their own Kafka, which the image does not contain
LEAVES_WELL = {"sandbox", "replay"}  # a stop is their normal end
WAITS_FOR_NOBODY = {"keys"}


@pytest.fixture(scope="module", autouse=True)
def namespace() -> None:
    """Process 1 needs a namespace; if the system does not allow one, the tests are skipped."""
    allowed = (
        shutil.which("unshare")
        and subprocess.run([*NAMESPACE, "true"], check=False, capture_output=True).returncode == 0
    )
    if not allowed:
        reason = "this user may not make a process namespace: run it as root, or allow unprivileged user namespaces"
        pytest.fail(reason) if os.environ.get("CI") else pytest.skip(reason)


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """Accepts connections and never answers, like a Kafka or an exchange that hangs."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(30)
        yield listener


def arguments(command: str, address: str, folder: Path) -> tuple[str, ...]:
    kafka = ("--bootstrap-servers", address)
    rest, ws = ("--rest-url", f"http://{address}"), ("--ws-url", f"ws://{address}")
    exchange = (*rest, *ws)
    service = (*kafka, *exchange, "--metrics-port", "0")
    return {
        "account-producer": (*service, "--private-key", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
        "audit": ("all", *kafka, *rest),
        "backfill": ("trade", "SOL_USDC", "--from", "2026-11-20", *kafka, *rest),
        "book": ("all", *kafka),
        "book-builder": (*kafka, "--metrics-port", "0"),
        "doctor": (*kafka, *exchange),
        "gateway": (*kafka, "--port", "0", "--metrics-port", "0"),
        "export": (
            "backpack.market.trade",
            "--from",
            "2026-11-20",
            "--to",
            "2026-11-21",
            "--out",
            str(folder / "out"),
            *kafka,
        ),
        "market-producer": service,
        "perp-producer": service,
        "record": (str(folder / "session.bpr"), *exchange),
        "rest-poller": service,
        "sandbox": ("--ws-port", "0", "--rest-port", "0", "--control-port", "0"),
        "schemas": ("register", "--schema-registry-url", f"http://{address}"),
        "tail": ("backpack.market.trade", *kafka),
        "top": kafka,
        "topics": ("apply", *kafka),
    }[command]


WAITING = [each.name for each in COMMANDS if each.name not in NOT_IN_A_CONTAINER | LEAVES_WELL | WAITS_FOR_NOBODY]


@contextlib.contextmanager
def process_one(*command: str, out: Path) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """The process that created the namespace, and the process id of its process 1 outside."""
    with out.open("wb") as file, subprocess.Popen([*NAMESPACE, *command], stdout=file, stderr=file) as maker:
        children = Path(f"/proc/{maker.pid}/task/{maker.pid}/children")
        try:
            wait_until("the namespace has its process", lambda: bool(children.read_text().split()))
            yield maker, int(children.read_text().split()[0])
        finally:
            maker.kill()  # also kills its child


@pytest.mark.parametrize("command", WAITING)
def test_sigterm_ends_a_command_that_waits_for_a_silent_peer(
    command: str, silent: socket.socket, tmp_path: Path
) -> None:
    address = f"127.0.0.1:{silent.getsockname()[1]}"
    out = tmp_path / "out.log"
    with (
        process_one(*PROGRAM, command, *arguments(command, address, tmp_path), out=out) as (maker, process),
        silent.accept()[0],
    ):
        os.kill(process, signal.SIGTERM)
        code = maker.wait(20)
    assert code in (0, 143), out.read_text()
    assert "Traceback" not in out.read_text()


@pytest.mark.parametrize("command", ["sandbox"])
def test_sigterm_is_the_normal_end_of_a_stand_in(command: str, tmp_path: Path) -> None:
    out = tmp_path / "out.log"
    with process_one(*PROGRAM, command, *arguments(command, "", tmp_path), out=out) as (maker, process):
        wait_until("it is ready", lambda: "ready" in out.read_text())
        os.kill(process, signal.SIGTERM)
        assert maker.wait(20) == 0, out.read_text()


def test_sigterm_ends_a_command_without_an_event_loop(tmp_path: Path) -> None:
    out = tmp_path / "out.log"
    program = "import os, signal; from backpack_streams.cli import main as program; "
    program += "program._answer = lambda _: os.kill(1, signal.SIGTERM); raise SystemExit(program.main([]))"
    with out.open("wb") as file:
        done = subprocess.run(
            [*NAMESPACE, PROGRAM[0], "-c", program], check=False, stdout=file, stderr=file, timeout=60
        )
    assert done.returncode == 143, out.read_text()
