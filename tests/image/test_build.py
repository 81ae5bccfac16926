"""image/build.py without an engine: what it hands over."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "image" / "build.py"


@pytest.fixture
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("image_build", SCRIPT)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_this_machines_pip_goes_along_as_secrets(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificates = tmp_path / "ca.pem"
    certificates.write_text("certificates")
    settings = {
        "index-url": "https://user:word@index.example/x",
        "cert": str(certificates),
        "find-links": "here",
        "timeout": "9",
    }
    monkeypatch.setattr(script, "pip_settings", lambda: settings)
    secrets = script.write_secrets(tmp_path)
    assert secrets == {"ca.pem": certificates, "pip.conf": tmp_path / "pip.conf"}
    lines = (tmp_path / "pip.conf").read_text().splitlines()
    assert lines == [
        "[global]",
        "index-url = https://user:word@index.example/x",
        "timeout = 9",
        "cert = /run/secrets/ca.pem",
    ]


def test_a_machine_without_settings_hands_over_none(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "pip_settings", dict)
    for variable in script.CERTIFICATE_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    assert script.write_secrets(tmp_path) == {}


@pytest.mark.parametrize("engine", ["docker", "podman", "buildah"])
def test_the_commit_and_what_the_user_adds_reach_the_engine(script: ModuleType, engine: str, tmp_path: Path) -> None:
    stamp = script.Stamp("1.2.3", "abc", "1700000000")
    secrets = {"pip.conf": tmp_path / "pip.conf"}
    command = script.build_command(engine, "name:1", stamp, secrets, ["--no-cache"])
    assert command[:4] == [engine, "build", "--tag", "name:1"]
    assert command[-2:] == ["--no-cache", "."]
    assert {"VERSION=1.2.3", "REVISION=abc", "SOURCE_DATE_EPOCH=1700000000"} <= set(command)
    assert f"id=pip.conf,src={tmp_path / 'pip.conf'}" in command
    assert ("--format" in command) == (engine != "docker")


def test_without_an_engine_it_says_what_to_install(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(script.shutil, "which", lambda _: None)
    monkeypatch.setattr(script.sys, "argv", ["build.py"])
    assert script.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
