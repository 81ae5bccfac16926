"""Downloads the jars of Apache Kafka into a cache folder, once, and checks each against the SHA-256 in `kafka_jars.txt`.

The list is recorded instead of resolved on the user's machine: resolving Kafka's dependency tree takes most of a
minute of processor time, and a recorded checksum reveals a damaged or replaced file. `relock.py` rewrites the list.
"""

import hashlib
import logging
import shutil
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from backpack_streams.errors import EmbeddedError
from embedded_kafka.downloads import (
    Announce,
    cache_folder,
    download,
    explain_cache_fault,
    given_up,
    only_one_process,
    repository_context,
)

__all__ = ["KAFKA_VERSION", "PinnedJar", "ensure_jars", "jars_are_cached", "pinned_jars"]

logger = logging.getLogger(__name__)

KAFKA_VERSION = "4.3.1"
_KAFKA = f"kafka-{KAFKA_VERSION}"
_DOWNLOAD_THREADS = 6
_COMPLETE_MARKER = "complete"
_STAGING_PREFIX = f"{_KAFKA}.partial-"


@dataclass(frozen=True, slots=True)
class PinnedJar:
    """One jar of Kafka's class path.

    Attributes:
        group: Maven's group id.
        artifact: Maven's artifact id.
        version: its version.
        sha256: SHA-256 of the file, in lower-case hexadecimal.
    """

    group: str
    artifact: str
    version: str
    sha256: str

    @property
    def filename(self) -> str:
        """Name of the jar in the `libs` folder."""
        return f"{self.artifact}-{self.version}.jar"

    @classmethod
    def parse(cls, line: str) -> "PinnedJar":
        """Parse a line of the list: `<sha256> <group>:<artifact>:<version>`.

        Raises:
            ValueError: the line does not have that form.
        """
        sha256, coordinate = line.split()
        group, artifact, version = coordinate.split(":")
        return cls(group, artifact, version, sha256)


def pinned_jars() -> list[PinnedJar]:
    """Return every jar that Kafka and its tools need, as recorded in `kafka_jars.txt`."""
    text = resources.files(__package__).joinpath("kafka_jars.txt").read_text(encoding="ascii")
    return [PinnedJar.parse(line) for line in text.splitlines() if line and not line.startswith("#")]


def _kafka_folder() -> Path:
    return cache_folder() / _KAFKA


def _digest_of_list(jars: list[PinnedJar]) -> str:
    return hashlib.sha256("\n".join(sorted(jar.sha256 for jar in jars)).encode()).hexdigest()


def jars_are_cached() -> bool:
    """Whether the cache holds a complete set of the recorded jars. Checks names and the marker, not the files' contents."""
    jars = pinned_jars()
    folder = _kafka_folder()
    try:
        marker = (folder / _COMPLETE_MARKER).read_text(encoding="ascii")
    except OSError:
        return False
    return marker == _digest_of_list(jars) and all((folder / "libs" / jar.filename).is_file() for jar in jars)


def ensure_jars(announce: Announce | None = None, cancelled: threading.Event | None = None) -> Path:
    """Return the folder that holds all jars of Kafka; the first call downloads them. Blocks.

    If two processes call this at once, the second waits for the download of the first.

    Args:
        announce: called with one line before a download starts.
        cancelled: once it is set, the download ends with an EmbeddedError.

    Raises:
        EmbeddedError: there is no network or no room, `jgo` is not installed, or a jar is not the recorded one.
    """
    libs = _kafka_folder() / "libs"
    if jars_are_cached():
        return libs
    cancelled = cancelled or threading.Event()
    try:
        with only_one_process(_KAFKA, cancelled):
            if not jars_are_cached():
                if announce is not None:
                    announce(f"downloading Apache Kafka {KAFKA_VERSION} (55 MB, once)")
                _download_all(cancelled)
    except OSError as error:
        raise EmbeddedError(explain_cache_fault(error)) from error
    return libs


def _download_all(cancelled: threading.Event) -> None:
    """Download into a temporary folder, then rename it: a folder with the final name is always complete."""
    for left_behind in cache_folder().glob(f"{_STAGING_PREFIX}*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    jars = pinned_jars()
    started = time.monotonic()
    staging = Path(tempfile.mkdtemp(prefix=_STAGING_PREFIX, dir=cache_folder()))
    try:
        (staging / "kafka" / "libs").mkdir(parents=True)
        fetch = _fetcher(staging / "repository", cancelled)
        with ThreadPoolExecutor(_DOWNLOAD_THREADS, thread_name_prefix="kafka-jars") as pool:
            for jar, path in zip(jars, pool.map(fetch, jars), strict=True):
                path.rename(staging / "kafka" / "libs" / jar.filename)
        (staging / "kafka" / _COMPLETE_MARKER).write_text(_digest_of_list(jars), encoding="ascii")
        shutil.rmtree(_kafka_folder(), ignore_errors=True)
        (staging / "kafka").rename(_kafka_folder())
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    logger.info("kafka jars downloaded", extra={"jars": len(jars), "seconds": round(time.monotonic() - started, 1)})


def _fetcher(repository: Path, cancelled: threading.Event) -> Callable[[PinnedJar], Path]:
    context = repository_context(repository)

    def fetch(jar: PinnedJar) -> Path:
        if cancelled.is_set():
            raise EmbeddedError(given_up(_KAFKA))
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        return download(artifact, jar.sha256, f"Kafka {KAFKA_VERSION}", _kafka_folder())

    return fetch
