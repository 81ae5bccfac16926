"""User errors: one line with the problem and the remedy, the right exit code, no traceback."""

import socket
import subprocess
from pathlib import Path

import pytest

from embedded_kafka import BlockingKafka
from plant import PROGRAM, free_port, running_plant, wait_until


def run(
    *arguments: str, environment: dict[str, str] | None = None, seconds: float = 60.0
) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False, env=environment)


def one_line(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    last = done.stderr.strip().splitlines()[-1]
    for word in words:
        assert word in last, done.stderr


def test_unknown_topic(kafka: BlockingKafka) -> None:
    done = run("tail", "backpack.market.nothing", "--bootstrap-servers", kafka.bootstrap_servers)
    one_line(done, 2, "unknown topic", "backpack.market.nothing", "backpack.market.trade")
    assert len(done.stderr.strip().splitlines()) == 1


def test_unknown_symbols(kafka: BlockingKafka, tmp_path: Path) -> None:
    with running_plant(kafka.bootstrap_servers, tmp_path, "unknown.") as plant:
        plant.start_exchange("--symbols", "3")
        poller = plant.start("rest-poller")
        wait_until("the poller is ready", poller.is_ready)
        wait_until("markets are listed", lambda: poller.metric("published_records_total") > 3)
        refused = plant.start("market-producer", "--symbols", "BTC_USDC_PERPP")
        assert refused.popen.wait(60) == 2
        assert "unknown symbol 'BTC_USDC_PERPP'" in refused.log_tail()
        assert "did you mean BTC_USDC_PERP" in refused.log_tail()
        assert "Traceback" not in refused.log_tail()
        wait_until("the depth topic is there", lambda: plant.run("topics", "apply").returncode == 0)
        done = plant.run("book", "BTC_USDC_PERPP", "--once")
        one_line(done, 2, "unknown symbol 'BTC_USDC_PERPP'", "did you mean BTC_USDC_PERP")


@pytest.mark.parametrize(
    "command",
    [
        ("tail", "backpack.market.trade"),
        ("book", "all", "--once"),
        ("topics", "apply"),
    ],
)
def test_kafka_unreachable(command: tuple[str, ...]) -> None:
    port = free_port()
    done = run(*command, "--bootstrap-servers", f"127.0.0.1:{port}")
    one_line(done, 1, f"127.0.0.1:{port}", "unreachable", "bootstrap_servers")


def test_port_in_use() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        one_line(run("sandbox", "--ws-port", port), 2, port, "--ws-port")
        done = run("rest-poller", "--metrics-port", port)
        assert done.returncode in (1, 2)
        one_line(done, done.returncode, port, "--metrics-port")


def test_malformed_settings_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("bootstrap_servers = 'x\n")
    one_line(run("tail", "backpack.market.trade", "--config", str(file)), 2, f"{file}:2:1", "not valid TOML")
    file.write_text("bootstrap_server = '127.0.0.1:1'\n")
    one_line(run("tail", "backpack.market.trade", "--config", str(file)), 2, "bootstrap_server", "bootstrap_servers")


def test_wrong_streams_and_flags() -> None:
    one_line(run("market-producer", "--streams", "depht"), 2, "depht")
    one_line(run("market-producer", "--streams", "markPrice"), 2, "markPrice", "market-producer")
    one_line(run("market-producer", "--bootstrap-server", "x:1"), 2, "--bootstrap-server")
    one_line(run("market-producer", "--shard-index", "2", "--shard-count", "2"), 2, "--shard-index")


def test_an_invalid_registry_url_is_wrong_usage() -> None:
    done = run("tail", "backpack.market.trade", "--schema-registry-url", "nonsense")
    one_line(done, 2, "--schema-registry-url", "nonsense")
