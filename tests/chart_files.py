"""Generated files of the Helm chart: `python tests/chart_files.py` writes them, tests/chart checks that they are current.

From the program: the topics of `files/topics.json`, and the settings that `config` takes (`files/settings.json`). From values.yaml:
`files/defaults.json`; from its comments: the table of the chart's README and the descriptions of values.schema.json.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from backpack_sandbox.settings import SandboxSettings
from backpack_streams.account_producer.settings import AccountProducerSettings
from backpack_streams.book_builder.settings import BookBuilderSettings
from backpack_streams.bus.topics import TOPICS
from backpack_streams.gateway.settings import GatewaySettings
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.perp_producer.settings import PerpProducerSettings
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.runtime.exchange_settings import ExchangeSettings
from backpack_streams.runtime.settings import KafkaSettings
from backpack_streams.runtime.settings_fields import setting_fields
from chart_rules import DEFINITIONS, LIST_OR_TEXT, RULES, TEXT, closed

CHART = Path(__file__).parents[1] / "helm" / "backpack-streams"
TABLE_BEGINS, TABLE_ENDS = "<!-- values: written by make docs -->\n", "<!-- end of values -->\n"

# The settings that the `config` of each part takes.
SETTINGS_OF_CONFIG: Mapping[str, type[BaseModel]] = {
    "marketProducer": MarketProducerSettings,
    "perpProducer": PerpProducerSettings,
    "accountProducer": AccountProducerSettings,
    "restPoller": RestPollerSettings,
    "bookBuilder": BookBuilderSettings,
    "gateway": GatewaySettings,
    "sandbox": SandboxSettings,
}
# Settings with a value of their own, and those that the chart sets.
SET_BY_THE_CHART = frozenset(
    {
        *KafkaSettings.model_fields,
        *("ws_url", "rest_url"),
        *("symbols", "shard_index", "shard_count", "streams", "group_id", "private_key", "private_key_file"),
        *("host", "port", "keys_file"),
        *("metrics_host", "metrics_port", "log_format"),
    }
)
# `logLevel` sets the first, and services share the second.
NOT_FOR_ALL = frozenset({"log_level", "rate_limit_share"})
SET_BY_THE_CHART_IN_THE_SANDBOX = frozenset({"host", "ws_port", "rest_port", "control_port", "recording"})


@dataclass(frozen=True)
class Value:
    """One documented value: its path with dots, its default, its description."""

    path: str
    default: Any
    description: str


def values(text: str) -> Iterator[Value]:
    """Return every documented value of a values file; a map with its own description is one value.

    Raises:
        ValueError: a value has no description.
    """
    lines = text.splitlines()

    def below(node: yaml.MappingNode, default: Mapping[str, Any], before: str) -> Iterator[Value]:
        for key, child in node.value:
            path = f"{before}{key.value}"
            description = _comment_above(lines, key.start_mark.line)
            if description:
                yield Value(path, default[key.value], description)
            elif isinstance(child, yaml.MappingNode) and child.value:
                yield from below(child, default[key.value], f"{path}.")
            else:
                raise ValueError(f"{path} has no description: put '# -- …' above it")

    root = yaml.compose(text)
    assert isinstance(root, yaml.MappingNode)
    return below(root, yaml.safe_load(text), "")


def _comment_above(lines: list[str], line: int) -> str:
    found: list[str] = []
    while line > 0 and (text := lines[line - 1].strip()).startswith("# "):
        found.insert(0, text.removeprefix("# "))
        line -= 1
        if found[0].startswith("-- "):
            return " ".join(found).removeprefix("-- ")
    return ""


# ---- the table of README.md


def table(rows: Iterator[Value]) -> str:
    """Return the values as a Markdown table."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for row in rows:
        default = json.dumps(row.default, ensure_ascii=False)
        lines.append(f"| `{row.path}` | `{default}` | {row.description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def readme(text: str, rows: Iterator[Value]) -> str:
    """Return the README with a new table."""
    before, _, rest = text.partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    return f"{before}{TABLE_BEGINS}\n{table(rows)}\n{TABLE_ENDS}{after}"


# ---- the topics


def topics_file() -> str:
    """Return the topics for Strimzi, one per line."""
    rows = [{"name": topic.name, "partitions": topic.partitions, "config": topic.config()} for topic in TOPICS]
    return "[\n" + ",\n".join(f" {json.dumps(row)}" for row in rows) + "\n]\n"


# ---- which component takes which setting of `config`


def settings_file() -> str:
    """By component, the settings that it takes from the `config` of all services; the doctor connects to the exchange as they do."""
    taken = {_component(part): sorted(config_settings(part)) for part in SETTINGS_OF_CONFIG if part != "sandbox"}
    taken["doctor"] = sorted(ExchangeSettings.model_fields.keys() - SET_BY_THE_CHART)
    return json.dumps(taken, indent=1) + "\n"


def _component(part: str) -> str:
    return re.sub(r"(?=[A-Z])", "-", part).lower()


# ---- the defaults


def defaults_file(text: str) -> str:
    """Every documented value with its default, by path: templates cannot see the default of a value that a user left empty."""
    return json.dumps({row.path: row.default for row in values(text)}, indent=1, ensure_ascii=False) + "\n"


# ---- the schema


def schema(text: str) -> dict[str, Any]:
    """Return values.schema.json for a values file."""
    descriptions = {row.path: row.description for row in values(text)}
    root = _described(yaml.safe_load(text), "", descriptions)
    root["properties"]["global"] = {
        "type": "object",
        "description": "What Helm hands to subcharts; the chart takes nothing from it.",
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of backpack-streams",
        "definitions": DEFINITIONS,
    } | root


def _described(default: Mapping[str, Any], before: str, descriptions: Mapping[str, str]) -> dict[str, Any]:
    properties = {}
    for key, value in default.items():
        path = f"{before}{key}"
        if path in descriptions:
            properties[key] = {"description": descriptions[path]} | _or_empty(_allowed(path, key, value))
        else:
            properties[key] = _or_empty(_described(value, f"{path}.", descriptions))
    return closed(**properties)


def _or_empty(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The rule, or nothing: an empty value means its default."""
    wider = dict(rule)
    if "type" in rule:
        types = [rule["type"]] if isinstance(rule["type"], str) else rule["type"]
        wider["type"] = [*types, "null"]
    if "const" in rule:
        wider["enum"] = [wider.pop("const"), None]
    if "enum" in rule:
        wider["enum"] = [*rule["enum"], None]
    if "anyOf" in rule:
        wider["anyOf"] = [*rule["anyOf"], {"type": "null"}]
    return wider


def _allowed(path: str, key: str, default: Any) -> dict[str, Any]:
    if key == "config":
        return config_schema(path.rpartition(".")[0] or "common")
    if path in RULES or key in RULES:
        return RULES.get(path) or RULES[key]
    if isinstance(default, bool):
        return {"type": "boolean"}
    if isinstance(default, str):
        return TEXT
    raise ValueError(f"{path}: say in RULES what is allowed")


def config_settings(part: str) -> dict[str, dict[str, Any]]:
    """The settings that `config` takes, by key: of one part, or (`common`) those that several services share."""
    if part == "common":
        services = [config_settings(each) for each in SETTINGS_OF_CONFIG if each != "sandbox"]
        names = [name for service in services for name in service]
        rules: dict[str, dict[str, Any]] = {}
        for service in services:
            for name, rule in service.items():
                if names.count(name) > 1 and name not in NOT_FOR_ALL:
                    rules.setdefault(name, rule)
        return rules
    model = SETTINGS_OF_CONFIG[part]
    excluded = SET_BY_THE_CHART_IN_THE_SANDBOX if part == "sandbox" else SET_BY_THE_CHART
    described = model.model_json_schema()["properties"]
    return {
        field.name: _plain(described[field.attribute])
        for field in setting_fields(model)
        if field.attribute not in excluded
    }


def config_schema(part: str) -> dict[str, Any]:
    """The schema of a part's `config`."""
    return closed(**{name: _or_empty(rule) for name, rule in sorted(config_settings(part).items())})


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """Convert pydantic's schema of a setting to one for a values file: lists may be text with commas."""
    kept = (
        "description",
        "type",
        "enum",
        "const",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
    )
    plain = {key: described[key] for key in kept if key in described}
    arms = [_plain(arm) for arm in described.get("anyOf", ()) if arm.get("type") != "null"]
    if len(arms) == 1:
        return arms[0] | plain
    if arms:
        return plain | {"anyOf": arms}
    if described.get("type") == "array":
        return plain | LIST_OR_TEXT
    return plain


# ---- writing


def generated() -> dict[Path, str]:
    """The text of every generated file."""
    text = (CHART / "values.yaml").read_text("utf-8")
    page = CHART / "README.md"
    return {
        CHART / "files" / "topics.json": topics_file(),
        CHART / "files" / "defaults.json": defaults_file(text),
        CHART / "files" / "settings.json": settings_file(),
        CHART / "values.schema.json": json.dumps(schema(text), indent=1, ensure_ascii=False) + "\n",
        page: readme(page.read_text("utf-8"), values(text)),
    }


def main() -> None:
    """Write them."""
    for path, text in generated().items():
        path.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
