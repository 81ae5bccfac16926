"""The alerts as promtool sees them: well-formed, each fires when it should, and none fires for what is well or passes."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from observability.rule_file import ALERTS, alerts, shortened

TESTS = Path(__file__).with_name("alert_tests.yaml")
NAMES = sorted(rule["alert"] for rule in alerts())
CASES: dict[str, Any] = {case["name"]: case for case in yaml.safe_load(TESTS.read_text("utf-8"))["tests"]}
ONLY_ONCE_IS_ENOUGH = {
    "BackpackAuditMismatch",
    "BackpackDataLost",
    "BackpackDeadLetters",
    "BackpackGatewayRecordsUnreadable",
    "BackpackMarketsDisappeared",
    "BackpackRecordsRefused",
    "BackpackRecordsRejected",
    "BackpackReportsLost",
}
"""Something is lost or wrong for good: there is no short while for which it may be."""


def checked(promtool: Path, *arguments: str) -> None:
    done = subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_prometheus_takes_the_rules(promtool: Path, tmp_path: Path) -> None:
    checked(promtool, "check", "rules", str(ALERTS))
    (tmp_path / "shortened.yaml").write_text(shortened({}))
    checked(promtool, "check", "rules", str(tmp_path / "shortened.yaml"))


def test_each_alert_fires_and_keeps_quiet_when_it_should(promtool: Path) -> None:
    checked(promtool, "test", "rules", str(TESTS))


@pytest.mark.parametrize("name", NAMES)
def test_each_alert_has_a_case_with_what_is_sick_and_what_is_not(name: str) -> None:
    series = " ".join(each["series"] for each in CASES[name]["input_series"])
    assert '"sick"' in series
    assert '"well"' in series
    assert ('"blip"' in series) != (name in ONLY_ONCE_IS_ENOUGH)
    [question] = CASES[name]["promql_expr_test"]
    assert f'alertname="{name}"' in question["expr"]
    assert any('"sick"' in sample["labels"] for sample in question["exp_samples"])


def test_names_are_used_once_and_every_case_is_of_an_alert() -> None:
    assert len(NAMES) == len(set(NAMES))
    assert set(CASES) == set(NAMES)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_says_who_is_woken_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert rule["annotations"].keys() == {"summary", "description", "runbook"}
    assert rule["annotations"]["runbook"] == f"docs/runbook/{rule['alert']}.md"
