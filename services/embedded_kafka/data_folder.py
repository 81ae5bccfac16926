"""A cluster's data folder: locked by one cluster at a time, with the values that a restart must find unchanged."""

import fcntl
import json
import os
import shutil
import uuid
from base64 import urlsafe_b64encode
from dataclasses import asdict, dataclass
from pathlib import Path

from backpack_streams.errors import EmbeddedError

__all__ = ["ClusterIdentity", "DataFolder", "FolderInUseError", "free_bytes", "new_cluster_id", "require_free_space"]

_LOCK_FILE = "embedded-kafka.lock"
_IDENTITY_FILE = "embedded-kafka.json"


class FolderInUseError(EmbeddedError):
    """Another cluster holds the data folder."""

    def __init__(self, path: Path, owner: str) -> None:
        """Prepare the message.

        Args:
            path: the data folder.
            owner: process id in the lock file, as text; empty or unreadable text counts as a process that is gone.
        """
        super().__init__(
            f"the data folder {path} is in use by another embedded Kafka (started by process {owner or '?'}): "
            "stop that one, or choose another folder with --data-dir"
        )
        self.owner_is_gone = not _runs(owner)
        """Whether the process that took the folder is gone. Its brokers still hold the folder, and end within seconds."""


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """The values that a cluster keeps with its data. The ports are in the order of the node ids.

    Attributes:
        cluster_id: id in Kafka's form; see `new_cluster_id`.
        controller_ports: controller port of each broker, on loopback.
        internal_ports: port of each broker for the other brokers, on loopback.
    """

    cluster_id: str
    controller_ports: tuple[int, ...]
    internal_ports: tuple[int, ...]


def new_cluster_id() -> str:
    """Return a random id in Kafka's form: 16 bytes in URL-safe base 64, not starting with a dash."""
    while True:
        text = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        if not text.startswith("-"):
            return text


class DataFolder:
    """An opened data folder; `lock` is the descriptor that locks other clusters out."""

    def __init__(self, path: Path, lock: int) -> None:
        """Take over an open, locked descriptor; use `open` to get one.

        Args:
            path: the folder.
            lock: descriptor of its lock file.
        """
        self.path = path
        self.lock = lock

    @classmethod
    def open(cls, path: Path) -> "DataFolder":
        """Create the folder if it does not exist, and lock it with `flock`, without waiting.

        The lock lasts until every process that has the descriptor has closed it, so brokers that inherit it hold the
        folder too.

        Raises:
            FolderInUseError: another cluster holds it.
            EmbeddedError: it cannot be written to, or its path contains a comma, which separates folders in Kafka's
                `log.dirs`.
        """
        if "," in str(path):
            raise EmbeddedError(f"Kafka cannot use a data folder with a comma in its path: {path}; choose another")
        try:
            path.mkdir(parents=True, exist_ok=True)
            lock = os.open(path / _LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise EmbeddedError(
                f"cannot write to the data folder {path} ({error.strerror}): make it writable, or choose another with --data-dir"
            ) from error
        try:
            _take(lock, path)
        except BaseException:  # no other code has the descriptor to close it
            os.close(lock)
            raise
        return cls(path, lock)

    def close(self) -> None:
        """Release this process's hold on the lock. Brokers that still run keep the folder locked. Call it once."""
        os.close(self.lock)

    def identity(self) -> ClusterIdentity | None:
        """Return the stored identity; None in a new folder.

        Raises:
            EmbeddedError: the file cannot be read, or is not what `remember` writes.
        """
        try:
            stored = json.loads((self.path / _IDENTITY_FILE).read_text(encoding="ascii"))
            return ClusterIdentity(
                str(stored["cluster_id"]),
                tuple(int(port) for port in stored["controller_ports"]),
                tuple(int(port) for port in stored["internal_ports"]),
            )
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EmbeddedError(
                f"{self.path / _IDENTITY_FILE} cannot be read ({error}): choose another data folder, or empty this one"
            ) from error

    def remember(self, identity: ClusterIdentity) -> None:
        """Store the identity so that a crash leaves either the old or the new one.

        Raises:
            EmbeddedError: the folder cannot be written to.
        """
        temporary = self.path / f"{_IDENTITY_FILE}.new"
        try:
            temporary.write_text(json.dumps(asdict(identity)), encoding="ascii")
            temporary.replace(self.path / _IDENTITY_FILE)
        except OSError as error:
            raise EmbeddedError(f"cannot write to the data folder {self.path}: {error.strerror}") from error


def _take(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FolderInUseError(path, os.pread(lock, 32, 0).decode(errors="replace").strip()) from error
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)


def _runs(pid: str) -> bool:
    if not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def free_bytes(path: Path) -> int:
    """Return the free space in bytes on the disk of `path`, as far as an unprivileged user may use it.

    Raises:
        FileNotFoundError: the path does not exist.
    """
    return shutil.disk_usage(path).free


def require_free_space(path: Path, minimum_free_bytes: int) -> None:
    """Check that the disk of `path` has enough free space.

    Args:
        path: an existing folder.
        minimum_free_bytes: what is enough.

    Raises:
        EmbeddedError: it has less than `minimum_free_bytes`.
    """
    free = free_bytes(path)
    if free < minimum_free_bytes:
        raise EmbeddedError(
            f"only {free >> 20} MiB free on the disk under {path}, Kafka wants {minimum_free_bytes >> 20} MiB: "
            "make room, or choose a folder on another disk with --data-dir"
        )
