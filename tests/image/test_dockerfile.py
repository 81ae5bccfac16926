"""The Dockerfile and what goes into the build, without building."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_hadolint_has_nothing_to_say() -> None:
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, "--no-color", ROOT / "Dockerfile"], check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_every_copied_file_is_let_into_the_build() -> None:
    let_in = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = {
        source
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }
    assert copied == let_in
    assert all((ROOT / path).exists() for path in copied)


def test_packages_come_from_the_locks_alone() -> None:
    installs = re.findall(r"pip (?:--python \S+ )?install (.*?)(?: \\)?$", DOCKERFILE, re.MULTILINE)
    assert len(installs) == 4
    assert all("--require-hashes" in line or ("--no-deps" in line and "--no-index" in line) for line in installs)
    assert "apt-get" not in DOCKERFILE


def test_the_build_lock_holds_what_builds_the_project() -> None:
    wanted = [
        Requirement(text) for text in tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    ]
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements" / "build.txt").read_text(), re.MULTILINE))
    assert all(locked[each.name] in each.specifier for each in wanted)


def test_the_default_bases_are_the_same_python_and_the_final_one_is_slim() -> None:
    base, build_base = (
        re.findall(rf"^ARG {name}=(\S+)$", DOCKERFILE, re.MULTILINE)[0] for name in ("BASE", "BUILD_BASE")
    )
    assert base == build_base.replace("-bookworm", "-slim-bookworm")
