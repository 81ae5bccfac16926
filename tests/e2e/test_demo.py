"""The demo for its user: everything starts, answers, and stops without leftovers."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.demo_process import (
    HOST,
    DemoProcess,
    descendants,
    is_program,
    open_ports,
    programs_in,
    run,
    still_running,
)

# A bound for busy machines: on an idle one the demo is LIVE within 15 s.
LIVE_WITHIN_SECONDS = 120
# A killed broker is readmitted once its old session has ended, 20 s later.
BROKER_BACK_WITHIN_SECONDS = 100
SYMBOL = "BTC_USDC_PERP"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are followed through /proc")


class Truth:
    """Every state of one of the sandbox's books, by update id: polled more often than it changes."""

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
    """A printed book, and the sandbox's at the same update; retried if that state was missed."""
    truth = Truth(demo.control_url)
    with truth.watched():
        for _ in range(3):
            [book] = run(demo, "book", SYMBOL, "--once", "--json")
            if book["last_update_id"] in truth.states:
                return book, truth.states[book["last_update_id"]]
    raise AssertionError(f"{book['last_update_id']} is none of {sorted(truth.states)}")


def test_it_starts_answers_and_ends_with_ctrl_c(tmp_path: Path) -> None:
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
        assert demo.output().splitlines()[0].startswith(f"live page http://{HOST}:{demo.gateway_port}/")
        page = httpx.get(f"http://{HOST}:{demo.gateway_port}/")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
        answer = httpx.get(f"http://{HOST}:{demo.gateway_port}/v1/orderbook", params={"symbol": SYMBOL}).json()
        assert (answer["success"], answer["data"]["book_status"]) == (True, "LIVE")

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


def test_nothing_survives_a_killed_demo(tmp_path: Path) -> None:
    with DemoProcess(tmp_path) as demo:
        demo.wait_for(r"account-producer started$", LIVE_WITHIN_SECONDS)
        started = descendants(demo.process.pid)
        assert len(started) >= 10  # five programs, each with a watcher
        demo.process.kill()
        demo.end(10)
        assert still_running(started, 10) == {}
        assert open_ports(demo.ports) == []


def type_in_another_terminal(demo: DemoProcess, aim: str) -> None:
    """Run a command that the demo suggests, unchanged."""
    command = demo.wait_for(rf"^  to {re.escape(aim)}: (.+)$", 10)[1]
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, timeout=60)


def test_a_killed_producer_is_restarted_and_the_books_recover(tmp_path: Path) -> None:
    with DemoProcess(tmp_path) as demo:
        live = demo.wait_for(r"all 12 books LIVE after", LIVE_WITHIN_SECONDS)
        killed = demo.pid("market-producer")
        type_in_another_terminal(demo, "kill a producer")
        log = re.escape(str(tmp_path / "data" / "logs" / "market-producer.log"))
        pattern = rf"^market-producer ended unexpectedly \(by signal 9\): \S.* \(log: {log}\); restart in \d+\.\d s$"
        ended = demo.wait_for(pattern, 10, after=live)
        restarted = demo.wait_for(r"^market-producer restarted \(restart 1, pid (\d+)\)$", 30, after=ended)
        # Any of the books: if twelve go STALE at once, the demo names ten and counts the rest.
        demo.wait_for(r"^\S+ is STALE: no producer has vouched for depth\.", LIVE_WITHIN_SECONDS, after=ended)
        demo.wait_for(r"^market-producer ready again, \d+\.\d s after it ended$", LIVE_WITHIN_SECONDS, after=ended)
        back = demo.wait_for(r"^all 12 books LIVE again after \d+\.\d s$", LIVE_WITHIN_SECONDS, after=ended)
        assert demo.pid("market-producer") == int(restarted[1]) != killed
        demo.wait_for(r"^up .*: 12 of 12 books LIVE, .*, restarts 1$", 20, after=back)

        demo.interrupt()
        assert demo.end(30) == 0
        assert not (tmp_path / "data" / "pids").exists()


@pytest.mark.skipif(shutil.which("curl") is None, reason="the demo suggests commands with curl")
def test_the_suggested_commands_have_the_described_effects(tmp_path: Path) -> None:
    with DemoProcess(tmp_path) as demo:
        live = demo.wait_for(r"all 12 books LIVE after", LIVE_WITHIN_SECONDS)
        type_in_another_terminal(demo, "drop a frame")
        # On a slow machine the snapshot may arrive before the demo looks.
        pattern = rf"^{SYMBOL} (is STALE: update \d+ does not follow|was not LIVE for a moment$)"
        stale = demo.wait_for(pattern, 30, after=live)
        demo.wait_for(rf"^gap in depth\.{SYMBOL} between ", 30, after=live)
        demo.wait_for(rf"^{SYMBOL} is LIVE again", 30, after=stale)
        type_in_another_terminal(demo, "close the exchange's sockets")
        [book] = run(demo, "book", SYMBOL, "--once", "--json")
        assert book["status"] == "LIVE"
        file = (tmp_path / "data" / "what-to-try.txt").read_text()
        suggested = re.findall(r"^  to .+?: (.+)$", demo.output(), re.MULTILINE)
        assert len(suggested) == 6
        assert [line for line in file.splitlines() if line and not line.startswith("#")] == suggested


@pytest.mark.parametrize("program", ["sandbox", "kafka"])
def test_the_exchange_and_kafka_are_restarted_too(tmp_path: Path, program: str) -> None:
    with DemoProcess(tmp_path) as demo:
        demo.wait_for(r"all 12 books LIVE after", LIVE_WITHIN_SECONDS)
        os.kill(demo.pid(program), signal.SIGKILL)
        ended = demo.wait_for(r"^(sandbox|Kafka broker 1) ended unexpectedly \(by signal 9\)", 10)
        demo.wait_for(rf"^{program} ready again", BROKER_BACK_WITHIN_SECONDS, after=ended)
        demo.wait_for(r"^all 12 books LIVE again", BROKER_BACK_WITHIN_SECONDS, after=ended)
        started = descendants(demo.process.pid)
        demo.interrupt()
        assert demo.end(40) == 0
        assert still_running(started, 0) == {}
        assert open_ports(demo.ports) == []


@pytest.mark.parametrize(
    ("exit_code", "message"),
    [
        (2, r"rest-poller ended unexpectedly \(with exit code 2\): this is wrong \(log: \S+rest-poller.log\)"),
        (1, r"rest-poller ended unexpectedly \(with exit code 1\): .*; it ended 3 times without ever being ready"),
    ],
    ids=["wrong usage", "never ready"],
)
def test_a_program_that_can_never_start_ends_the_demo(tmp_path: Path, exit_code: int, message: str) -> None:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "sitecustomize.py").write_text(
        "import os, sys\n"
        "if 'rest-poller' in sys.orig_argv:\n"
        f"    print('this is wrong', flush=True), os._exit({exit_code})\n"
    )
    path = os.pathsep.join(filter(None, [str(broken), os.environ.get("PYTHONPATH")]))
    with DemoProcess(tmp_path, environment={"PYTHONPATH": path}) as demo:
        assert demo.end(2 * LIVE_WITHIN_SECONDS) == 1
        last = demo.output().splitlines()[-1]
        assert re.fullmatch("backpack-streams demo: " + message, last), last
        assert "Traceback" not in demo.output()
        assert open_ports(demo.ports) == []
        assert not (tmp_path / "data" / "pids").exists()


@pytest.mark.parametrize("line", [r"; restart in ", r"^market-producer restarted"], ids=["before", "after"])
def test_ctrl_c_during_a_restart_ends_everything(tmp_path: Path, line: str) -> None:
    with DemoProcess(tmp_path) as demo:
        demo.wait_for(r"^market-producer ready", LIVE_WITHIN_SECONDS)
        os.kill(demo.pid("market-producer"), signal.SIGKILL)
        demo.wait_for(line, 30)
        started = descendants(demo.process.pid)
        demo.interrupt()
        assert demo.end(30) == 0
        assert still_running(started, 0) == {}
        assert open_ports(demo.ports) == []
        assert "Traceback" not in demo.output()


@pytest.mark.parametrize("line", ["^logs are in", "^kafka ready", "^sandbox ready"])
@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice at once"])
def test_ctrl_c_during_the_start_ends_everything(tmp_path: Path, line: str, times: int) -> None:
    with DemoProcess(tmp_path) as demo:
        demo.wait_for(line, LIVE_WITHIN_SECONDS)
        for _ in range(times):
            demo.interrupt()
            time.sleep(0.05)  # two signals at the same moment count as one
        # The second signal may hit a demo that has stopped everything and is about to exit with 0, or one whose interpreter has restored
        # the default handlers: it dies of the signal, which a shell also shows as 130.
        assert demo.end(30) in ([0] if times == 1 else [0, 130, -signal.SIGINT])
        assert programs_in(tmp_path) == []
        assert open_ports(demo.ports) == []
        assert "Traceback" not in demo.output()


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


@pytest.mark.parametrize("flag", ["--kafka-port", "--ws-port", "--rest-port", "--control-port", "--gateway-port"])
def test_a_port_in_use_is_reported_before_anything_starts(tmp_path: Path, flag: str) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = other.getsockname()[1]
        with DemoProcess(tmp_path, flag, str(port)) as demo:
            assert demo.end(30) == 2
            [line] = demo.output().splitlines()
    assert f"port {port}" in line
    assert flag in line
    assert not (tmp_path / "data").exists()
