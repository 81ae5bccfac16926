"""Downloads from Maven repositories into a cache folder of the user: once, by one process at a time, checked by SHA-256."""

import errno
import fcntl
import hashlib
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backpack_streams.backoff import Backoff
from backpack_streams.errors import EmbeddedError

__all__ = [
    "Announce",
    "cache_folder",
    "download",
    "explain_cache_fault",
    "given_up",
    "only_one_process",
    "repository_context",
    "sha256_of",
]

_DOWNLOAD_TIMEOUT_SECONDS = 30
_TRIES = 3
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 2.0, 6.0
_READ_BLOCK_BYTES = 1 << 20
_LOCK_POLL_SECONDS = 0.2

Announce = Callable[[str], object]


def cache_folder() -> Path:
    """Return our folder in the user's cache (`XDG_CACHE_HOME`, else `~/.cache`), which holds all downloads."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "backpack-streams"


def given_up(name: str) -> str:
    """Return the error text for a cancelled download."""
    return f"the download of {name} was given up"


@contextmanager
def only_one_process(name: str, cancelled: threading.Event) -> Iterator[None]:
    """Let one process of this machine in at a time. The others wait without a timeout.

    Args:
        name: of the lock file in the cache folder, without `.lock`.
        cancelled: once it is set, the wait ends within 0.2 s.

    Raises:
        EmbeddedError: `cancelled` was set before the lock was free.
        OSError: the cache folder cannot be written to.
    """
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{name}.lock").open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # another process is downloading
                if cancelled.wait(_LOCK_POLL_SECONDS):
                    raise EmbeddedError(given_up(name)) from None
        yield


def explain_cache_fault(error: OSError) -> str:
    """Return one line for the user on a failure in the cache folder."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk under {cache_folder()} is full: make 300 MB of room there, or set XDG_CACHE_HOME elsewhere"
    return f"cannot write to the cache folder {cache_folder()} ({error}): make it writable, or set XDG_CACHE_HOME elsewhere"


def repository_context(repository: Path) -> Any:
    """Return jgo's Maven context; repositories named in jgo's own settings apply.

    jgo's higher-level `build` is not used: it fetches a Java of its own to sort jars into modules, which Kafka does not
    need. The resolver is pure Python; it starts no Maven. A request times out after 30 s.

    Args:
        repository: folder to store into, laid out as a Maven repository.

    Raises:
        EmbeddedError: `jgo` is not installed.
    """
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext
    except ImportError as error:
        raise EmbeddedError(
            "this download needs the package jgo, which is not installed: pip install 'backpack-streams[embedded]'"
        ) from error
    _trust_what_this_machine_trusts()
    remotes = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    return MavenContext(repo_cache=repository, remote_repos=remotes, timeout=_DOWNLOAD_TIMEOUT_SECONDS)


def _trust_what_this_machine_trusts() -> None:
    """Make requests, jgo's HTTP client, use the system's authorities: its own list lacks that of a company's proxy."""
    system_authorities = ssl.get_default_verify_paths().cafile
    if system_authorities and not os.environ.keys() & {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"}:
        os.environ["REQUESTS_CA_BUNDLE"] = system_authorities


def download(artifact: Any, sha256: str, whose: str, folder: Path) -> Path:
    """Download one of jgo's artifacts and check it, in up to three attempts. Blocks.

    Args:
        artifact: jgo's artifact.
        sha256: its recorded checksum, in hexadecimal.
        whose: the product, for the error.
        folder: the folder to copy from another machine instead, for the error.

    Returns:
        The file, in the repository of the artifact's context.

    Raises:
        EmbeddedError: there is no network, or the file is not the recorded one.
        OSError: there is no room.
    """
    path = _download_with_retries(artifact, whose, folder)
    if sha256_of(path) != sha256:
        raise EmbeddedError(
            f"the downloaded {path.name} is not the recorded one (its SHA-256 differs): "
            "try again, and if it stays so, find out what stands between this machine and the Maven repository"
        )
    return path


def _download_with_retries(artifact: Any, whose: str, folder: Path) -> Path:
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
    while True:
        try:
            # jgo would take a partial file of an earlier attempt for the whole file.
            artifact.cached_path.unlink(missing_ok=True)
            return Path(artifact.resolve())
        except (OSError, RuntimeError) as error:  # requests raises OSErrors, jgo RuntimeError for "not found"
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
            if backoff.attempts + 1 == _TRIES:
                raise EmbeddedError(
                    f"cannot download {artifact.cached_path.name} of {whose} ({type(error).__name__}): "
                    "check the network and any proxy (HTTPS_PROXY), or copy the folder "
                    f"{folder} from a machine that has it"
                ) from error
            time.sleep(backoff.next_delay_seconds())


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in lower-case hexadecimal. Reads it in blocks of 1 MiB.

    Raises:
        OSError: the file cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_READ_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
