"""A real Prometheus over given targets and rules, on a free port, asked through its HTTP API."""

import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from plant import free_port, get, wait_until

Targets = Mapping[str, Sequence[int]]
"""Ports on which metrics are served, by job."""


class PrometheusServer:
    """Scrapes and evaluates every other second, so that a fault of seconds is seen.

    `targets` are metrics ports by job; a target's `pod` label is `<job>-<index>`, as a chart's pods have one.
    """

    def __init__(self, program: Path, folder: Path, targets: Targets, rules: str) -> None:
        self.url = f"http://127.0.0.1:{free_port()}"
        self._log = folder / "prometheus.log"
        self._targets = folder / "targets.json"
        self.scrape(targets)
        (folder / "rules.yaml").write_text(rules)
        config = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
            "scrape_configs": [{"job_name": "services", "file_sd_configs": [{"files": [self._targets.name]}]}],
            "rule_files": ["rules.yaml"],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    str(program),
                    f"--config.file={folder / 'prometheus.yaml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                ],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        wait_until("prometheus is ready", self._is_ready)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()[-3000:]
        try:
            return "Ready" in get(f"{self.url}/-/ready")
        except OSError:
            return False

    def scrape(self, targets: Targets) -> None:
        """Scrape these from now on; Prometheus notices within a moment."""
        groups = [
            {"targets": [f"127.0.0.1:{port}"], "labels": {"job": job, "namespace": "test", "pod": f"{job}-{index}"}}
            for job, ports in targets.items()
            for index, port in enumerate(ports)
        ]
        written = self._targets.with_suffix(".new")
        written.write_text(json.dumps(groups))
        written.replace(self._targets)

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(20)

    def ask(self, path: str, **parameters: str) -> Any:
        """The `data` of an answer of the API; a query that Prometheus refuses fails with what it says."""
        try:
            answer = json.loads(get(f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an instant query gives."""
        return list(self.ask("query", query=expression)["result"])

    def ever_fired(self) -> set[tuple[str, str]]:
        """Names and jobs (empty where an alert has none) of all alerts that fired at any time since the start."""
        fired = self.query('last_over_time(ALERTS{alertstate="firing"}[1h])')
        return {(series["metric"]["alertname"], series["metric"].get("job", "")) for series in fired}

    def annotations(self) -> dict[str, dict[str, str]]:
        """By alert, the annotations of one that is pending or fires."""
        return {alert["labels"]["alertname"]: alert["annotations"] for alert in self.ask("alerts")["alerts"]}
