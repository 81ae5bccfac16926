"""A small client of the API server: JSON in and out, errors with their status, watches as events."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

Resource = dict[str, Any]
CONTENT_TYPES = {"PATCH": "application/merge-patch+json"}


class ApiError(Exception):
    """The API server refused; `status` is the HTTP status, the message its own."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


@dataclass(frozen=True)
class Kind:
    """A kind of resource that lives in namespaces, and where its lists are."""

    name: str
    group_version: str
    plural: str

    def path(self, namespace: str) -> str:
        root = f"/api/{self.group_version}" if "/" not in self.group_version else f"/apis/{self.group_version}"
        return f"{root}/namespaces/{namespace}/{self.plural}"


class Api:
    """Calls to one API server with one token."""

    def __init__(self, server: str, token: str, authority: Path) -> None:
        self._server = server
        self._token = token
        self._tls = ssl.create_default_context(cafile=str(authority))

    def get(self, path: str) -> Any:
        return self._call("GET", path)

    def items(self, path: str) -> list[Resource]:
        return list(self.get(path)["items"])

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._call("POST", path, body)

    def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Merge these fields into a resource."""
        return self._call("PATCH", path, body)

    def delete(self, path: str) -> Any:
        return self._call("DELETE", path)

    def is_ready(self) -> bool:
        try:
            with self._open("GET", "/readyz") as answer:
                return bool(answer.read() == b"ok")
        except (ApiError, OSError):
            return False

    def watch(self, path: str, resource_version: str, seconds: int) -> Iterator[tuple[str, Resource]]:
        """What changes after that version, each as (`ADDED`, `MODIFIED` or `DELETED`, the resource), for so long."""
        query = f"?watch=true&resourceVersion={resource_version}&timeoutSeconds={seconds}"
        with self._open("GET", path + query, timeout=seconds + 10) as answer:
            for line in answer:
                event = json.loads(line)
                yield event["type"], event["object"]

    def evict(self, namespace: str, pod: str) -> bool:
        """Ask for a pod to go, as `kubectl drain` does; False when a PodDisruptionBudget holds it.

        Raises:
            ApiError: refused for any other reason.
        """
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": namespace},
        }
        try:
            self.post(f"/api/v1/namespaces/{namespace}/pods/{pod}/eviction", eviction)
        except ApiError as error:
            if error.status == HTTPStatus.TOO_MANY_REQUESTS and "disruption budget" in str(error):
                return False
            raise
        return True

    def namespaced_kinds(self) -> list[Kind]:
        """Every kind that can be listed in a namespace, in one of its versions."""
        groups = [group["preferredVersion"]["groupVersion"] for group in self.get("/apis")["groups"]]
        kinds: list[Kind] = []
        for group_version in ("v1", *groups):
            root = "/api" if group_version == "v1" else "/apis"
            for resource in self.get(f"{root}/{group_version}")["resources"]:
                if resource["namespaced"] and "list" in resource["verbs"] and "/" not in resource["name"]:
                    kinds.append(Kind(resource["kind"], group_version, resource["name"]))
        return kinds

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        with self._open(method, path, body) as answer:
            return json.load(answer)

    def _open(self, method: str, path: str, body: Mapping[str, Any] | None = None, timeout: float = 30.0) -> Any:
        request = urllib.request.Request(
            self._server + path,
            json.dumps(body).encode() if body is not None else None,
            {"Authorization": f"Bearer {self._token}", "Content-Type": CONTENT_TYPES.get(method, "application/json")},
            method=method,
        )
        try:
            return urllib.request.urlopen(request, timeout=timeout, context=self._tls)
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            with suppress(ValueError, KeyError, TypeError):  # not the API server's own answer
                text = json.loads(text)["message"]
            raise ApiError(error.code, text) from error
