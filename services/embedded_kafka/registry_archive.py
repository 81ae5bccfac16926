"""Downloads Apicurio Registry into the cache folder, once, checks it against the SHA-256 recorded here, and unpacks it."""

import shutil
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import Any

from backpack_streams.errors import EmbeddedError
from embedded_kafka.downloads import (
    Announce,
    cache_folder,
    download,
    explain_cache_fault,
    only_one_process,
    repository_context,
)

__all__ = ["REGISTRY_VERSION", "ensure_registry"]

# 3.0.9 runs on Java 17; 3.3 needs 21.
REGISTRY_VERSION = "3.0.9"
_SHA256 = "2b28181501a20cbf6efcd77f9b7153908fc01f3d3a7c32024c0bd9e1b04c8a43"
_GROUP, _ARTIFACT = "io.apicurio", "apicurio-registry-app"
_NAME = f"apicurio-registry-{REGISTRY_VERSION}"
_COMPLETE_MARKER = "complete"
_STAGING_PREFIX = f"{_NAME}.partial-"


def ensure_registry(announce: Announce | None = None, cancelled: threading.Event | None = None) -> Path:
    """Return the jar that runs the registry; the first call downloads it. Blocks.

    If two processes call this at once, the second waits for the download of the first.

    Args:
        announce: called with one line before a download starts.
        cancelled: once it is set, waiting for another process's download ends with an EmbeddedError.

    Raises:
        EmbeddedError: there is no network or no room, `jgo` is not installed, or the archive is not the recorded one.
    """
    if _is_cached():
        return _jar()
    try:
        with only_one_process(_NAME, cancelled or threading.Event()):
            if not _is_cached():
                if announce is not None:
                    announce(f"downloading Apicurio Registry {REGISTRY_VERSION} (109 MB, once)")
                _download()
    except OSError as error:
        raise EmbeddedError(explain_cache_fault(error)) from error
    return _jar()


def _folder() -> Path:
    return cache_folder() / _NAME


def _jar() -> Path:
    return _folder() / f"{_ARTIFACT}-{REGISTRY_VERSION}-runner.jar"


def _is_cached() -> bool:
    marker = _folder() / _COMPLETE_MARKER
    return marker.is_file() and marker.read_text(encoding="ascii") == _SHA256 and _jar().is_file()


def _download() -> None:
    """Unpack into a temporary folder, then rename it: a folder with the final name is always complete."""
    for left_behind in cache_folder().glob(f"{_STAGING_PREFIX}*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=cache_folder()))
    try:
        component = repository_context(staging / "repository").project(_GROUP, _ARTIFACT).at_version(REGISTRY_VERSION)
        artifact = component.artifact(classifier="all", packaging="tar.gz")
        archive = download(artifact, _SHA256, f"Apicurio Registry {REGISTRY_VERSION}", _folder())
        unpacked = staging / "unpacked"
        with tarfile.open(archive) as packed:
            # Python before 3.11.4 has no filters; the archive has the SHA-256 recorded above in any case.
            options: dict[str, Any] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
            packed.extractall(unpacked, **options)
        (unpacked / _COMPLETE_MARKER).write_text(_SHA256, encoding="ascii")
        shutil.rmtree(_folder(), ignore_errors=True)
        unpacked.rename(_folder())
    finally:
        shutil.rmtree(staging, ignore_errors=True)
