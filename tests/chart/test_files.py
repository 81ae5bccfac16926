"""What the chart says of itself is so: versions, values, descriptions, and all that follows from other files."""

import json
import tomllib

import pytest
import yaml
from jsonschema import Draft7Validator

from chart_files import CHART, SETTINGS_OF_CONFIG, Value, config_settings, generated, table, values

TEXT = (CHART / "values.yaml").read_text("utf-8")
# Names that others script against.
FIXED = (
    "image.repository",
    "image.tag",
    "kafka.bootstrapServers",
    "kafka.existingSecret",
    "schemaRegistry.url",
    "symbols",
    "marketProducer.shards",
    "marketProducer.replicasPerShard",
    "perpProducer.shards",
    "perpProducer.replicasPerShard",
    "restPoller.enabled",
    "bookBuilder.replicas",
    "gateway.enabled",
    "sandbox.enabled",
)


@pytest.mark.parametrize("path", generated(), ids=lambda path: path.name)
def test_what_is_made_from_other_files_is_current(path: object) -> None:
    current = {str(each): text for each, text in generated().items()}
    with open(str(path), encoding="utf-8") as file:
        assert file.read() == current[str(path)], "make docs writes it anew"


def test_the_chart_is_of_the_projects_version() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text("utf-8"))
    project = tomllib.loads((CHART.parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert chart["appVersion"] == chart["version"] == project["version"]
    assert chart["kubeVersion"] == ">=1.27.0-0"


def test_names_that_others_script_against_are_there() -> None:
    assert {row.path for row in values(TEXT)} >= set(FIXED)


def test_the_defaults_fit_the_schema() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    Draft7Validator.check_schema(schema)
    assert list(Draft7Validator(schema).iter_errors(yaml.safe_load(TEXT))) == []


def objects(schema: object, path: str = "") -> dict[str, dict[str, object]]:
    """Every schema of an object, by its path."""
    found = {}
    if isinstance(schema, dict):
        if schema.get("type") in ("object", ["object", "null"]):
            found[path] = schema
        for key, value in schema.items():
            found |= objects(value, f"{path}/{key}")
    return found


def test_no_object_takes_what_nobody_knows() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    open_ones = {path for path, each in objects(schema).items() if each.get("additionalProperties", True) is True}
    # Kubernetes' own affinities, volumes and containers, which are checked by the API server; and what Helm hands to every chart.
    affinities = {
        path for path in open_ones if path.rpartition("/")[2] in ("nodeAffinity", "podAffinity", "podAntiAffinity")
    }
    assert open_ones - affinities == {"/properties/global", "/definitions/named"}
    assert affinities


@pytest.mark.parametrize("part", SETTINGS_OF_CONFIG)
def test_config_takes_the_settings_of_its_service(part: str) -> None:
    settings = config_settings(part)
    assert len(settings) >= 5
    assert not {"bootstrap_servers", "sasl_password", "metrics_port", "shard_index"} & settings.keys()
    assert part in ("sandbox", "bookBuilder") or {"exchange_proxy", "exchange_ca_file"} <= settings.keys()
    assert all("type" in rule or "enum" in rule or "anyOf" in rule for rule in settings.values()), settings


def test_a_value_without_a_description_is_noticed() -> None:
    assert list(values("# -- what\n# it is\na:\n  b: 1\n")) == [Value("a", {"b": 1}, "what it is")]
    with pytest.raises(ValueError, match=r"a\.b has no description"):
        list(values("a:\n  b: 1\n"))
    assert table(iter([Value("a", "x|y", "one | two")])).splitlines()[2] == '| `a` | `"x|y"` | one \\| two |'
