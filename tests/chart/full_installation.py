"""Values that turn every part of the chart on, the TCP ports that a network policy opens, and the notes of an installation."""

import shutil
from pathlib import Path
from typing import Any

from chart.rendering import Chart, merged, one
from chart.test_combinations import SWITCHES
from chart_files import CHART

ALL: dict[str, Any] = merged(
    SWITCHES["account"]["on"],
    SWITCHES["gateway"]["public"],
    SWITCHES["sandbox"]["on"],
    SWITCHES["monitor"]["on"],
    SWITCHES["rules"]["on"],
    SWITCHES["dashboard"]["on"],
    SWITCHES["kafka"]["scram"],
    SWITCHES["registry"]["open"],
    {"marketProducer": {"shards": 2}},
)


def reach(policy: dict[str, Any]) -> set[int]:
    return {
        port["port"]
        for rule in policy["spec"].get("egress", ())
        for port in rule["ports"]
        if port["protocol"] == "TCP" and port["port"] != 53
    }


def notes(chart: Chart, folder: Path, *parts: dict[str, Any]) -> str:
    """What an installation says at its end. `helm template` leaves it out, so a copy of the chart has it in a ConfigMap."""
    copy = folder / "chart"
    shutil.copytree(CHART, copy)
    text = (copy / "templates" / "NOTES.txt").read_text("utf-8")
    resource = 'kind: ConfigMap\nmetadata: {name: notes}\ndata: {text: {{ include "notes" . | quote }}}\n'
    (copy / "templates" / "notes.yaml").write_text('{{- define "notes" }}' + text + "{{ end }}\n" + resource)
    return str(one(chart.render(*parts, folder=copy), "ConfigMap", "notes")["data"]["text"])
