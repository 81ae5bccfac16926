"""A namespace of the control plane, and helm in it as its users run it."""

import json
import os
import subprocess
from collections import Counter
from collections.abc import Iterable, Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from kubelab.api import Api, Resource
from kubelab.building import tool_path
from kubelab.control_plane import ControlPlane
from plant import wait_until

CHART = Path(__file__).parents[2] / "helm" / "backpack-streams"
BOOTSTRAP = ("--set", "kafka.bootstrapServers=kafka.example:9092")
HELM_SECONDS = 90
# What Kubernetes writes into a namespace by itself, without end.
OF_THE_SYSTEM = {"Event", "Lease"}
INSTANCE, COMPONENT, SHARD = "app.kubernetes.io/instance", "app.kubernetes.io/component", "backpack-streams/shard"


class Cluster:
    """One namespace that enforces `restricted`."""

    def __init__(self, plane: ControlPlane, namespace: str, folder: Path) -> None:
        self.namespace = namespace
        self.api: Api = plane.api
        self._kubeconfig = plane.kubeconfig
        self._folder = folder
        self._born_with: set[tuple[str, str]] = set()

    def create(self) -> None:
        labels = {
            "pod-security.kubernetes.io/enforce": "restricted",
            "pod-security.kubernetes.io/enforce-version": "latest",
            "pod-security.kubernetes.io/warn": "restricted",
        }
        self.api.post("/api/v1/namespaces", {"metadata": {"name": self.namespace, "labels": labels}})
        own = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
        wait_until("the namespace has what it is born with", lambda: own <= self.resources())
        self._born_with = self.resources()

    def resources(self) -> set[tuple[str, str]]:
        """Kind and name of all that is in the namespace, whatever its kind."""
        found = set()
        for kind in self.api.namespaced_kinds():
            if kind.name not in OF_THE_SYSTEM:
                found |= {(kind.name, item["metadata"]["name"]) for item in self.api.items(kind.path(self.namespace))}
        return found

    def left_behind(self) -> set[tuple[str, str]]:
        return self.resources() - self._born_with

    def require_nothing_left(self, besides: Set[tuple[str, str]] = frozenset()) -> None:
        """What is deleted goes a moment later; a failure names what stayed."""
        with suppress(AssertionError):
            wait_until("all is gone", lambda: self.left_behind() == besides, seconds=30)
        assert self.left_behind() == besides

    def helm(self, *arguments: str, code: int = 0, seconds: int = HELM_SECONDS) -> str:
        """What helm says, errors and warnings too; it must end with this exit code."""
        done = self._run("helm", *arguments, seconds=seconds)
        assert done.returncode == code, f"helm {' '.join(arguments)}: {done.returncode}\n{done.stdout}{done.stderr}"
        # A violation of Pod Security is a warning here and a pod that never comes later.
        assert "would violate PodSecurity" not in done.stderr, done.stderr
        return done.stdout + done.stderr

    def install(self, release: str, *options: str, code: int = 0) -> str:
        return self.helm("install", release, str(CHART), *BOOTSTRAP, *WAITING, *options, code=code)

    def upgrade(self, release: str, *options: str, code: int = 0) -> str:
        return self.helm("upgrade", release, str(CHART), *BOOTSTRAP, *WAITING, *options, code=code)

    def releases(self) -> dict[str, Resource]:
        """Every release of the namespace by name, the failed ones too."""
        return {row["name"]: row for row in json.loads(self.helm("list", "--all", "--output", "json"))}

    def render(self, release: str, *options: str) -> str:
        done = self._run("helm", "template", release, str(CHART), *BOOTSTRAP, *options, seconds=HELM_SECONDS)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        done = self._run("kubectl", *arguments, text=text, seconds=HELM_SECONDS)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def find(self, kind: str, **labels: str) -> list[Resource]:
        """Resources of a kind, by its plural name in `PATHS`, with these labels (`component`, `instance`)."""
        names = {"component": COMPONENT, "instance": INSTANCE, "shard": SHARD}
        items = self.api.items(self.path(kind))
        wanted = {names[name]: value for name, value in labels.items()}
        return [item for item in items if wanted.items() <= item["metadata"].get("labels", {}).items()]

    def path(self, kind: str) -> str:
        return f"{PATHS[kind]}/namespaces/{self.namespace}/{kind}"

    def pods(self, **labels: str) -> list[Resource]:
        return [pod for pod in self.find("pods", **labels) if pod["status"]["phase"] not in ("Succeeded", "Failed")]

    def create_secret(self, name: str, **values: str) -> None:
        self.api.post(self.path("secrets"), {"metadata": {"name": name}, "stringData": values})

    def watched_pods(self, component: str = "market-producer") -> Resource:
        """The list of a component's pods, as the API server gives it: with its version."""
        listed: Resource = self.api.get(f"{self.path('pods')}?labelSelector={COMPONENT}={component}")
        return listed

    def fewest_ready(self, before: Resource, component: str = "market-producer") -> Counter[str]:
        """For each shard that had Ready pods in the list `before`, the least number it has had since, at any moment.

        A component without shards counts as one, of its own name.
        """
        fewest: Counter[str] = Counter()
        for number, pods in enumerate(self._states_since(before, component)):
            ready = Counter(label(pod, SHARD) or component for pod in pods if is_ready(pod))
            fewest = Counter({shard: min(fewest[shard], ready[shard]) for shard in fewest}) if number else ready
        assert number > 5, "the change was not seen"
        return fewest

    def _states_since(self, before: Resource, component: str) -> Iterator[list[Resource]]:
        """The component's pods after each change from then to now."""
        pods = {pod["metadata"]["name"]: pod for pod in before["items"]}
        yield list(pods.values())
        path, version = self.path("pods"), before["metadata"]["resourceVersion"]
        # A change of our own says where now is.
        one = self.watched_pods(component)["items"][0]["metadata"]["name"]
        marked = self.api.patch(f"{path}/{one}", {"metadata": {"annotations": {"kubelab/seen-since": version}}})
        for change, pod in self.api.watch(path, version, seconds=30):
            if pod["metadata"]["resourceVersion"] == marked["metadata"]["resourceVersion"]:
                return
            if label(pod, COMPONENT) != component:
                continue
            pods.pop(pod["metadata"]["name"], None)
            if change != "DELETED":
                pods[pod["metadata"]["name"]] = pod
            yield list(pods.values())
        raise AssertionError("the watch ended before it came to now")

    def wait_replaced(self, pods: Iterable[Resource]) -> None:
        """Until none of these pods is left."""
        old = {pod["metadata"]["uid"] for pod in pods}
        wait_until("the old pods are gone", lambda: not old & {pod["metadata"]["uid"] for pod in self.pods()})

    def _run(
        self, tool: str, *arguments: str, seconds: int, text: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        homes = {f"HELM_{name}_HOME": str(self._folder / name.lower()) for name in ("CACHE", "CONFIG", "DATA")}
        environment = {**os.environ, **homes, "KUBECONFIG": str(self._kubeconfig), "HELM_NAMESPACE": self.namespace}
        command = [str(tool_path(tool)), *arguments]
        if tool == "kubectl":
            command += ["--namespace", self.namespace]
        return subprocess.run(
            command, env=environment, input=text, capture_output=True, text=True, timeout=seconds, check=False
        )


WAITING = ("--wait", "--wait-for-jobs", "--timeout", "60s")
PATHS = {
    "pods": "/api/v1",
    "secrets": "/api/v1",
    "services": "/api/v1",
    "configmaps": "/api/v1",
    "deployments": "/apis/apps/v1",
    "jobs": "/apis/batch/v1",
    "poddisruptionbudgets": "/apis/policy/v1",
    "endpointslices": "/apis/discovery.k8s.io/v1",
    "servicemonitors": "/apis/monitoring.coreos.com/v1",
    "prometheusrules": "/apis/monitoring.coreos.com/v1",
    "scaledobjects": "/apis/keda.sh/v1alpha1",
    "kafkatopics": "/apis/kafka.strimzi.io/v1",
}


def is_ready(pod: Resource) -> bool:
    """Whether the pod does its work and has not been told to go."""
    conditions = pod["status"].get("conditions", [])
    ready = any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)
    return ready and "deletionTimestamp" not in pod["metadata"]


def label(resource: Resource, name: str) -> str | None:
    value: str | None = resource["metadata"].get("labels", {}).get(name)
    return value


def settings(resource: Resource) -> dict[str, Any]:
    """Environment variables of a Deployment's one container, without the prefix that all settings have."""
    (container,) = resource["spec"]["template"]["spec"]["containers"]
    prefix = "BACKPACK_STREAMS_"
    return {
        row["name"].removeprefix(prefix): row.get("value") for row in container["env"] if row["name"].startswith(prefix)
    }
