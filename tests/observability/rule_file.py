"""The rules as they are shipped, and a copy of them with shorter times, so that real faults of seconds make them fire."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILES = ROOT / "helm" / "backpack-streams" / "files"
ALERTS = FILES / "alerts.yaml"
DASHBOARD = FILES / "dashboard.json"
RUNBOOK = ROOT / "docs" / "runbook"

SHORTER_BY = 20
"""Every duration of a rule is divided by this: 5m is 15 s, 15m is 45 s."""
SHORTEST_SECONDS = 6
"""So that a range holds several samples of a Prometheus that scrapes every two seconds."""

_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"\b(\d+)([smhd])\b")
_METRIC = re.compile(r"\b(?:backpack_streams|process|python|up)\w*")


def alerts() -> list[dict[str, Any]]:
    """Every alerting rule."""
    return [rule for group in groups() for rule in group["rules"] if "alert" in rule]


def groups() -> list[dict[str, Any]]:
    """The groups of the rule file."""
    return list(yaml.safe_load(ALERTS.read_text("utf-8"))["groups"])


def shortened(thresholds: Mapping[str, tuple[str, str]]) -> str:
    """The rule file with each duration divided by `SHORTER_BY`.

    `thresholds` says by alert which text of its expression becomes which other: a threshold in seconds is no duration to PromQL.
    """
    document = {"groups": groups()}
    for rule in _rules(document):
        text, replacement = thresholds.get(rule.get("alert", ""), ("", ""))
        assert rule["expr"].count(text) == 1 or not text, f"{rule['alert']}: {text!r} is not once in {rule['expr']}"
        expression = rule["expr"].replace(text, replacement) if text else rule["expr"]
        rule["expr"] = _DURATION.sub(_shorter, expression)
        if "for" in rule:
            rule["for"] = _DURATION.sub(_shorter, rule["for"])
    return str(yaml.safe_dump(document, sort_keys=False))


def _rules(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for group in document["groups"]:
        yield from group["rules"]


def _shorter(match: re.Match[str]) -> str:
    seconds = int(match[1]) * _UNIT_SECONDS[match[2]]
    return f"{max(SHORTEST_SECONDS, round(seconds / SHORTER_BY))}s"


def metrics_named_in(text: str) -> set[str]:
    """The names of our metrics in an expression or a page."""
    return {name for name in _METRIC.findall(text) if name.startswith("backpack_streams_")}
