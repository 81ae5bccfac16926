"""The plant as its users run it: the installed command in separate processes, on free ports, against a real Kafka."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from backpack_streams.bus.connection import KafkaConnection

PROGRAM = (sys.executable, "-m", "backpack_streams.cli.main")
READY_SECONDS = 60.0
_PORTS = range(10_000, 18_000)
_CHANCE = random.SystemRandom()  # Hypothesis seeds the tests of all workers the same
_CLAIMED_AT_MOST = 500
_claimed: deque[socket.socket] = deque()


def free_port() -> int:
    """Return a free port, from a range that neither outgoing connections nor the Kafkas of tests use.

    The caller listens on it only a moment later, so no other caller may get it in between: as long as we hold the UDP port of the
    same number, no other test run on this machine takes it.
    """
    while True:
        port = _CHANCE.choice(_PORTS)
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind(("127.0.0.1", port))
            with socket.socket() as listener:
                listener.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claimed.append(claim)
        if len(_claimed) > _CLAIMED_AT_MOST:
            _claimed.popleft().close()
        return port


def wait_until(what: str, holds: Callable[[], bool], seconds: float = READY_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.1)


def get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def keep_asking(url: str, over: threading.Event) -> None:
    """Send ten requests per second until `over`, and ignore the answers."""
    while not over.wait(0.1):
        with suppress(OSError):
            get(url)


class Process:
    """A running command; its log is in `log`."""

    def __init__(self, arguments: tuple[str, ...], log: Path, environment: dict[str, str] | None = None) -> None:
        """`environment`: all of it; ours if None."""
        self.arguments = arguments
        self.log = log
        with log.open("ab") as out:
            self.popen = subprocess.Popen(
                [*PROGRAM, *arguments], stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment
            )

    def kill(self) -> None:
        self.popen.send_signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self) -> int:
        if self.popen.poll() is None:
            self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(40)

    def suspend(self) -> None:
        """Stop it like a paused machine or a frozen container."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.popen.send_signal(signal.SIGCONT)

    def log_tail(self) -> str:
        return self.log.read_text()[-3000:]


class Service(Process):
    """A service, and its metrics."""

    def __init__(self, arguments: tuple[str, ...], log: Path, environment: dict[str, str] | None = None) -> None:
        self.port = free_port()
        super().__init__((*arguments, "--metrics-port", str(self.port)), log, environment)

    def is_ready(self) -> bool:
        assert self.popen.poll() is None, f"{self.arguments[0]} ended: {self.log_tail()}"
        try:
            return "ready" in get(f"http://127.0.0.1:{self.port}/readyz")
        except OSError:
            return False

    def why_not_ready(self) -> str:
        """The answer to a probe; empty if the service is ready, or does not listen yet."""
        try:
            get(f"http://127.0.0.1:{self.port}/readyz")
        except urllib.error.HTTPError as answer:
            return " ".join(json.load(answer)["reasons"])
        except OSError:
            pass
        return ""

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        return self.metrics(name)[name]

    def metrics(self, *names: str) -> dict[str, float]:
        """Several metrics at one moment, each the sum over its labels."""
        lines = get(f"http://127.0.0.1:{self.port}/metrics").splitlines()
        sums = {}
        for name in names:
            starts = f"backpack_streams_{name} ", f"backpack_streams_{name}{{"
            sums[name] = sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(starts))
        return sums


class Exchange(Process):
    """A sandbox exchange and its control port."""

    def __init__(self, log: Path, *options: str) -> None:
        ports = [free_port() for _ in range(3)]
        self.ws_url, self.rest_url, self.control_url = (
            f"ws://127.0.0.1:{ports[0]}",
            *(f"http://127.0.0.1:{p}" for p in ports[1:]),
        )
        flags = zip(("--ws-port", "--rest-port", "--control-port"), map(str, ports), strict=True)
        super().__init__(("sandbox", *(part for pair in flags for part in pair), *options), log)
        wait_until("the sandbox is ready", self._answers)

    def _answers(self) -> bool:
        try:
            return "mode" in get(f"{self.control_url}/state")
        except OSError:
            return False

    def ask(self, path: str) -> Any:
        return json.loads(get(self.control_url + path))

    def order(self, fault: str, **options: Any) -> None:
        body = json.dumps({"fault": fault, **options}).encode()
        request = urllib.request.Request(f"{self.control_url}/faults", body, method="POST")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def clear(self) -> None:
        """End all faults."""
        request = urllib.request.Request(f"{self.control_url}/faults", method="DELETE")
        with urllib.request.urlopen(request, timeout=10) as answer:
            assert answer.status == 200

    def play(self) -> None:
        self._post("play")

    def finish(self) -> None:
        """End the flow of frames."""
        self._post("finish")

    def _post(self, path: str) -> None:
        with urllib.request.urlopen(
            urllib.request.Request(f"{self.control_url}/{path}", b"", method="POST"), timeout=10
        ):
            pass

    def wait_finished(self, seconds: float = 90.0) -> None:
        wait_until("the flow is over", lambda: bool(self.ask("/state")["finished"]), seconds)


class Replay(Exchange):
    """A recording in place of the exchange; it has no control port."""

    def __init__(self, log: Path, *arguments: str) -> None:
        ports = free_port(), free_port()
        self.ws_url, self.rest_url = f"ws://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
        flags = ("--ws-port", str(ports[0]), "--rest-port", str(ports[1]))
        Process.__init__(self, ("replay", *flags, *arguments), log)
        wait_until("the replay is ready", self._answers)

    def _answers(self) -> bool:
        assert self.popen.poll() is None, self.log_tail()
        try:
            return get(f"{self.rest_url}/api/v1/ping") == "pong"
        except OSError:
            return False


class Access(NamedTuple):
    """A plant's way to Kafka and to the exchange, if it is not the plain one."""

    kafka: KafkaConnection
    exchange_flags: tuple[str, ...] = ()


class Plant:
    """An exchange, and services between it and Kafka, under a topic prefix of its own."""

    def __init__(
        self, bootstrap_servers: str, folder: Path, prefix: str, stack: ExitStack, access: Access | None = None
    ) -> None:
        """`bootstrap_servers`: Kafka without a login. `access`: the way of services, commands and programs, if it is another one."""
        self.bootstrap_servers = bootstrap_servers
        self.access = access or Access(KafkaConnection(bootstrap_servers))
        self.prefix = prefix
        self._folder = folder
        self._stack = stack
        self._exchange: Exchange | None = None

    @property
    def exchange(self) -> Exchange:
        assert self._exchange is not None
        return self._exchange

    def start_exchange(self, *options: str) -> Exchange:
        self._exchange = Exchange(self._folder / "sandbox.log", *options)
        self._stack.callback(self._exchange.kill)
        return self._exchange

    def start_replay(self, *arguments: str) -> Replay:
        self._exchange = replay = Replay(self._folder / "replay.log", *arguments)
        self._stack.callback(replay.kill)
        return replay

    def start_record(self, file: Path, *options: str) -> Service:
        urls = ("--ws-url", self.exchange.ws_url, "--rest-url", self.exchange.rest_url)
        record = Service(("record", str(file), *urls, "--log-format", "json", *options), self._folder / "record.log")
        self._stack.callback(record.kill)
        return record

    def start(
        self, service: str, *options: str, environment: dict[str, str] | None = None, log: Path | None = None
    ) -> Service:
        arguments = (
            service,
            *self._exchange_flags(service),
            *self.kafka_flags(),
            "--log-format",
            "json",
            *options,
        )
        process = Service(arguments, log or self._folder / f"{service}.log", environment)
        self._stack.callback(process.kill)
        return process

    def _exchange_flags(self, service: str) -> tuple[str, ...]:
        if service == "book-builder":
            return ()  # it only knows Kafka
        ws_url = () if service in ("rest-poller", "gateway") else ("--ws-url", self.exchange.ws_url)
        return (*ws_url, "--rest-url", self.exchange.rest_url, *self.access.exchange_flags)

    def start_ready(self, service: str, *options: str) -> Service:
        process = self.start(service, *options)
        wait_until(f"{service} is ready", process.is_ready)
        return process

    def has_all_subscriptions_of(self, *services: Service) -> bool:
        """Whether the exchange has as many streams as these services want; no two services share a stream."""
        try:
            wanted = [service.metric("streams") for service in services]
        except OSError:  # its port is not open yet
            return False
        return all(wanted) and len(self.exchange.ask("/state")["subscriptions"]) == sum(wanted)

    def kafka_flags(self) -> tuple[str, ...]:
        kafka = self.access.kafka
        flags = ["--bootstrap-servers", kafka.bootstrap_servers, "--topic-prefix", self.prefix]
        if kafka.security_protocol != "PLAINTEXT":
            flags += ["--security-protocol", kafka.security_protocol]
        for name in ("ssl_ca_file", "ssl_cert_file", "ssl_key_file"):
            if (file := getattr(kafka, name)) is not None:
                flags += [f"--{name.replace('_', '-')}", str(file)]
        return tuple(flags)

    def run(self, *arguments: str, seconds: float = 90.0) -> subprocess.CompletedProcess[str]:
        """Run a command of the program to its end."""
        command = [*PROGRAM, *arguments, *self.kafka_flags()]
        return subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, env=dict(os.environ)
        )

    def books(self, *symbols: str, timeout: float = 60.0) -> dict[str, dict[str, Any]]:
        """What `book --once --json` prints, by symbol."""
        done = self.run(
            "book", *(symbols or ("all",)), "--once", "--json", "--timeout", str(timeout), seconds=timeout + 30
        )
        assert done.returncode == 0, done.stderr + done.stdout[-500:]
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return {row["symbol"]: row for row in rows}


@contextmanager
def running_plant(bootstrap_servers: str, folder: Path, prefix: str, access: Access | None = None) -> Iterator[Plant]:
    with ExitStack() as stack:
        yield Plant(bootstrap_servers, folder, prefix, stack, access)


def same_book(ours: dict[str, Any], truth: dict[str, Any]) -> bool:
    """Compare level for level and by update id; both print plain decimals."""
    return all(ours[key] == truth[key] for key in ("last_update_id", "bids", "asks"))
