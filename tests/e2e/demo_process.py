"""`backpack-streams demo` as a process, observed from outside (Linux only)."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from embedded_kafka.ports import free_ports

HOST = "127.0.0.1"
PROGRAM = [sys.executable, "-m", "backpack_streams.cli.main"]


class DemoProcess:
    """`backpack-streams demo` on free ports, in its own process group, as a terminal would start it."""

    def __init__(self, folder: Path, *flags: str, environment: Mapping[str, str] | None = None) -> None:
        self.kafka_port, self.ws_port, self.rest_port, self.control_port, self.gateway_port = free_ports(5, HOST)
        self.folder = folder
        self._output = folder / "output"
        ports = {"kafka": self.kafka_port, "ws": self.ws_port, "rest": self.rest_port, "control": self.control_port}
        ports["gateway"] = self.gateway_port
        arguments = [text for name, port in ports.items() for text in (f"--{name}-port", str(port))]
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*PROGRAM, "demo", *arguments, "--data-dir", str(folder / "data"), *flags],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )

    @property
    def ports(self) -> tuple[int, ...]:
        return self.kafka_port, self.ws_port, self.rest_port, self.control_port, self.gateway_port

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self.kafka_port}"

    @property
    def control_url(self) -> str:
        return f"http://{HOST}:{self.control_port}"

    def output(self) -> str:
        return self._output.read_text("utf-8")

    def wait_for(self, pattern: str, seconds: float, after: "re.Match[str] | None" = None) -> "re.Match[str]":
        """Return the first matching line, after another one if given; fail if the demo ends or the time is over first."""
        deadline = time.monotonic() + seconds
        start = 0 if after is None else after.end()
        while True:
            has_ended = self.process.poll() is not None
            if found := re.compile(pattern, re.MULTILINE).search(self.output(), start):
                return found
            assert not has_ended, f"the demo ended: {self.output()}"
            assert time.monotonic() < deadline, f"no {pattern!r} within {seconds} s: {self.output()}"
            time.sleep(0.1)

    def pid(self, program: str) -> int:
        return int((self.folder / "data" / "pids" / program).read_text())

    def interrupt(self) -> None:
        """Ctrl-C: SIGINT to the whole foreground group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self, seconds: float) -> int:
        """Wait for the exit code."""
        return self.process.wait(seconds)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Always remove everything: the programs end with their parent."""
        self.process.kill()
        self.process.wait()


def descendants(pid: int) -> dict[int, str]:
    """Every descendant of the process `pid` (Linux only), with its command line."""
    children: dict[int, list[int]] = {}
    for child, parent in _parents():
        children.setdefault(parent, []).append(child)
    found: dict[int, str] = {}
    waiting = [pid]
    while waiting:
        for child in children.get(waiting.pop(), ()):
            waiting.append(child)
            with suppress(OSError):  # it ended in between
                found[child] = Path(f"/proc/{child}/cmdline").read_text("utf-8", "replace").replace("\0", " ")
    return found


def _parents() -> Iterator[tuple[int, int]]:
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended in between
            fields = path.read_text("utf-8", "replace").rpartition(")")[2].split()
            yield int(path.parent.name), int(fields[1])


def is_program(name: str, command: str) -> bool:
    """Whether a command line is that of a program of the demo, not of its watcher."""
    return f" {name} " in command and "watch.py" not in command


def still_running(pids: dict[int, str], seconds: float) -> dict[int, str]:
    """The processes of `pids` that still run after this time; returns as soon as there are none."""
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


def programs_in(folder: Path) -> list[str]:
    """Command lines of all processes that name this folder, as soon as there are none or after 10 s."""
    deadline = time.monotonic() + 10
    while True:
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            with suppress(OSError):  # it ended in between
                command = path.read_text("utf-8", "replace").replace("\0", " ")
                found += [command] if str(folder / "data") in command else []
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


def open_ports(ports: tuple[int, ...]) -> list[int]:
    """The ports with a listener."""
    return [port for port in ports if _accepts(port)]


def _accepts(port: int) -> bool:
    with socket.socket() as client:
        client.settimeout(1)
        return client.connect_ex((HOST, port)) == 0


def run(demo: DemoProcess, *arguments: str) -> list[dict[str, Any]]:
    """The output of a command in another terminal."""
    command = [*PROGRAM, *arguments, "--bootstrap-servers", demo.bootstrap_servers]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
