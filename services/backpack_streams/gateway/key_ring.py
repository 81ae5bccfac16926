"""The keys of a running gateway: finds the caller of a key, and ends the caller when its key is revoked.

A key is checked against its scrypt hash once. After that its SHA-256 is kept in memory until the file of keys changes it.
"""

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from backpack_streams.credentials import Renewed
from backpack_streams.gateway.access_errors import KeyRefusedError
from backpack_streams.gateway.api_keys import KeyEntry, id_of
from backpack_streams.gateway.key_file import KeyFile
from backpack_streams.gateway.quotas import Quota

__all__ = ["Caller", "KeyRing"]

LOOK_SECONDS: Final = 0.5
"""Time between two looks at the file."""
_HASHES_AT_ONCE: Final = 2
_REMEMBERED_AT_MOST: Final = 10_000

logger = logging.getLogger(__name__)


class Caller:
    """The owner of a key, with its quota; or anybody, if no key is needed.

    Attributes:
        entry: what the file of keys holds about the key; None if no key is needed.
        is_valid: False once the key is revoked.
    """

    def __init__(self, entry: KeyEntry | None, quota: Quota | None) -> None:
        """Start without requests.

        Args:
            entry: the entry of the key; None if no key is needed.
            quota: counts the requests of the key; None for no limit.
        """
        self.entry = entry
        self._quota = quota
        self._on_end: set[Callable[[], None]] = set()
        self.is_valid = True

    @property
    def key_id(self) -> str | None:
        """The public part of the key; None if no key is needed."""
        return None if self.entry is None else self.entry.key_id

    def admit(self) -> None:
        """Count a request.

        Raises:
            TooManyRequestsError: the request exceeds the quota; the error says when the next one is admitted.
        """
        if self._quota is not None:
            self._quota.admit(time.monotonic(), datetime.now(UTC))

    def follow_end(self, on_end: Callable[[], None]) -> Callable[[], None]:
        """Call `on_end` once the key is no longer valid.

        Args:
            on_end: called without arguments, in the event loop.

        Returns:
            A function that removes `on_end`.
        """
        self._on_end.add(on_end)
        return lambda: self._on_end.discard(on_end)

    def update(self, entry: KeyEntry) -> None:
        """Replace the entry by the one that the file has now, including the limits of its tier."""
        self.entry = entry
        if self._quota is not None and self._quota.tier != entry.limits:
            self._quota.tier = entry.limits

    def end(self) -> None:
        """Mark the key as no longer valid, and call all that `follow_end` added."""
        self.is_valid = False
        for on_end in list(self._on_end):
            on_end()


class KeyRing:
    """Finds the caller of a key. Without a file of keys, everybody is admitted."""

    def __init__(self, file: KeyFile | None) -> None:
        """Read the file.

        Args:
            file: the file of keys; None if no key is needed.

        Raises:
            UsageError: the file cannot be read, or does not contain keys.
        """
        self._anybody = Caller(None, None)
        self._callers: dict[str, Caller] = {}
        self._verified: dict[bytes, str] = {}
        self._checks = asyncio.Semaphore(_HASHES_AT_ONCE)
        self._file = None if file is None else Renewed([file.path], file.read)
        self._entries: dict[str, KeyEntry] = {}
        self.look()

    @property
    def is_open(self) -> bool:
        """Whether requests need no key, because there is no file of keys."""
        return self._file is None

    def look(self) -> None:
        """Apply the current contents of the file: update the callers, and end those whose keys were revoked, removed or replaced.

        If the file has become unusable, its last valid contents stay in force.
        """
        if self._file is None:
            return
        entries = self._file.current()
        if entries is self._entries:
            return
        before, self._entries = self._entries, entries
        valid = {
            key_id for key_id, old in before.items() if self._is_valid(key_id) and entries[key_id].hash == old.hash
        }
        self._verified = {digest: key_id for digest, key_id in self._verified.items() if key_id in valid}
        for key_id, caller in list(self._callers.items()):
            if key_id in valid:
                caller.update(entries[key_id])
            else:
                del self._callers[key_id]
                caller.end()

    async def watch(self) -> None:
        """Look at the file every half second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.look()

    def known(self, key: str | None) -> Caller | None:
        """Return the caller if that needs no hash: the key was checked before, or no key is needed. Otherwise return None.

        Args:
            key: the key; None if the request has none.

        Raises:
            KeyRefusedError: a key is needed and the request has none.
        """
        if self._file is None:
            return self._anybody
        if key is None:
            raise KeyRefusedError("a key is needed; send it in the header X-API-Key")
        key_id = self._verified.get(_digest(key))
        return None if key_id is None else self._callers[key_id]

    async def caller(self, key: str | None) -> Caller:
        """Return the caller of a key.

        A new key is hashed in a thread, which takes tens of milliseconds; at most two are hashed at the same time.

        Args:
            key: the key; None if the request has none.

        Raises:
            KeyRefusedError: a key is needed, and this one is missing, unknown, wrong or revoked.
        """
        known = self.known(key)
        if known is not None or key is None:
            return known or self._anybody
        entry = self._entries.get(id_of(key) or "")
        if entry is None or entry.revoked or not entry.may_match(key):
            raise _refused()
        async with self._checks:
            is_right = self.known(key) is not None or await asyncio.to_thread(entry.matches, key)
        now = self._entries.get(entry.key_id)  # the file may have changed meanwhile
        if not is_right or now is None or now.revoked or now.hash != entry.hash:
            raise _refused()
        if len(self._verified) >= _REMEMBERED_AT_MOST:
            self._verified.clear()
        self._verified[_digest(key)] = entry.key_id
        if entry.key_id not in self._callers:
            self._callers[entry.key_id] = Caller(now, Quota(now.limits))
        return self._callers[entry.key_id]

    def _is_valid(self, key_id: str) -> bool:
        entry = self._entries.get(key_id)
        return entry is not None and not entry.revoked


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()


def _refused() -> KeyRefusedError:
    return KeyRefusedError("the key is unknown or revoked; `backpack-streams keys list` shows the valid ones")
