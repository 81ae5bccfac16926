"""Brings the jars of Apache Kafka into a cache folder, once, each checked against the SHA-256 recorded in `kafka_jars.txt`.

The list is recorded rather than worked out on the user's machine: walking Kafka's dependency tree takes most of a
minute of processor time, and a recorded checksum notices a damaged or exchanged file. `relock.py` rewrites the list.
"""

import errno
import fcntl
import hashlib
import logging
import os
import shutil
import ssl
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from backpack_streams.errors import EmbeddedError

__all__ = ["KAFKA_VERSION", "PinnedJar", "cache_folder", "ensure_jars", "jars_are_cached", "pinned_jars"]

logger = logging.getLogger(__name__)

KAFKA_VERSION = "4.3.1"
_DOWNLOAD_THREADS = 6
_DOWNLOAD_TIMEOUT_SECONDS = 30
_RETRY_DELAYS_SECONDS = (1.0, 3.0)
_READ_BLOCK_BYTES = 1 << 20
_LOCK_POLL_SECONDS = 0.2
_GIVEN_UP = f"the download of Kafka {KAFKA_VERSION} was given up"
_COMPLETE_MARKER = "complete"
_STAGING_PREFIX = f"kafka-{KAFKA_VERSION}.partial-"

Announce = Callable[[str], object]


@dataclass(frozen=True, slots=True)
class PinnedJar:
    """One jar of Kafka's class path: its Maven coordinate and what its bytes must hash to."""

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
        """Read a line of the list: `<sha256>  <group>:<artifact>:<version>`."""
        sha256, coordinate = line.split()
        group, artifact, version = coordinate.split(":")
        return cls(group, artifact, version, sha256)


def pinned_jars() -> list[PinnedJar]:
    """Every jar Kafka and its tools need, as recorded in `kafka_jars.txt`."""
    text = resources.files(__package__).joinpath("kafka_jars.txt").read_text(encoding="ascii")
    return [PinnedJar.parse(line) for line in text.splitlines() if line and not line.startswith("#")]


def cache_folder() -> Path:
    """The folder under the user's cache (`XDG_CACHE_HOME`, else `~/.cache`) that everything here lives in."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "backpack-streams"


def _kafka_folder() -> Path:
    return cache_folder() / f"kafka-{KAFKA_VERSION}"


def _digest_of_list(jars: list[PinnedJar]) -> str:
    return hashlib.sha256("\n".join(sorted(jar.sha256 for jar in jars)).encode()).hexdigest()


def jars_are_cached() -> bool:
    """Whether a complete set of the recorded jars lies in the cache."""
    jars = pinned_jars()
    folder = _kafka_folder()
    try:
        marker = (folder / _COMPLETE_MARKER).read_text(encoding="ascii")
    except OSError:
        return False
    return marker == _digest_of_list(jars) and all((folder / "libs" / jar.filename).is_file() for jar in jars)


def ensure_jars(announce: Announce | None = None, cancelled: threading.Event | None = None) -> Path:
    """Give the folder that holds all jars of Kafka, downloading them the first time. Blocks.

    Two processes that call this at once download once: the second waits for the first.

    Args:
        announce: called with one line before a download starts.
        cancelled: once set, the download is given up with an EmbeddedError.

    Raises:
        EmbeddedError: no network, no room, `jgo` not installed, or a jar that is not the recorded one.
    """
    libs = _kafka_folder() / "libs"
    if jars_are_cached():
        return libs
    cancelled = cancelled or threading.Event()
    try:
        with _only_one_process(cancelled):
            if not jars_are_cached():
                if announce is not None:
                    announce(f"downloading Apache Kafka {KAFKA_VERSION} (55 MB, once)")
                _download_all(cancelled)
    except OSError as error:
        raise EmbeddedError(_explain(error)) from error
    return libs


def _explain(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk under {cache_folder()} is full: make 200 MB of room there, or set XDG_CACHE_HOME elsewhere"
    return f"cannot write to the cache folder {cache_folder()} ({error}): make it writable, or set XDG_CACHE_HOME elsewhere"


@contextmanager
def _only_one_process(cancelled: threading.Event) -> Iterator[None]:
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"kafka-{KAFKA_VERSION}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # another process is downloading
                if cancelled.wait(_LOCK_POLL_SECONDS):
                    raise EmbeddedError(_GIVEN_UP) from None
        yield


def _download_all(cancelled: threading.Event) -> None:
    """Download into a folder beside the final one, then rename: a folder of the final name is always whole."""
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


def repository_context(repository: Path) -> Any:
    """jgo's view of the Maven world, storing into `repository`; repositories named in jgo's own settings apply.

    jgo's higher-level `build` is avoided: it fetches a Java of its own to sort jars into modules, which Kafka does
    not need. The resolver is pure Python; no Maven is started.

    Raises:
        EmbeddedError: `jgo` is not installed.
    """
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
    except ImportError as error:
        raise EmbeddedError(
            "downloading Kafka needs the package jgo, which is not installed: pip install 'backpack-streams[embedded]'"
        ) from error
    _trust_what_this_machine_trusts()
    remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=repository, remote_repos=remotes, timeout=_DOWNLOAD_TIMEOUT_SECONDS)


def _trust_what_this_machine_trusts() -> None:
    """requests, which jgo downloads with, knows public authorities only; behind a company's proxy the system's list counts."""
    system_authorities = ssl.get_default_verify_paths().cafile
    if system_authorities and not os.environ.keys() & {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}:
        os.environ["REQUESTS_CA_BUNDLE"] = system_authorities


def _fetcher(repository: Path, cancelled: threading.Event) -> Callable[[PinnedJar], Path]:
    context = repository_context(repository)

    def fetch(jar: PinnedJar) -> Path:
        if cancelled.is_set():
            raise EmbeddedError(_GIVEN_UP)
        artifact = context.project(jar.group, jar.artifact).at_version(jar.version).artifact()
        path = _download_with_retries(artifact, jar)
        if sha256_of(path) != jar.sha256:
            raise EmbeddedError(
                f"the downloaded {jar.filename} is not the recorded one (its SHA-256 differs): "
                "try again, and if it stays so, find out what stands between this machine and the Maven repository"
            )
        return path

    return fetch


def _download_with_retries(artifact: Any, jar: PinnedJar) -> Path:
    for delay_seconds in (*_RETRY_DELAYS_SECONDS, None):
        try:
            # A part that an earlier try left would be taken as the whole file.
            artifact.cached_path.unlink(missing_ok=True)
            return Path(artifact.resolve())
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo says "not found" by RuntimeError
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            if delay_seconds is None:
                raise EmbeddedError(
                    f"cannot download {jar.filename} of Kafka {KAFKA_VERSION} ({type(error).__name__}): "
                    "check the network and any proxy (HTTPS_PROXY), or copy the folder "
                    f"{_kafka_folder()} from a machine that has it"
                ) from error
            time.sleep(delay_seconds)
    raise AssertionError("the last try either returns or raises")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
