"""The health server on real sockets, under asyncio and uvloop, and the lifetime of a service's process."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
import uvloop

from backpack_streams.runtime.health import (
    MAX_CONNECTIONS,
    HealthAnswers,
    HealthProtocol,
    HealthServerError,
    health_server,
)
from backpack_streams.runtime.loop import loop_factory
from plant import free_port
from served_gateway import until

SOURCE_ROOT = Path(__file__).parents[2] / "services"
ANSWERS = HealthAnswers(list, lambda: ["no books yet"], lambda accept: (b"metric 1\n", "text/plain"))


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def runner(request: pytest.FixtureRequest) -> Iterator[asyncio.Runner]:
    with asyncio.Runner(loop_factory=request.param) as made:
        yield made


async def exchange(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()


def test_the_health_server_answers_on_a_socket(runner: asyncio.Runner) -> None:
    async def check() -> None:
        async with (
            health_server("127.0.0.1", 0, ANSWERS) as server,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}") as client,
        ):
            assert (await client.get("/healthz")).status_code == 200
            ready = await client.get("/readyz?verbose")
            assert (ready.status_code, ready.json()["reasons"]) == (503, ["no books yet"])
            assert (await client.get("/metrics")).text == "metric 1\n"
            head = await client.head("/metrics")
            assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", "9")
            assert (await client.post("/metrics")).status_code == 405
            assert (await client.get("/other")).status_code == 404

    runner.run(check())


@pytest.mark.parametrize("host", ["localhost", "*"])
def test_probes_over_ipv4_and_ipv6_are_answered(runner: asyncio.Runner, host: str) -> None:
    async def check() -> None:
        async with health_server(host, 0, ANSWERS) as server, httpx.AsyncClient() as client:
            for address in ("127.0.0.1", "[::1]"):
                assert (await client.get(f"http://{address}:{server.port}/healthz")).status_code == 200

    runner.run(check())


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", b"400"),
        (b"GET /healthz SPDY/3\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * (HealthProtocol.head_bytes + 1), b"431"),
        (b"GET / HTTP/1.1\r\n", b"408"),
    ],
)
def test_bad_requests(
    runner: asyncio.Runner, request_bytes: bytes, status: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(HealthProtocol, "head_seconds", 0.5)

    async def check() -> None:
        async with health_server("127.0.0.1", 0, ANSWERS) as server:
            answer = await exchange(server.port, request_bytes)
            assert answer.split(b" ")[1] == status

    runner.run(check())


def test_a_collector_that_raises_costs_one_answer(runner: asyncio.Runner, caplog: pytest.LogCaptureFixture) -> None:
    def broken(accept: str) -> tuple[bytes, str]:
        raise ZeroDivisionError

    async def check() -> None:
        async with health_server("127.0.0.1", 0, HealthAnswers(list, list, broken)) as server:
            assert b" 500 " in await exchange(server.port, b"GET /metrics HTTP/1.1\r\n\r\n")
            assert b" 200 " in await exchange(server.port, b"GET /healthz HTTP/1.1\r\n\r\n")

    runner.run(check())
    assert "a health request failed" in caplog.text


def test_a_silent_client_does_not_delay_the_shutdown(runner: asyncio.Runner) -> None:
    async def check() -> None:
        async with contextlib.AsyncExitStack() as serving:
            server = await serving.enter_async_context(health_server("127.0.0.1", 0, ANSWERS))
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
            await until("it is there", lambda: len(server.server_state.connections) == 1)
            await asyncio.wait_for(serving.aclose(), 5)
        with contextlib.suppress(ConnectionError):  # an abort shows as a reset or as an end, depending on the platform
            assert await reader.read() == b""
        writer.close()

    runner.run(check())


def test_a_port_in_use_is_one_line(runner: asyncio.Runner) -> None:
    async def check(port: int) -> None:
        with pytest.raises(HealthServerError) as caught:
            async with health_server("127.0.0.1", port, ANSWERS):
                pass
        assert caught.value.exit_code == 1
        assert str(caught.value) == (
            f"port {port} on 127.0.0.1 is in use; choose another with --metrics-port, or 0 for none"
        )

    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        runner.run(check(taken.getsockname()[1]))


def test_a_client_that_does_not_read_is_dropped(runner: asyncio.Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HealthProtocol, "connection_seconds", 0.5)
    metrics = HealthAnswers(list, list, lambda accept: (bytes(64 << 20), "text/plain"))

    async def check() -> None:
        async with health_server("127.0.0.1", 0, metrics) as server:
            _, writer = await asyncio.open_connection("127.0.0.1", server.port, limit=1024)
            writer.write(b"GET /metrics HTTP/1.1\r\n\r\n")
            await until("it is there", lambda: len(server.server_state.connections) == 1)
            await until("it is dropped", lambda: not server.server_state.connections)
            assert b" 200 " in await exchange(server.port, b"GET /healthz HTTP/1.1\r\n\r\n")
            writer.close()

    runner.run(check())


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host", "x" * 300])
def test_a_host_that_cannot_be_bound_is_one_line(runner: asyncio.Runner, host: str) -> None:
    async def check() -> None:
        with pytest.raises(HealthServerError, match="choose one with --metrics-host"):
            async with health_server(host, 0, ANSWERS):
                pass

    runner.run(check())


def test_unusual_requests_do_not_stop_the_server(runner: asyncio.Runner) -> None:
    async def check() -> None:
        async with health_server("127.0.0.1", 0, ANSWERS) as server:
            for head in (
                "OPTIONS * HTTP/1.1",
                "CONNECT x:1 HTTP/1.1",
                "PRI * HTTP/2.0",
                "GET http://x/healthz HTTP/1.0",
            ):
                assert await exchange(server.port, f"{head}\r\n\r\n".encode())
            upgrade = b"GET /healthz HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
            assert (await exchange(server.port, upgrade)).startswith(b"HTTP/1.1 200")

    runner.run(check())


def test_uvloop_is_used_if_it_is_installed() -> None:
    assert loop_factory() is uvloop.new_event_loop


PROBE_SERVICE = """
import asyncio, gc, sys
from backpack_streams.errors import BusError
from backpack_streams.runtime.metrics import CounterTable
from backpack_streams.runtime.service import run_service
from backpack_streams.runtime.settings import LogSettings, MetricsSettings

class Probe:
    async def open(self):
        if BEHAVIOUR == "slow start":
            print("running", flush=True)
            await asyncio.sleep(60)
    def readiness(self): return []
    def failures(self): return []
    def collectors(self): return [CounterTable("probe", "A probe.")]
    async def run(self, stop):
        print("running", flush=True)
        if BEHAVIOUR == "refused": raise BusError("Kafka at x cannot be reached: check bootstrap_servers")
        if BEHAVIOUR == "broken": raise ZeroDivisionError("oops")
        if BEHAVIOUR == "ends": return
        if BEHAVIOUR == "frozen":
            while not gc.get_freeze_count(): await asyncio.sleep(0.01)
            print("frozen", flush=True)
        await stop.wait()
        if BEHAVIOUR == "stuck":
            print("stuck", flush=True)
            await asyncio.sleep(60)
        print("flushed", flush=True)

BEHAVIOUR = sys.argv[1]
metrics = MetricsSettings(metrics_port=int(sys.argv[2]))
sys.exit(run_service("probe", Probe, metrics, LogSettings()))
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin(behaviour: str, port: int = 0) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-c", PROBE_SERVICE, behaviour, str(port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SOURCE_ROOT)},
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def first_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def events(log: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in log.splitlines()]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_flushes_and_exits(start: Start, number: signal.Signals) -> None:
    process = start("good")
    assert first_line(process) == "running"
    process.send_signal(number)
    output, log = process.communicate(timeout=20)
    assert (process.returncode, output) == (0, "flushed\n")
    assert [event["event"] for event in events(log)] == [
        "service starting",
        "signal received, flushing and leaving",
        "service stopped",
    ]


def test_a_ready_service_keeps_its_heap_out_of_garbage_collections(start: Start) -> None:
    process = start("frozen")
    assert [first_line(process), first_line(process)] == ["running", "frozen"]
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_second_signal_exits_at_once(start: Start, number: signal.Signals, code: int) -> None:
    process = start("stuck")
    assert first_line(process) == "running"
    process.send_signal(number)
    assert first_line(process) == "stuck"
    process.send_signal(number)
    process.communicate(timeout=20)
    assert process.returncode == code


def test_a_signal_during_the_start_stops_it(start: Start) -> None:
    process = start("slow start")
    assert first_line(process) == "running"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_a_starting_service_serves_its_metrics(start: Start) -> None:
    port = free_port()
    process = start("slow start", port)
    assert first_line(process) == "running"
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").json()["reasons"] == ["starting"]
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert "backpack_streams_service_ready 0.0" in metrics
    assert "# TYPE backpack_streams_probe_total counter" in metrics


def test_an_error_with_a_reason_is_one_log_line(start: Start) -> None:
    process = start("refused")
    _, log = process.communicate(timeout=20)
    assert process.returncode == 1
    last = events(log)[-1]
    assert last["event"] == "service failed"
    assert last["reason"] == "Kafka at x cannot be reached: check bootstrap_servers"
    assert "exception" not in last


def test_an_unexpected_error_is_logged_with_its_traceback(start: Start) -> None:
    process = start("broken")
    _, log = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "ZeroDivisionError: oops" in events(log)[-1]["exception"]


def test_a_service_that_ends_by_itself_has_failed(start: Start) -> None:
    process = start("ends")
    _, log = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "ended although nothing asked it to" in events(log)[-1]["reason"]


def test_a_metrics_port_in_use_ends_the_service(start: Start) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        process = start("good", port)
        _, log = process.communicate(timeout=20)
    assert process.returncode == 1
    assert events(log)[-1]["reason"].startswith(f"port {port} on localhost is in use")


def test_a_running_service_serves_its_metrics(start: Start) -> None:
    port = free_port()
    process = start("good", port)
    assert first_line(process) == "running"
    assert httpx.get(f"http://127.0.0.1:{port}/readyz").status_code == 200
    metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    assert 'backpack_streams_service_info{python="' in metrics
    assert "backpack_streams_event_loop_lag_seconds_bucket" in metrics
    assert "backpack_streams_probe_total" in metrics
    assert "process_resident_memory_bytes" in metrics


def test_a_probe_is_answered_with_any_number_of_idle_connections(runner: asyncio.Runner) -> None:
    async def check() -> None:
        async with health_server("127.0.0.1", 0, ANSWERS) as server:
            idle = [await asyncio.open_connection("127.0.0.1", server.port) for _ in range(2 * MAX_CONNECTIONS)]
            for _ in range(3):
                assert (await exchange(server.port, b"GET /healthz HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 200")
            assert len(server.server_state.connections) <= MAX_CONNECTIONS
            for _, writer in idle:
                writer.close()

    runner.run(check())
