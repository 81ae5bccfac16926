"""The chart as Helm renders it, and whether Kubernetes would know what comes out."""

import functools
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import kubernetes_validate
import kubernetes_validate.utils
import yaml
from jsonschema import Draft202012Validator

from chart_files import CHART
from kubelab.building import custom_resource_definitions
from kubelab.errors import LabError

Resource = dict[str, Any]
RELEASE = "streams"
NAMESPACE = "trading"
OLDEST = "1.27"
NEWEST = kubernetes_validate.latest_version().rpartition(".")[0]
LEAST = {"kafka": {"bootstrapServers": "kafka-1:9092,kafka-2:9093"}}

# Each check reads the same files of several MB; kept in memory it takes a fiftieth of the time.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


class RefusedError(Exception):
    """Helm refused; the text is what a user would read."""


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Values on top of each other, as Helm's `--values` given several times."""
    result: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            below = result.get(key)
            result[key] = (
                merged(below, value)
                if isinstance(below, Mapping) and isinstance(value, Mapping)
                else merged(value)
                if isinstance(value, Mapping)
                else value
            )
    return result


@dataclass(frozen=True)
class Chart:
    """The chart with the `helm` that renders it."""

    helm: Path

    def run(self, *arguments: str, values: Mapping[str, Any]) -> str:
        """Runs Helm with these values.

        Raises:
            RefusedError: it ended with an error.
        """
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(values, file)
            file.flush()
            done = subprocess.run(
                [self.helm, *arguments, "--values", file.name],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
                env=os.environ | {"GOGC": "off"},  # it ends before its garbage matters
            )
        if done.returncode:
            raise RefusedError(done.stderr + done.stdout)
        return done.stdout

    def render(
        self,
        *parts: Mapping[str, Any],
        kubernetes: str = NEWEST,
        release: str = RELEASE,
        has: Iterable[str] = (),
        folder: Path = CHART,
    ) -> list[Resource]:
        """Every resource of an installation with the least values and `parts` on top.

        Raises:
            RefusedError: the chart does not take the values.
        """
        apis = [word for api in has for word in ("--api-versions", api)]
        text = self._rendered(
            (release, str(folder), "--namespace", NAMESPACE, "--kube-version", kubernetes, *apis),
            json.dumps(merged(LEAST, *parts)),
        )
        return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]

    @functools.lru_cache(2000)  # noqa: B019  # one chart lives as long as the tests, which render the same values again and again
    def _rendered(self, arguments: tuple[str, ...], values: str) -> str:
        return self.run("template", *arguments, values=json.loads(values))

    def refusal(self, *parts: Mapping[str, Any], release: str = RELEASE) -> str:
        """What Helm says to values that it must refuse."""
        try:
            rendered = self.render(*parts, release=release)
        except RefusedError as error:
            return str(error)
        raise AssertionError(f"Helm took the values and rendered {len(rendered)} resources")


def of_kind(resources: Iterable[Resource], kind: str) -> dict[str, Resource]:
    """The resources of a kind by their names."""
    return {each["metadata"]["name"]: each for each in resources if each["kind"] == kind}


def one(resources: Iterable[Resource], kind: str, name_ends: str) -> Resource:
    """The resource of a kind whose name ends so."""
    (found,) = (each for name, each in of_kind(resources, kind).items() if name.endswith(name_ends))
    return found


def identity(resource: Resource) -> str:
    """What makes it another resource than the rest of a release."""
    metadata = resource["metadata"]
    return f"{resource['kind']} {metadata.get('namespace', '')}/{metadata['name']}"


def pod_of(resource: Resource) -> Resource | None:
    """The pod, or the template of one, that a resource holds."""
    if resource["kind"] == "Pod":
        return resource
    template = resource.get("spec", {}).get("template")
    return template if isinstance(template, dict) else None


def pods(resources: Iterable[Resource]) -> list[Resource]:
    """Every pod and template of one."""
    return [pod for each in resources if (pod := pod_of(each)) is not None]


def containers(pod: Resource) -> list[Resource]:
    """All containers of a pod, those that run first included."""
    return [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]


def own_containers(pod: Resource) -> list[Resource]:
    """Those that the chart makes, without those of the values."""
    return [container for container in containers(pod) if "args" in container]


def environment(container: Resource) -> dict[str, Any]:
    """Variables by their names; of one from elsewhere what it refers to."""
    names = [each["name"] for each in container["env"]]
    assert len(names) == len(set(names)), f"set twice: {names}"
    return {each["name"]: each.get("value", each.get("valueFrom")) for each in container["env"]}


# ---- does Kubernetes know it?


def complaints(resources: Iterable[Resource], kubernetes: str) -> list[str]:
    """What Kubernetes, or the operator whose resource it is, does not take, field names included."""
    found = []
    for each in resources:
        complaint = _complaint(json.dumps(each, sort_keys=True), kubernetes)
        if complaint:
            found.append(f"{each['kind']} {each['metadata']['name']}: {complaint}")
    return found


@functools.cache
def _complaint(text: str, kubernetes: str) -> str:
    """Most resources are the same in many combinations of values."""
    resource = json.loads(text)
    group = resource["apiVersion"].rpartition("/")[0]
    is_custom = (resource["apiVersion"], resource["kind"]) in _custom_validators()
    if is_custom or ("." in group and not group.endswith(".k8s.io")):
        errors = [
            f"{'.'.join(map(str, error.path))}: {error.message}" for error in _custom(resource).iter_errors(resource)
        ]
        return "; ".join(errors)
    try:
        kubernetes_validate.validate(resource, kubernetes, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'.'.join(map(str, error.path))}: {error.message}"
    return ""


def _custom(resource: Resource) -> Draft202012Validator:
    key = (resource["apiVersion"], resource["kind"])
    known = _custom_validators()
    if key not in known:
        raise LabError(f"the lab has no definition of {key[1]} {key[0]}, only of {sorted(known)}")
    return known[key]


@functools.cache
def _custom_validators() -> dict[tuple[str, str], Draft202012Validator]:
    """Custom resources by the definitions that their operators install."""
    found = {}
    for path in custom_resource_definitions():
        for definition in yaml.load_all(path.read_text("utf-8"), yaml.CSafeLoader):
            if not definition or definition.get("kind") != "CustomResourceDefinition":
                continue
            spec = definition["spec"]
            for version in spec["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"]["metadata"] = {"type": "object"}
                found[f"{spec['group']}/{version['name']}", spec["names"]["kind"]] = Draft202012Validator(schema)
    return found


def _strict(schema: Any) -> Any:
    """An OpenAPI schema of Kubernetes as a JSON schema that refuses unknown fields, as the API server does with strict validation."""
    if isinstance(schema, list):
        return [_strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    strict = {
        key: {name: _strict(each) for name, each in value.items()} if key == "properties" else _strict(value)
        for key, value in schema.items()
        if key not in ("default", "example", "format")
    }
    if schema.get("x-kubernetes-int-or-string"):
        strict.pop("type", None)
        strict["type"] = ["integer", "string"]
    elif schema.get("nullable") and isinstance(schema.get("type"), str):
        strict["type"] = [schema["type"], "null"]
    is_described = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if is_described and not schema.get("x-kubernetes-preserve-unknown-fields"):
        strict.setdefault("additionalProperties", False)
    return strict
