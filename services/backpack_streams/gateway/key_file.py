"""The file of API keys: always read and replaced as a whole, and readable by its owner only."""

import contextlib
import fcntl
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from backpack_streams.errors import UsageError
from backpack_streams.gateway.api_keys import KeyEntry, new_key
from backpack_streams.gateway.tiers import TIERS

__all__ = ["KeyFile"]

_VERSION: Final = 1
_OWNER_ONLY: Final = 0o600
_MAX_BYTES: Final = 16 << 20


class KeyFile:
    """The keys in one file. Several programs may change it; each holds the lock file `<file>.lock` meanwhile.

    Attributes:
        path: the file, which need not exist before `add`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> dict[str, KeyEntry]:
        """Return the entries by key id.

        Raises:
            UsageError: the file cannot be read, or does not contain keys.
        """
        try:
            text = self.path.read_bytes()[:_MAX_BYTES]
            document = json.loads(text)
        except OSError as error:
            raise UsageError(f"the file of keys {self.path} cannot be read: {error.strerror}") from None
        except (ValueError, RecursionError):  # the second for what is nested too deeply
            raise UsageError(f"{self.path} is no file of keys; `backpack-streams keys add` makes one") from None
        if not isinstance(document, dict) or document.get("version") != _VERSION:
            raise UsageError(
                f"{self.path} is no file of keys of version {_VERSION}; `backpack-streams keys add` makes one"
            )
        rows = document.get("keys")
        if not isinstance(rows, list):
            raise UsageError(f"{self.path} has no list of keys")
        entries = [KeyEntry.from_json(row) for row in rows]
        return {entry.key_id: entry for entry in entries}

    def add(self, name: str, tier: str, now: datetime) -> tuple[str, KeyEntry]:
        """Create a key and store its entry; create the file if it does not exist.

        Args:
            name: whose key it is.
            tier: the name of a tier in `TIERS`.
            now: the time of creation, with a time zone.

        Returns:
            The key, which cannot be recovered later, and its entry.

        Raises:
            UsageError: there is no such tier, or the file cannot be read or changed, or does not contain keys.
        """
        if tier not in TIERS:
            raise UsageError(f"there is no tier {tier!r}; there are {', '.join(TIERS)}")
        with self._locked():
            entries = self.read() if self.path.exists() else {}
            key, entry = new_key(name, tier, now)
            self._write({**entries, entry.key_id: entry})
        return key, entry

    def revoke(self, key_id: str, now: datetime) -> KeyEntry:
        """Revoke a key and return its entry. Running gateways end its streams within a second.

        Args:
            key_id: the public part of the key.
            now: the time of the revocation, with a time zone. A key that was revoked before keeps the earlier time.

        Raises:
            UsageError: the file has no such key, cannot be read or changed, or does not contain keys.
        """
        with self._locked():
            entries = self.read()
            if key_id not in entries:
                raise UsageError(f"{self.path} has no key {key_id!r}; `backpack-streams keys list` shows their ids")
            revoked = entries[key_id].revoke(now)
            self._write({**entries, key_id: revoked})
        return revoked

    def _write(self, entries: Mapping[str, KeyEntry]) -> None:
        """Replace the file in one step, so that no reader sees half of it, and a crash leaves the old one."""
        document = {"version": _VERSION, "keys": [entry.to_json() for entry in entries.values()]}
        handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f".{self.path.name}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                os.fchmod(file.fileno(), _OWNER_ONLY)
                json.dump(document, file, indent=1)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
            raise

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        lock = self.path.with_name(f"{self.path.name}.lock")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(os.open(lock, os.O_CREAT | os.O_RDWR, _OWNER_ONLY), "w") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
        except OSError as error:
            raise UsageError(f"{self.path} cannot be changed: {error.strerror}") from None
