"""Where `prometheus` and `promtool` are: on PATH, else taken out of Debian's package into the user's cache; nothing is installed."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from embedded_kafka.downloads import cache_folder

TO_DO = "install Prometheus 2.42 or newer (Debian: apt-get install prometheus), so that `prometheus` and `promtool` are on PATH"


class NoPrometheusError(Exception):
    """Prometheus is neither on this machine nor to be had from Debian's packages; the message says what to install."""


class Programs(NamedTuple):
    """The two programs."""

    prometheus: Path
    promtool: Path


def programs() -> Programs:
    """The programs, unpacked first where they have to be.

    Raises:
        NoPrometheusError: there is no way to them.
    """
    on_path = [shutil.which(name) for name in Programs._fields]
    if all(on_path):
        return Programs(*(Path(str(found)) for found in on_path))
    folder = cache_folder() / "prometheus"
    unpacked = Programs(*(folder / "usr" / "bin" / name for name in Programs._fields))
    if not all(program.is_file() for program in unpacked):
        _unpack(folder)
    return unpacked


def _unpack(folder: Path) -> None:
    """Not apt-get install: that would start a service on machines that have an init."""
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise NoPrometheusError(f"prometheus is not here: {TO_DO}")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        download = Path(name)
        if not _run(download, "apt-get", "download", "prometheus") and os.geteuid() == 0:
            _run(download, "apt-get", "update")
            _run(download, "apt-get", "download", "prometheus")
        packages = list(download.glob("prometheus_*.deb"))
        if not packages or not _run(download, "dpkg-deb", "--extract", str(packages[0]), "root"):
            raise NoPrometheusError(f"Debian's package prometheus cannot be fetched: {TO_DO}")
        shutil.rmtree(folder, ignore_errors=True)
        (download / "root").rename(folder)


def _run(folder: Path, *command: str) -> bool:
    return subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=300).returncode == 0
