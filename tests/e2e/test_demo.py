"""The demo as a user meets it: everything comes up, answers, and goes without a trace."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest

from backpack_streams.embedded.ports import free_ports

HOST = "127.0.0.1"
PROGRAM = [sys.executable, "-m", "backpack_streams.cli.main"]
# Above all a bound for machines that are busy with other things: on an idle one the demo is LIVE within 15 s.
LIVE_WITHIN_SECONDS = 60
SYMBOL = "BTC_USDC_PERP"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are followed through /proc")


class DemoProcess:
    """`backpack-streams demo` on free ports, in a process group of its own, as a terminal would start it."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.kafka_port, self.ws_port, self.rest_port, self.control_port = free_ports(4, HOST)
        self.folder = folder
        self._output = folder / "output"
        ports = {"kafka": self.kafka_port, "ws": self.ws_port, "rest": self.rest_port, "control": self.control_port}
        arguments = [text for name, port in ports.items() for text in (f"--{name}-port", str(port))]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*PROGRAM, "demo", *arguments, "--data-dir", str(folder / "data"), *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def ports(self) -> tuple[int, ...]:
        return self.kafka_port, self.ws_port, self.rest_port, self.control_port

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.kafka_port}"

    @property
    def control_url(self) -> str:
        return f"http://{HOST}:{self.control_port}"

    def output(self) -> str:
        return self._output.read_text("utf-8")

    def wait_for(self, pattern: str, seconds: float) -> "re.Match[str]":
        """The first line that matches; fails when the demo ends or the time is over first."""
        deadline = time.monotonic() + seconds
        while True:
            has_ended = self.process.poll() is not None
            if found := re.search(pattern, self.output(), re.MULTILINE):
                return found
            assert not has_ended, f"the demo ended: {self.output()}"
            assert time.monotonic() < deadline, f"no {pattern!r} within {seconds} s: {self.output()}"
            time.sleep(0.1)

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, seconds: float) -> int:
        """The exit code."""
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Whatever a test did, nothing of it stays: the programs end with their parent."""
        self.process.kill()
        self.process.wait()


def descendants(pid: int) -> dict[int, str]:
    """Every process that comes of `pid` (Linux only), with its command line."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            waiting.append(child)
            with suppress(OSError):  # it ended meanwhile
                found[child] = Path(f"/proc/{child}/cmdline").read_text("utf-8", "replace").replace("\0", " ")
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            yield int(path.parent.name), int(fields[1])


def is_program(name: str, command: str) -> bool:
    """Whether a command line is that of a program of the demo, not of the watcher beside it."""
    return f" {name} " in command and "watch.py" not in command


def still_running(pids: dict[int, str], seconds: float) -> dict[int, str]:
    """Those of `pids` that run when the time is over; returns as soon as there are none."""
    deadline = time.monotonic() + seconds
    while True:
        left = {pid: command for pid, command in pids.items() if _runs(pid, command)}
        if not left or time.monotonic() > deadline:
            return left
        time.sleep(0.1)


def _runs(pid: int, command: str) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8", "replace").replace("\0", " ") == command
    except OSError:
        return False


def open_ports(ports: tuple[int, ...]) -> list[int]:
    """Those on which somebody listens."""
    return [port for port in ports if _accepts(port)]


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((HOST, port)) == 0


def run(demo: DemoProcess, *arguments: str) -> list[dict[str, Any]]:
    """What another terminal shows."""
    command = [*PROGRAM, *arguments, "--bootstrap-servers", demo.bootstrap_servers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


class Truth:
    """Every state of one of the sandbox's books, by update id: looked at more often than it changes."""

    def __init__(self, control_url: str) -> None:
        self._url = f"{control_url}/books/{SYMBOL}"
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self.states: dict[int, dict[str, Any]] = {}

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            with urllib.request.urlopen(self._url, timeout=10) as answer:
                state = json.load(answer)
            self.states[state["last_update_id"]] = state

    @contextmanager
    def watched(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def book_that_the_sandbox_had(demo: DemoProcess) -> tuple[dict[str, Any], dict[str, Any]]:
    """A printed book, and what the sandbox had at the same update; a state that passed unseen is tried again."""
    truth = Truth(demo.control_url)
    with truth.watched():
        for _ in range(3):
            [book] = run(demo, "book", SYMBOL, "--once", "--json")
            if book["last_update_id"] in truth.states:
                return book, truth.states[book["last_update_id"]]
    raise AssertionError(f"{book['last_update_id']} is none of {sorted(truth.states)}")


def test_it_comes_up_answers_and_ends_with_ctrl_c(tmp_path: Path) -> None:
    with DemoProcess(tmp_path, "--rate", "24") as demo:
        demo.wait_for(r"^kafka ready", LIVE_WITHIN_SECONDS)
        demo.wait_for(r"^sandbox ready", LIVE_WITHIN_SECONDS)
        demo.wait_for(r"all 12 books LIVE after \d+\.\d s", LIVE_WITHIN_SECONDS)
        started = descendants(demo.process.pid)

        book, truth = book_that_the_sandbox_had(demo)
        assert book["status"] == "LIVE"
        assert book["bids"] == truth["bids"]
        assert book["asks"] == truth["asks"]
        assert len(book["bids"]) > 1

        records = run(demo, "tail", "backpack.market.depth", "--json", "-n", "5")
        assert len(records) == 5
        assert {record["topic"] for record in records} == {"backpack.market.depth"}
        orders = run(demo, "tail", "backpack.account.order", "--json", "-n", "2", "--from-beginning")
        assert len(orders) == 2, "the account at the sandbox acts, and its producer publishes it"

        demo.interrupt()
        assert demo.end(30) == 0
        output = demo.output()
        assert still_running(started, 0) == {}
        assert open_ports(demo.ports) == []
    programs = ("kafka.Kafka", "sandbox", "market-producer", "perp-producer", "rest-poller", "account-producer")
    assert [name for name in programs if any(is_program(name, command) for command in started.values())] == [*programs]
    steps = [output.index(step) for step in ("stopping the services", "stopping the sandbox", "stopping kafka")]
    assert steps == sorted(steps)
    assert "Traceback" not in output
    assert {path.name for path in (tmp_path / "data" / "logs").iterdir()} >= {"market-producer.log", "sandbox.log"}


def test_nothing_outlives_a_demo_that_is_killed(tmp_path: Path) -> None:
    with DemoProcess(tmp_path) as demo:
        demo.wait_for(r"account-producer started$", LIVE_WITHIN_SECONDS)
        started = descendants(demo.process.pid)
        assert len(started) >= 10  # five programs and the watcher of each
        demo.process.kill()
        demo.end(10)
        assert still_running(started, 10) == {}
        assert open_ports(demo.ports) == []


def test_a_program_that_dies_ends_the_demo_and_is_named(tmp_path: Path) -> None:
    with DemoProcess(tmp_path) as demo:
        demo.wait_for(r"account-producer started$", LIVE_WITHIN_SECONDS)
        started = descendants(demo.process.pid)
        [poller] = [pid for pid, command in started.items() if is_program("rest-poller", command)]
        os.kill(poller, signal.SIGKILL)
        assert demo.end(40) == 1
        last = demo.output().splitlines()[-1]
        assert last.startswith("backpack-streams demo: rest-poller ended unexpectedly (by signal 9): ")
        assert f"(log: {tmp_path / 'data' / 'logs' / 'rest-poller.log'})" in last
        assert "Traceback" not in demo.output()
        assert still_running(started, 0) == {}
        assert open_ports(demo.ports) == []


def test_a_second_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    with DemoProcess(tmp_path) as demo:
        demo.wait_for(r"^kafka ready", LIVE_WITHIN_SECONDS)
        started = descendants(demo.process.pid)
        demo.interrupt()
        demo.wait_for(r"^stopping kafka", 10)
        demo.interrupt()
        assert demo.end(10) == 130
        assert still_running(started, 0) == {}
        assert open_ports(demo.ports) == []


@pytest.mark.parametrize("flag", ["--kafka-port", "--ws-port", "--rest-port", "--control-port"])
def test_a_port_in_use_is_said_before_anything_starts(tmp_path: Path, flag: str) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with DemoProcess(tmp_path, flag, str(port)) as demo:
            assert demo.end(30) == 2
            [line] = demo.output().splitlines()
    assert f"port {port}" in line
    assert flag in line
    assert not (tmp_path / "data").exists()
