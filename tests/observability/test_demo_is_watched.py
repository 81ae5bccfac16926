"""The whole demo, watched by a real Prometheus: every metric is well-formed, every query has data, and no alert fires."""

import json
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from functools import partial
from math import isnan
from pathlib import Path
from typing import Any

import pytest

from e2e.demo_process import DemoProcess, descendants
from observability.debian_prometheus import Programs
from observability.prometheus_server import PrometheusServer
from observability.rule_file import DASHBOARD, shortened
from plant import free_port, get, keep_asking, wait_until

SERVICES = ("market-producer", "perp-producer", "account-producer", "rest-poller", "book-builder", "gateway")
WATCHED_SECONDS = 60.0
"""As long as the shortened rules need: most of them 15 to 45 s."""
QUIET_ON_PURPOSE = {("BackpackStreamsSilent", "market-producer")}
"""One market of the sandbox never sends a ticker, as some of the exchange's do not."""
DATA_WITHIN_SECONDS = 60.0
PANELS = [panel for panel in json.loads(DASHBOARD.read_text("utf-8"))["panels"] if panel["type"] != "row"]


class WatchedDemo:
    """The demo, the ports of its services' metrics, and the Prometheus that scrapes them."""

    def __init__(self, ports: dict[str, int], prometheus: PrometheusServer) -> None:
        self.ports = ports
        self.prometheus = prometheus
        self.since = time.monotonic()


def metrics_ports(demo: DemoProcess) -> dict[str, int]:
    """By service, as the demo's own command lines have it."""
    found = {}
    for command in descendants(demo.process.pid).values():
        for service in SERVICES:
            port = re.search(rf"cli\.main {service} .*--metrics-port (\d+)", command)
            if port is not None:
                found[service] = int(port[1])
    return found


@pytest.fixture(scope="module")
def watched(prometheus_programs: Programs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WatchedDemo]:
    folder = tmp_path_factory.mktemp("watched")
    registry = ("--registry", "--registry-port", str(free_port()))
    with DemoProcess(folder, "--rate", "100", *registry) as demo:
        demo.wait_for(r"books LIVE after", 150)
        wait_until("every service runs", lambda: set(metrics_ports(demo)) == set(SERVICES))
        ports = metrics_ports(demo)
        targets = {service: [port] for service, port in ports.items()}
        prometheus = PrometheusServer(prometheus_programs.prometheus, folder, targets, shortened({}))
        over = threading.Event()
        asking = threading.Thread(target=keep_asking, args=(f"http://127.0.0.1:{demo.gateway_port}/v1/ticker", over))
        asking.start()
        try:
            yield WatchedDemo(ports, prometheus)
        finally:
            over.set()
            asking.join()
            prometheus.stop()
            demo.interrupt()
            demo.end(60)


@pytest.mark.parametrize("service", SERVICES)
def test_promtool_finds_nothing_wrong_with_the_metrics(watched: WatchedDemo, promtool: Path, service: str) -> None:
    text = get(f"http://127.0.0.1:{watched.ports[service]}/metrics")
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    assert text.count("\n# TYPE backpack_streams_") > 20


def with_variables(expression: str) -> str:
    """The expression as Grafana sends it with all services and instances chosen."""
    replaced = expression.replace("$job", "|".join(SERVICES)).replace("$instance", ".*")
    return replaced.replace("$__rate_interval", "15s")


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel["title"])
def test_every_query_of_the_dashboard_has_data(watched: WatchedDemo, panel: dict[str, Any]) -> None:
    for target in panel["targets"]:
        expression = with_variables(target["expr"])
        assert "$" not in expression
        wait_until(expression, partial(has_data, watched.prometheus, expression), DATA_WITHIN_SECONDS)


def has_data(prometheus: PrometheusServer, expression: str) -> bool:
    """Whether there is a number: a quotient of nothing by nothing is none."""
    values = [float(series["value"][1]) for series in prometheus.query(expression)]
    return not all(isnan(value) for value in values)


def test_the_variables_offer_every_service(watched: WatchedDemo) -> None:
    variables = json.loads(DASHBOARD.read_text("utf-8"))["templating"]["list"]
    metrics = set(re.findall(r"label_values\((\w+)", json.dumps(variables)))
    assert metrics == {"backpack_streams_service_info"}
    jobs = watched.prometheus.query("count by (job) (backpack_streams_service_info)")
    assert {series["metric"]["job"] for series in jobs} == set(SERVICES)


def test_no_alert_fires_while_all_is_well(watched: WatchedDemo) -> None:
    assert watched.prometheus.ask("rules")["groups"]
    wait_until(
        "it was watched for long enough",
        lambda: time.monotonic() - watched.since > WATCHED_SECONDS,
        WATCHED_SECONDS + 5,
    )
    assert watched.prometheus.ever_fired() - QUIET_ON_PURPOSE == set()
