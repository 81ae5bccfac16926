"""The control plane as processes of this machine: on free ports of the loopback, with nothing in it, gone at the end."""

import asyncio
import json
import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from embedded_kafka import Child
from embedded_kafka.ports import free_ports
from kubelab.api import Api, Resource
from kubelab.building import tool_path
from kubelab.errors import LabError

HOST = "127.0.0.1"
NODES = 3
READY_SECONDS = 120.0
STAGES = Path(__file__).with_name("stages")
LOG_CHARACTERS_SHOWN = 1500
POD_LOG = "what the program of this pod would have written"


class ControlPlane:
    """etcd, API server, controllers, scheduler, and three nodes that kwok plays; a context manager.

    Keeps everything in `folder`: data, logs, and `kubeconfig` with all rights. Its processes end with this one.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self._runner = asyncio.Runner()
        self._children: dict[str, Child] = {}
        self._ports = dict(
            zip(("etcd", "etcd-peer", "api", "controllers", "scheduler", "kubelets"), free_ports(6, HOST), strict=True)
        )
        self._api: Api | None = None

    @property
    def server(self) -> str:
        return f"https://{HOST}:{self._ports['api']}"

    @property
    def api(self) -> Api:
        assert self._api is not None, "not started"
        return self._api

    def __enter__(self) -> "ControlPlane":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start all, and return once every node is ready; about 10 s.

        Raises:
            LabError: a program is not built, ended, or was not ready in time.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            token = self._write_credentials()
            self._start_etcd()
            self._start_api_server()
            # The server makes its certificate when it starts.
            self._wait("the API server has a certificate", (self.folder / "certs" / "apiserver.crt").exists)
            self._api = Api(self.server, token, self.folder / "certs" / "apiserver.crt")
            self._write_kubeconfig(token)
            self._wait("the API server is ready", self.api.is_ready)
            self._start_controllers()
            self._start_nodes()
            self._wait("the nodes are ready", self._nodes_are_ready)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End all, the last started first. The folder stays."""
        for name in reversed(list(self._children)):
            self._runner.run(self._children.pop(name).stop())
        self._runner.close()

    def _launch(self, name: str, *arguments: str) -> None:
        command = (str(tool_path(name)), *arguments)
        start = Child.start(command, log_path=self.folder / f"{name}.log", environment=self._environment())
        self._children[name] = self._runner.run(start)

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.folder)}

    def _start_etcd(self) -> None:
        clients, peers = (f"http://{HOST}:{self._ports[name]}" for name in ("etcd", "etcd-peer"))
        self._launch(
            "etcd",
            *("--data-dir", str(self.folder / "etcd"), "--log-level", "warn", "--unsafe-no-fsync"),
            *("--listen-client-urls", clients, "--advertise-client-urls", clients),
            *(
                "--listen-peer-urls",
                peers,
                "--initial-advertise-peer-urls",
                peers,
                "--initial-cluster",
                f"default={peers}",
            ),
        )

    def _start_api_server(self) -> None:
        self._launch(
            "kube-apiserver",
            f"--etcd-servers=http://{HOST}:{self._ports['etcd']}",
            *(f"--bind-address={HOST}", f"--advertise-address={HOST}", f"--secure-port={self._ports['api']}"),
            *(f"--cert-dir={self.folder / 'certs'}", "--endpoint-reconciler-type=none"),
            f"--service-account-key-file={self.folder / 'accounts.pub'}",
            f"--service-account-signing-key-file={self.folder / 'accounts.key'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            *(f"--token-auth-file={self.folder / 'tokens.csv'}", "--authorization-mode=RBAC"),
            "--service-cluster-ip-range=10.96.0.0/16,fd00:96::/112",
            "--kubelet-preferred-address-types=InternalIP",
        )

    def _start_controllers(self) -> None:
        common = (f"--kubeconfig={self.kubeconfig}", "--leader-elect=false", f"--bind-address={HOST}")
        rate = ("--kube-api-qps=200", "--kube-api-burst=400")
        self._launch(
            "kube-controller-manager",
            *common,
            *rate,
            *(f"--secure-port={self._ports['controllers']}", f"--cert-dir={self.folder / 'certs'}"),
            *(f"--root-ca-file={self.folder / 'certs' / 'apiserver.crt'}", "--use-service-account-credentials"),
            f"--service-account-private-key-file={self.folder / 'accounts.key'}",
        )
        self._launch(
            "kube-scheduler",
            *common,
            *rate,
            *(f"--secure-port={self._ports['scheduler']}", f"--cert-dir={self.folder / 'certs'}"),
        )

    def _start_nodes(self) -> None:
        for number in range(NODES):
            self.api.post("/api/v1/nodes", _node(f"node-{number}", f"zone-{number}"))
        log = self.folder / "pod.log"
        log.write_text(f"2026-01-01T00:00:00.000000000Z stdout F {POD_LOG}\n")
        stages = self.folder / "stages.yaml"
        texts = [file.read_text() for file in sorted(STAGES.glob("*.yaml"))]
        stages.write_text("\n---\n".join([*texts, json.dumps(_logs(log))]))
        self._launch(
            "kwok",
            *(f"--kubeconfig={self.kubeconfig}", "--manage-all-nodes=true", f"--config={stages}"),
            *("--node-lease-duration-seconds=40", "--cidr=10.244.0.0/16", f"--node-ip={HOST}"),
            *(f"--node-port={self._ports['kubelets']}", f"--server-address={HOST}:{self._ports['kubelets']}"),
            f"--tls-cert-file={self.folder / 'certs' / 'apiserver.crt'}",
            f"--tls-private-key-file={self.folder / 'certs' / 'apiserver.key'}",
        )

    def _nodes_are_ready(self) -> bool:
        nodes = self.api.items("/api/v1/nodes")
        return len(nodes) == NODES and all(_is_ready(node) and not node["spec"].get("taints") for node in nodes)

    def _write_credentials(self) -> str:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        public = key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        token = secrets.token_hex(16)
        self._write_secret("accounts.key", private)
        self._write_secret("accounts.pub", public)
        self._write_secret("tokens.csv", f'{token},admin,admin,"system:masters"\n'.encode())
        return token

    def _write_kubeconfig(self, token: str) -> None:
        cluster = {"server": self.server, "certificate-authority": str(self.folder / "certs" / "apiserver.crt")}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "lab", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "admin"}}],
            "current-context": "lab",
        }
        self._write_secret(self.kubeconfig.name, json.dumps(config, indent=1).encode())  # JSON is YAML

    def _write_secret(self, name: str, content: bytes) -> None:
        file = self.folder / name
        file.touch(mode=0o600)
        file.write_bytes(content)

    def _wait(self, what: str, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not holds():
            self._runner.run(asyncio.sleep(0.1))
            for name, child in self._children.items():
                if child.returncode is not None:
                    raise LabError(f"{name} ended with exit code {child.returncode}: {self._log_end(name)}")
            if time.monotonic() > deadline:
                raise LabError(f"not within {READY_SECONDS:g} s: {what}. {self._log_end(list(self._children)[-1])}")

    def _log_end(self, name: str) -> str:
        text = (self.folder / f"{name}.log").read_text(errors="replace")
        return f"its log ends with\n{text[-LOG_CHARACTERS_SHOWN:]}"


def _is_ready(node: Resource) -> bool:
    conditions = node["status"].get("conditions", [])
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _logs(file: Path) -> Resource:
    """What kwok answers for the log of every container."""
    return {
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "ClusterLogs",
        "metadata": {"name": "logs"},
        "spec": {"logs": [{"logsFile": str(file), "follow": False}]},
    }


def _node(name: str, zone: str) -> Resource:
    resources = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "topology.kubernetes.io/zone": zone,
            },
            "annotations": {"kwok.x-k8s.io/node": "fake"},
        },
        "status": {"allocatable": resources, "capacity": resources},
    }
