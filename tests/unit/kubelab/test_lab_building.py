"""How the lab's tools come to be: with a stand-in for the Go compiler, as the real one takes minutes."""

import json
import os
from pathlib import Path

import pytest

from kubelab import building, requirement, toolchain
from kubelab.errors import LabError

COMPILER = """#!/bin/sh
case "$1" in
env) echo {version} ;;
build)
    for word; do last="$word"; done
    echo "$last" >> "{calls}"
    test "$last" = "$(cat "{broken}")" && {{ echo "undefined: main" >&2; exit 1; }}
    while test "$1" != -o; do shift; done
    echo program > "$2" ;;
mod) grep "\\"$4\\"" "{modules}" | cut -f 2 ;;
esac
"""


class Compiler:
    """A `go` on the PATH that writes down what it is asked to compile."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._calls = folder / "calls"
        self.install("go1.26.8")
        self.sell()
        self.fail_at("")
        monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))

    def install(self, version: str) -> None:
        files = {name: self._folder / name for name in ("calls", "broken", "modules")}
        go = self._folder / "go"
        go.write_text(COMPILER.format(version=version, **files))
        go.chmod(0o755)

    def fail_at(self, package: str) -> None:
        (self._folder / "broken").write_text(package)

    def sell(self, checksum: str | None = None) -> None:
        """Have the modules with the resource definitions, with their own checksum or another."""
        lines = []
        for row in building.DEFINITIONS:
            module = self._folder / "module" / row.module
            for file in row.files:
                (module / file).parent.mkdir(parents=True, exist_ok=True)
                (module / file).write_text("kind: CustomResourceDefinition")
            answer = {"Dir": str(module), "Sum": checksum or row.checksum}
            lines.append(f'"{row.module}"\t{json.dumps(answer)}\n')
        (self._folder / "modules").write_text("".join(lines))

    def compiled(self) -> list[str]:
        """Packages that it was asked for since the last time it was asked here."""
        calls = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        return calls


@pytest.fixture
def compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compiler:
    return Compiler(tmp_path, monkeypatch)


def test_all_is_built_once_and_what_only_building_needs_goes(compiler: Compiler) -> None:
    said: list[str] = []
    folder = building.build(said.append)
    assert compiler.compiled() == [tool.package for tool in building.TOOLS]
    assert all(building.tool_path(tool.name).parent == folder for tool in building.TOOLS)
    assert all(file.exists() for file in building.custom_resource_definitions())
    assert sorted(path.name for path in folder.parents[1].iterdir()) == sorted(
        (folder.parent.name, building.custom_resource_definitions()[0].parent.name)
    )
    assert sum(line.startswith("building ") for line in said) == len(building.TOOLS)

    assert building.build(said.append) == folder
    assert compiler.compiled() == []


def test_a_build_that_failed_goes_on_where_it_was(compiler: Compiler) -> None:
    packages = [tool.package for tool in building.TOOLS]
    compiler.fail_at(packages[3])
    with pytest.raises(LabError, match=f"(?s){building.TOOLS[3].name} could not be built.*undefined: main"):
        building.build(lambda words: None)
    assert compiler.compiled() == packages[:4]
    building.tool_path(building.TOOLS[2].name)
    with pytest.raises(LabError, match="make lab"):
        building.tool_path(building.TOOLS[3].name)

    compiler.fail_at("")
    building.build(lambda words: None)
    assert compiler.compiled() == packages[3:]


def test_a_module_that_is_not_what_it_was_is_not_used(compiler: Compiler) -> None:
    compiler.sell(checksum="h1:other")
    with pytest.raises(LabError, match="its checksum is h1:other"):
        building.build(lambda words: None)
    with pytest.raises(LabError, match="is not there"):
        building.custom_resource_definitions()


def test_a_go_that_is_too_old_is_passed_over(compiler: Compiler, tmp_path: Path) -> None:
    new_enough = tmp_path / "own" / "go" / "bin" / "go"
    new_enough.parent.mkdir(parents=True)
    (tmp_path / "go").rename(new_enough)
    compiler.install("go1.25.9")
    assert toolchain.find_go(tmp_path / "own", lambda words: None).executable != tmp_path / "go"


@pytest.mark.usefixtures("compiler")
def test_without_its_tool_a_test_is_skipped_but_fails_where_all_must_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="helm is not built: make lab"):
        requirement.required_tool("helm")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="helm is not built: make lab"):
        requirement.required_tool("helm")
