"""The image, built once from the Dockerfile by the script that users run; skipped where that cannot be, failed where CI is set."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from image.container import Container, unpacked
from image.debian_base import Bases, NoBuilderError, bases

ROOT = Path(__file__).parents[2]

# debootstrap, dpkg and chroot are programs for administrators, which not every PATH has.
os.environ["PATH"] = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


@pytest.fixture(scope="session")
def debian() -> Bases:
    try:
        return bases()
    except NoBuilderError as error:
        if os.environ.get("CI"):
            pytest.fail(str(error))
        pytest.skip(str(error))


class Build:
    """A build: what it said, and the image by name."""

    def __init__(self, debian: Bases, target: str) -> None:
        self.name = f"localhost/backpack-streams-test-{target}:{uuid4().hex}"
        self.environment = debian.environment
        arguments = ["--engine", "buildah", "--tag", self.name, "--pull-never", "--no-cache", "--target", target]
        arguments += ["--build-arg", f"BASE={debian.final}", "--build-arg", f"BUILD_BASE={debian.build}"]
        command = [sys.executable, str(ROOT / "image" / "build.py"), *arguments]
        done = subprocess.run(command, check=False, env=debian.environment, capture_output=True, text=True)
        assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
        self.last_line = done.stdout.strip().splitlines()[-1]


@contextmanager
def built(debian: Bases, target: str = "service") -> Iterator[Build]:
    build = Build(debian, target)
    try:
        yield build
    finally:
        subprocess.run(["buildah", "rmi", build.name], check=False, env=debian.environment, capture_output=True)


@pytest.fixture(scope="session")
def build(debian: Bases) -> Iterator[Build]:
    with built(debian) as made:
        yield made


@pytest.fixture(scope="session")
def container(build: Build) -> Iterator[Container]:
    with unpacked(build.name, build.environment) as made:
        yield made


@pytest.fixture(scope="session")
def sandbox_image(debian: Bases) -> Iterator[Container]:
    """The image of the stand-in for the exchange."""
    with built(debian, "sandbox") as made, unpacked(made.name, made.environment) as unpacked_sandbox:
        yield unpacked_sandbox


@pytest.fixture(scope="session")
def again(debian: Bases) -> Iterator[Container]:
    """A second build of the same files."""
    with built(debian) as made, unpacked(made.name, made.environment) as unpacked_again:
        yield unpacked_again
