"""Debian's buildah, and the two bases that the Dockerfile is built on here: no image can be pulled, so debootstrap makes them.

They stand in for the official Python images: the same Debian, with its own Python 3.11. Kept in the user's cache, so the
minutes they take are spent once.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from embedded_kafka.downloads import cache_folder, only_one_process

SUITE = "bookworm"
IN_BOTH = ("python3", "ca-certificates")
TO_BUILD_WITH = ("python3-venv", "python3-dev", "gcc", "libc6-dev")
TO_DO = "as root on Debian: apt-get install --no-install-recommends buildah debootstrap"


class NoBuilderError(Exception):
    """An image cannot be built on this machine; the message says why and what to do."""


class Bases(NamedTuple):
    """The names of the two base images, and the environment in which buildah has them."""

    final: str
    build: str
    environment: dict[str, str]


def bases() -> Bases:
    """Both bases, made first where they are not in the cache.

    Raises:
        NoBuilderError: a program is missing and cannot be installed, or Debian's packages cannot be fetched.
    """
    if os.geteuid() != 0:
        raise NoBuilderError("building and starting the image needs root here (debootstrap, namespaces)")
    recipe = hashlib.sha256(repr((SUITE, IN_BOTH, TO_BUILD_WITH)).encode()).hexdigest()[:12]
    folder = cache_folder() / "image"
    folder.mkdir(parents=True, exist_ok=True)
    made = Bases(f"localhost/debian-python:{recipe}", f"localhost/debian-python-build:{recipe}", storage(folder))
    with only_one_process("image", threading.Event()):
        require_programs()
        if not exists(made.final, made.environment):
            make_final(made, folder)
        if not exists(made.build, made.environment):
            make_build(made)
    return made


def storage(folder: Path) -> dict[str, str]:
    """The environment for a buildah that keeps everything in `folder` and needs nothing of the kernel but chroot."""
    configuration = folder / "storage.conf"
    lines = ["[storage]", 'driver = "vfs"', f'graphroot = "{folder}/storage"', f'runroot = "{folder}/run"', ""]
    configuration.write_text("\n".join(lines))
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(configuration), "BUILDAH_ISOLATION": "chroot"}


def require_programs() -> None:
    missing = [name for name in ("buildah", "debootstrap") if shutil.which(name) is None]
    if not missing:
        return
    if shutil.which("apt-get") is None:
        raise NoBuilderError(f"{' and '.join(missing)} not found; {TO_DO}")
    install = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "--yes", "--no-install-recommends", *missing]
    subprocess.run(
        ["apt-get", "update"], check=False, capture_output=True
    )  # where it fails, what was known before may still do
    done = subprocess.run(
        install, check=False, capture_output=True, text=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    )
    if done.returncode:
        raise NoBuilderError(f"{' and '.join(missing)} cannot be installed: {last_line(done.stderr)}; {TO_DO}")


def exists(image: str, environment: dict[str, str]) -> bool:
    done = subprocess.run(["buildah", "images", "--quiet", image], check=False, env=environment, capture_output=True)
    return done.returncode == 0


def make_final(made: Bases, folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as name:
        root = Path(name) / "root"
        include = f"--include={','.join(IN_BOTH)}"
        run(made, "debootstrap", "--variant=minbase", include, SUITE, str(root), *mirror())
        # Only what is not there to stay: no package lists, nothing downloaded, no device but the engine's own.
        for path in ("var/lib/apt/lists", "var/cache/apt", "dev"):
            shutil.rmtree(root / path)
            (root / path).mkdir()
        container = run(made, "buildah", "from", "scratch")
        run(made, "buildah", "add", container, str(root), "/")
        run(made, "buildah", "commit", "--rm", container, made.final)


def make_build(made: Bases) -> None:
    container = run(made, "buildah", "from", made.final)
    for words in (("update",), ("install", "--yes", "--no-install-recommends", *TO_BUILD_WITH)):
        run(made, "buildah", "run", container, "--", "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", *words)
    run(made, "buildah", "commit", "--rm", container, made.build)


def mirror() -> list[str]:
    """Where this machine's own apt finds the suite; debootstrap knows a place by itself."""
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(SITE)", "Created-By: Packages"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    sites = [line.partition(" ")[2] for line in done.stdout.splitlines() if line.startswith(f"{SUITE} ")]
    return sites[:1]


def run(made: Bases, *command: str) -> str:
    done = subprocess.run(command, check=False, env=made.environment, capture_output=True, text=True)
    if done.returncode:
        words = f"{last_line(done.stdout)} {last_line(done.stderr)}".strip()
        raise NoBuilderError(f"{' '.join(command[:2])} failed, so there is no base to build on: {words}")
    return done.stdout.strip()


def last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1]
