"""API keys: how one is generated, what is stored of it, and how the key of a request is checked.

A key is `bps_<id>_<secret>`. The id finds the entry. Of the secret only a scrypt hash (RFC 7914) and 32 bits of its SHA-256 are stored.
These bits are worth nothing to a guesser, since the secret has 256 random bits. With them the gateway refuses nearly every wrong key
without the costly hash, so that a flood of wrong keys does not slow it down.
"""

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final, Self

from backpack_streams.errors import UsageError
from backpack_streams.gateway.tiers import TIERS, Tier

__all__ = ["KEY_PATTERN", "KeyEntry", "id_of", "new_key"]

KEY_PATTERN: Final = re.compile(r"bps_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_SECRET_BYTES: Final = 32
_ID_BYTES: Final = 6
_SALT_BYTES: Final = 16
_CHECK_CHARACTERS: Final = 8
_SCRYPT_N: Final = 1 << 14
_SCRYPT_R: Final = 8
_SCRYPT_MEMORY_BYTES: Final = 64 << 20


@dataclass(frozen=True)
class KeyEntry:
    """What is stored of a key.

    Attributes:
        key_id: its public part, for logs and lists.
        name: whose key it is.
        tier: the name of its tier.
        salt: the salt of the hash, in hexadecimal.
        hash: scrypt of the secret, in hexadecimal.
        check: the first 32 bits of the secret's SHA-256, in hexadecimal.
        created: when it was created (ISO 8601, UTC, whole seconds).
        revoked: when it was revoked, in the same form; None while it is valid.
    """

    key_id: str
    name: str
    tier: str
    salt: str
    hash: str
    check: str
    created: str
    revoked: str | None = None

    @property
    def limits(self) -> Tier:
        """The limits of its tier."""
        return TIERS[self.tier]

    def may_match(self, key: str) -> bool:
        """Return whether `key` passes the quick check, which only one wrong key in four billion does."""
        return hmac.compare_digest(_check_of(_secret_of(key)), self.check)

    def matches(self, key: str) -> bool:
        """Return whether `key` is the one that was issued. This takes tens of milliseconds: call it off the event loop."""
        return hmac.compare_digest(_hash(_secret_of(key), bytes.fromhex(self.salt)), self.hash)

    def revoke(self, now: datetime) -> Self:
        """Return a revoked copy of the entry. A copy of a revoked entry keeps the first time of revocation.

        Args:
            now: the time of the revocation, with a time zone.
        """
        return replace(self, revoked=self.revoked or _text(now))

    def to_json(self) -> dict[str, Any]:
        """Return the entry as the JSON object that the file holds."""
        return dict(vars(self))

    @classmethod
    def from_json(cls, row: Any) -> Self:
        """Return the entry of a JSON object of the file.

        Args:
            row: the decoded object.

        Raises:
            UsageError: it lacks a field, has an unknown one, or names an unknown tier.
        """
        try:
            entry = cls(**row)
            if not all(
                isinstance(value, str) or (name, value) == ("revoked", None) for name, value in vars(entry).items()
            ):
                raise TypeError("a field is no text")
            bytes.fromhex(entry.salt), bytes.fromhex(entry.hash)
        except (TypeError, ValueError):
            raise UsageError("an entry has not the fields that `backpack-streams keys add` writes") from None
        if entry.tier not in TIERS:
            raise UsageError(f"key {entry.key_id} has tier {entry.tier!r}; there are {', '.join(TIERS)}")
        return entry


def new_key(name: str, tier: str, now: datetime) -> tuple[str, KeyEntry]:
    """Generate a key.

    Args:
        name: whose key it is.
        tier: the name of its tier.
        now: the time of creation, with a time zone.

    Returns:
        The key, to be shown once, and the entry to store.
    """
    key_id, secret, salt = (
        secrets.token_hex(_ID_BYTES),
        secrets.token_urlsafe(_SECRET_BYTES),
        secrets.token_bytes(_SALT_BYTES),
    )
    entry = KeyEntry(key_id, name, tier, salt.hex(), _hash(secret, salt), _check_of(secret), _text(now))
    return f"bps_{key_id}_{secret}", entry


def id_of(key: str) -> str | None:
    """Return the public part of a key; None if the text does not have the form of a key."""
    match = KEY_PATTERN.fullmatch(key)
    return match[1] if match else None


def _secret_of(key: str) -> str:
    return key.split("_", maxsplit=2)[-1]


def _hash(secret: str, salt: bytes) -> str:
    return hashlib.scrypt(
        secret.encode(), salt=salt, n=_SCRYPT_N, r=_SCRYPT_R, p=1, maxmem=_SCRYPT_MEMORY_BYTES, dklen=32
    ).hex()


def _check_of(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()[:_CHECK_CHARACTERS]


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")
