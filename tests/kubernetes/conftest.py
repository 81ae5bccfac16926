"""One control plane for the session; each test has a namespace of its own in it, which enforces `restricted` Pod Security."""

import uuid
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from pathlib import Path

import pytest
import yaml

from kubelab.api import Api, ApiError
from kubelab.building import TOOLS, custom_resource_definitions
from kubelab.cluster import Cluster
from kubelab.control_plane import ControlPlane
from kubelab.errors import LabError
from kubelab.requirement import not_there, required_tool
from plant import wait_until


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    for tool in TOOLS:
        required_tool(tool.name)
    with ControlPlane(tmp_path_factory.mktemp("kubelab")) as plane:
        define_custom_resources(plane.api)
        yield plane


def define_custom_resources(api: Api) -> None:
    """What the operators of Prometheus, KEDA, Strimzi and the Gateway API would have brought."""
    try:
        files = custom_resource_definitions()
    except LabError as error:
        not_there(str(error))
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    specs = [api.post(path, yaml.safe_load(file.read_text()))["spec"] for file in files]
    for spec in specs:
        version = next(row["name"] for row in spec["versions"] if row["storage"])
        lists = f"/apis/{spec['group']}/{version}/{spec['names']['plural']}"
        wait_until(f"{lists} is served", partial(is_served, api, lists))


def is_served(api: Api, path: str) -> bool:
    try:
        return api.items(path) == []
    except ApiError as error:
        # Not yet known, then known with its storage still to come.
        if error.status in (HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS):
            return False
        raise


@pytest.fixture
def cluster(plane: ControlPlane, tmp_path: Path) -> Iterator[Cluster]:
    cluster = Cluster(plane, f"test-{uuid.uuid4().hex[:8]}", tmp_path)
    cluster.create()
    yield cluster
    plane.api.delete(f"/api/v1/namespaces/{cluster.namespace}")
