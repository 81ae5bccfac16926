"""What in the Helm chart follows from other files: `python tests/chart_files.py` writes it, tests/chart holds it current.

From the program: the topics of `files/topics.json`, and which settings `config` takes (`files/settings.json`). From values.yaml:
`files/defaults.json`, and from its comments the table of the chart's README and the descriptions of values.schema.json.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from backpack_streams.account_producer.settings import AccountProducerSettings
from backpack_streams.book_builder.settings import BookBuilderSettings
from backpack_streams.bus.topics import TOPICS
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.perp_producer.settings import PerpProducerSettings
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.runtime.exchange_settings import ExchangeSettings
from backpack_streams.runtime.settings import KafkaSettings
from backpack_streams.runtime.settings_fields import setting_fields
from backpack_streams.sandbox.settings import SandboxSettings

CHART = Path(__file__).parents[1] / "helm" / "backpack-streams"
TABLE_BEGINS, TABLE_ENDS = "<!-- values: written by make docs -->\n", "<!-- end of values -->\n"

# Which settings each part's `config` is for.
SETTINGS_OF_CONFIG: Mapping[str, type[BaseModel]] = {
    "marketProducer": MarketProducerSettings,
    "perpProducer": PerpProducerSettings,
    "accountProducer": AccountProducerSettings,
    "restPoller": RestPollerSettings,
    "bookBuilder": BookBuilderSettings,
    "sandbox": SandboxSettings,
}
# What has a value of its own, or is the chart's business.
SET_BY_THE_CHART = frozenset(
    {
        *KafkaSettings.model_fields,
        *("ws_url", "rest_url"),
        *("symbols", "shard_index", "shard_count", "streams", "group_id", "private_key", "private_key_file"),
        *("metrics_host", "metrics_port", "log_format"),
    }
)
SET_BY_THE_CHART_IN_THE_SANDBOX = frozenset({"host", "ws_port", "rest_port", "control_port", "recording"})


@dataclass(frozen=True)
class Value:
    """One documented value: its path with dots, its default, its description."""

    path: str
    default: Any
    description: str


def values(text: str) -> Iterator[Value]:
    """Every documented value of a values file; a map that is documented itself is one value.

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
    """The values as a Markdown table."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for row in rows:
        default = json.dumps(row.default, ensure_ascii=False)
        lines.append(f"| `{row.path}` | `{default}` | {row.description.replace('|', chr(92) + '|')} |")
    return "\n".join(lines) + "\n"


def readme(text: str, rows: Iterator[Value]) -> str:
    """The README with its table made anew."""
    before, _, rest = text.partition(TABLE_BEGINS)
    _, _, after = rest.partition(TABLE_ENDS)
    return f"{before}{TABLE_BEGINS}\n{table(rows)}\n{TABLE_ENDS}{after}"


# ---- the topics


def topics_file() -> str:
    """The topics for Strimzi, one a line."""
    rows = [{"name": topic.name, "partitions": topic.partitions, "config": topic.config()} for topic in TOPICS]
    return "[\n" + ",\n".join(f" {json.dumps(row)}" for row in rows) + "\n]\n"


# ---- who takes which setting of `config`


def settings_file() -> str:
    """By component, the settings that it takes from the `config` of all services; the doctor goes to the exchange as they do."""
    taken = {_component(part): sorted(config_settings(part)) for part in SETTINGS_OF_CONFIG if part != "sandbox"}
    taken["doctor"] = sorted(ExchangeSettings.model_fields.keys() - SET_BY_THE_CHART)
    return json.dumps(taken, indent=1) + "\n"


def _component(part: str) -> str:
    return re.sub(r"(?=[A-Z])", "-", part).lower()


# ---- the defaults


def defaults_file(text: str) -> str:
    """Every documented value with its default, by its path: templates cannot see the default of what a user left empty."""
    return json.dumps({row.path: row.default for row in values(text)}, indent=1, ensure_ascii=False) + "\n"


# ---- the schema

_TEXT = {"type": "string"}
_NAME = {"type": "string", "maxLength": 253, "pattern": "^([a-z0-9]([a-z0-9.-]*[a-z0-9])?)?$"}
_KEY = {"type": "string", "pattern": "^[-._a-zA-Z0-9]*$"}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_SECONDS = {"type": "integer", "minimum": 0, "maximum": 3600}
_DURATION = {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"}
_BROKER = r"[^\s,]+:[0-9]{1,5}"
_LIST_OR_TEXT = {"type": ["string", "array"], "items": {"type": "string", "pattern": "^[^\\s,]+$"}}
_PEERS = {"type": "array", "items": {"$ref": "#/definitions/peer"}}
_NAMED = {"type": "array", "items": {"$ref": "#/definitions/named"}}
_WORDS = {"type": "object", "additionalProperties": {"type": ["string", "null"]}}
_USER_OR_CLUSTER = {"type": ["integer", "string"], "minimum": 1, "maxLength": 0}
_QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}


def _closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    described: dict[str, Any] = {"type": "object", "additionalProperties": False, "properties": properties}
    return described | ({"required": list(required)} if required else {})


def _choice(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words)}


def _at_least(least: int, most: int | None = None) -> dict[str, Any]:
    return {"type": "integer", "minimum": least} | ({"maximum": most} if most is not None else {})


_REFERENCE = _closed(("name", "key"), name=_TEXT, key=_TEXT, optional={"type": "boolean"})
DEFINITIONS: dict[str, Any] = {
    "selector": _closed(
        matchLabels=_WORDS,
        matchExpressions={
            "type": "array",
            "items": _closed(
                ("key", "operator"),
                key=_TEXT,
                operator=_choice("In", "NotIn", "Exists", "DoesNotExist"),
                values={"type": "array", "items": _TEXT},
            ),
        },
    ),
    "peer": _closed(
        podSelector={"$ref": "#/definitions/selector"},
        namespaceSelector={"$ref": "#/definitions/selector"},
        ipBlock=_closed(("cidr",), cidr=_TEXT, **{"except": {"type": "array", "items": _TEXT}}),
    ),
    "toleration": _closed(
        key=_TEXT,
        operator=_choice("Exists", "Equal", "Lt", "Gt"),
        value=_TEXT,
        effect=_choice("NoSchedule", "PreferNoSchedule", "NoExecute"),
        tolerationSeconds={"type": "integer"},
    ),
    "variable": _closed(
        ("name",),
        name={"type": "string", "pattern": "^[-._a-zA-Z][-._a-zA-Z0-9]*$"},
        value=_TEXT,
        valueFrom=_closed(
            secretKeyRef=_REFERENCE,
            configMapKeyRef=_REFERENCE,
            fieldRef=_closed(("fieldPath",), fieldPath=_TEXT, apiVersion=_TEXT),
            resourceFieldRef=_closed(
                ("resource",), resource=_TEXT, containerName=_TEXT, divisor={"type": ["string", "number"]}
            ),
        ),
    ),
    # Volumes and containers: their insides are Kubernetes' own, which the API server checks.
    "named": {"type": "object", "required": ["name"], "properties": {"name": _TEXT | {"minLength": 1}}},
    "mount": _closed(
        ("name", "mountPath"),
        name=_TEXT,
        mountPath=_TEXT,
        subPath=_TEXT,
        subPathExpr=_TEXT,
        readOnly={"type": "boolean"},
        recursiveReadOnly=_TEXT,
        mountPropagation=_TEXT,
    ),
    "alias": _closed(("ip",), ip=_TEXT | {"minLength": 1}, hostnames={"type": "array", "items": _TEXT}),
    "relabeling": _closed(
        sourceLabels={"type": "array", "items": _TEXT},
        separator=_TEXT,
        targetLabel=_TEXT,
        regex=_TEXT,
        modulus={"type": "integer"},
        replacement=_TEXT,
        action=_TEXT,
    ),
}

# What is allowed, by the last word of a path or by the whole path (which wins).
RULES: dict[str, dict[str, Any]] = {
    "resources": _closed(
        requests=_QUANTITIES,
        limits=_QUANTITIES,
        claims={"type": "array", "items": _closed(("name",), name=_TEXT, request=_TEXT)},
    ),
    **dict.fromkeys(("podAnnotations", "podLabels", "nodeSelector", "annotations", "labels", "commonLabels"), _WORDS),
    "tolerations": {"type": "array", "items": {"$ref": "#/definitions/toleration"}},
    # Their insides are Kubernetes' own, which the API server checks.
    "affinity": _closed(
        nodeAffinity={"type": "object"}, podAffinity={"type": "object"}, podAntiAffinity={"type": "object"}
    ),
    "extraEnv": {"type": "array", "items": {"$ref": "#/definitions/variable"}},
    "extraVolumes": _NAMED,
    "initContainers": _NAMED,
    "extraContainers": _NAMED,
    "extraVolumeMounts": {"type": "array", "items": {"$ref": "#/definitions/mount"}},
    "hostAliases": {"type": "array", "items": {"$ref": "#/definitions/alias"}},
    "services.ipFamilyPolicy": _choice("", "SingleStack", "PreferDualStack", "RequireDualStack"),
    "services.ipFamilies": {"type": "array", "maxItems": 2, "uniqueItems": True, "items": _choice("IPv4", "IPv6")},
    "existingSecret": _NAME,
    "namespace": _NAME,
    "priorityClassName": _NAME,
    "shards": _at_least(1, 64),
    "replicasPerShard": _at_least(1, 4),
    "replicas": _at_least(1, 64),
    "minReplicas": _at_least(1, 64),
    "maxReplicas": _at_least(1, 64),
    "handoverSeconds": _SECONDS,
    "stopSeconds": _at_least(1, 3600),
    "streams": _LIST_OR_TEXT,
    "symbols": _LIST_OR_TEXT | {"minLength": 1, "minItems": 1},
    "secretKey": _KEY | {"minLength": 1},
    "to": _PEERS,
    "metricsFrom": _PEERS,
    "ports": {"type": "array", "items": _PORT},
    "interval": _DURATION,
    "scrapeTimeout": _DURATION,
    **{
        f"kafka.secretKeys.{name}": _KEY
        for name in ("username", "password", "oauthToken", "ca", "cert", "key", "keyPassword")
    },
    **{
        f"schemaRegistry.secretKeys.{name}": _KEY
        for name in ("username", "password", "ca", "cert", "key", "keyPassword")
    },
    "nameOverride": {"type": "string", "pattern": "^([a-z0-9]([a-z0-9-]*[a-z0-9])?)?$", "maxLength": 63},
    "fullnameOverride": {"type": "string", "pattern": "^([a-z]([a-z0-9-]*[a-z0-9])?)?$"},
    "image.repository": {"type": "string", "minLength": 1, "pattern": "^[^\\s@]+$"},
    "image.tag": {"type": "string", "pattern": "^[A-Za-z0-9_.-]{0,128}$"},
    "image.digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]{64})?$"},
    "image.pullPolicy": _choice("Always", "IfNotPresent", "Never"),
    "imagePullSecrets": {"type": "array", "items": _closed(("name",), name=_NAME)},
    "kafka.bootstrapServers": {
        "type": ["string", "array"],
        "pattern": f"^({_BROKER}(, *{_BROKER})*)?$",
        "items": {"type": "string", "pattern": f"^{_BROKER}$"},
    },
    "kafka.securityProtocol": _choice("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"),
    "kafka.saslMechanism": _choice("", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"),
    "kafka.caSecret.name": _NAME,
    "kafka.caSecret.key": _KEY | {"minLength": 1},
    "schemaRegistry.url": {"type": "string", "pattern": "^(https?://[^\\s@]+)?$"},
    "exchange.wsUrl": {"type": "string", "pattern": "^(wss?://[^\\s]+)?$"},
    "exchange.restUrl": {"type": "string", "pattern": "^(https?://[^\\s]+)?$"},
    "accountProducer.symbols": _LIST_OR_TEXT,
    "topicPrefix": {"type": "string", "pattern": "^[A-Za-z0-9._-]{0,128}$"},
    "logLevel": _choice("debug", "info", "warning", "error"),
    "logFormat": _choice("json", "text"),
    "topics.mode": _choice("job", "strimzi", "none"),
    "topics.strimzi.cluster": _NAME,
    "topics.strimzi.replicas": _at_least(0, 32767),
    "topics.strimzi.apiVersion": _choice("", "kafka.strimzi.io/v1", "kafka.strimzi.io/v1beta2"),
    "hookJob.activeDeadlineSeconds": _at_least(1),
    "hookJob.backoffLimit": _at_least(0, 100),
    "hookJob.ttlSecondsAfterFinished": _at_least(0),
    "bookBuilder.hpa.targetCPUUtilizationPercentage": _at_least(1, 1000),
    "bookBuilder.keda.lagThreshold": _at_least(1),
    "bookBuilder.keda.pollingInterval": _at_least(1, 3600),
    "bookBuilder.keda.stabilizationSeconds": _SECONDS,
    "serviceAccount.name": _NAME,
    "podSecurity.runAsUser": _USER_OR_CLUSTER,
    "podSecurity.runAsGroup": _USER_OR_CLUSTER,
    "podSecurity.fsGroup": _USER_OR_CLUSTER,
    "topologySpread.topologyKeys": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
    "topologySpread.whenUnsatisfiable": _choice("ScheduleAnyway", "DoNotSchedule"),
    "podDisruptionBudget.maxUnavailable": _at_least(1, 64),
    "serviceMonitor.metricRelabelings": {"type": "array", "items": {"$ref": "#/definitions/relabeling"}},
    "prometheusRule.runbookBaseUrl": {"type": "string", "pattern": "^(https?://[^\\s]+)?$"},
    "prometheusRule.disabledAlerts": {"type": "array", "items": {"type": "string", "pattern": "^[A-Za-z0-9_]+$"}},
}


def schema(text: str) -> dict[str, Any]:
    """values.schema.json for a values file."""
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
    return _closed(**properties)


def _or_empty(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The rule, or nothing at all: a value that is left empty means its default."""
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
        return _TEXT
    raise ValueError(f"{path}: say in RULES what is allowed")


def config_settings(part: str) -> dict[str, dict[str, Any]]:
    """The settings that `config` takes, by their keys: of one part, or (`common`) those that several services have."""
    if part == "common":
        services = [config_settings(each) for each in SETTINGS_OF_CONFIG if each != "sandbox"]
        names = [name for service in services for name in service]
        return {
            name: rule
            for service in services
            for name, rule in service.items()
            if names.count(name) > 1
            if name != "log_level"
        }
    model = SETTINGS_OF_CONFIG[part]
    excluded = SET_BY_THE_CHART_IN_THE_SANDBOX if part == "sandbox" else SET_BY_THE_CHART
    described = model.model_json_schema()["properties"]
    return {
        field.name: _plain(described[field.attribute])
        for field in setting_fields(model)
        if field.attribute not in excluded
    }


def config_schema(part: str) -> dict[str, Any]:
    """What a part's `config` may hold."""
    return _closed(**{name: _or_empty(rule) for name, rule in sorted(config_settings(part).items())})


def _plain(described: dict[str, Any]) -> dict[str, Any]:
    """One setting as pydantic describes it, as what a values file may say: lists may be text with commas."""
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
        return plain | _LIST_OR_TEXT
    return plain


# ---- writing


def generated() -> dict[Path, str]:
    """The text of every file that is made from others."""
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
