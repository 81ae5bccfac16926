"""ED25519 keys, and the signature that the exchange requires with every subscription of a private stream. Sans I/O.

The private key never leaves its object: it is not in `repr`, in errors, or in anything that is sent.
"""

import base64
import binascii
import re
from collections.abc import Callable
from typing import NamedTuple

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from backpack_streams.errors import UsageError

SEED_BYTES = 32
DEFAULT_WINDOW_MS = 5_000
LONGEST_WINDOW_MS = 60_000
"""The maximum validity of a signature (exchange's API documentation)."""

_PEM = re.compile(r"\A\s*-----BEGIN [A-Z0-9 ]+-----")
_WHAT_IT_TAKES = "use the private key as Backpack shows it (base64 of 32 bytes), or an ED25519 key as PEM"


class Signature(NamedTuple):
    """The signature part of a SUBSCRIBE frame.

    Attributes:
        verifying_key: the public key, base64.
        signature: the signature, base64.
        timestamp_ms: when it was signed (ms since the Unix epoch), as text.
        window_ms: how long it is valid (ms), as text.
    """

    verifying_key: str
    signature: str
    timestamp_ms: str
    window_ms: str


class SigningKey:
    """An ED25519 private key that signs, and exposes only its public half."""

    __slots__ = ("__private", "public_key")

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self.__private = private
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public_key = base64.b64encode(raw).decode()

    @classmethod
    def from_text(cls, text: str) -> "SigningKey":
        """Return a key from base64 of its 32-byte seed, or from PEM (PKCS 8, not encrypted).

        Raises:
            UsageError: it is not such a key; the message repeats nothing of the text.
        """
        if _PEM.match(text):
            return cls(_from_pem(text.encode()))
        try:
            seed = base64.b64decode("".join(text.split()).encode(), validate=True)
        except (binascii.Error, ValueError):  # the chained error could hold pieces of the text
            raise UsageError(f"the private key is not base64; {_WHAT_IT_TAKES}") from None
        if len(seed) != SEED_BYTES:
            raise UsageError(
                f"the private key has {len(seed)} bytes instead of the {SEED_BYTES} of an ED25519 seed; {_WHAT_IT_TAKES}"
            )
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    def sign(self, message: bytes) -> str:
        """The signature of `message`, in base64."""
        return base64.b64encode(self.__private.sign(message)).decode()

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self.public_key!r})"

    def __reduce__(self) -> str:
        raise TypeError("a private key must not be copied or pickled")


def _from_pem(text: bytes) -> Ed25519PrivateKey:
    try:
        key = load_pem_private_key(text, password=None)
    except TypeError:
        raise UsageError(
            "the private key is encrypted; store it without a password, in a file that only this service can read"
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"the private key is unreadable PEM; {_WHAT_IT_TAKES}") from None
    if not isinstance(key, Ed25519PrivateKey):
        kind = type(key).__name__.lstrip("_").removesuffix("PrivateKey")
        raise UsageError(f"the private key is of type {kind}, but the exchange accepts only ED25519; {_WHAT_IT_TAKES}")
    return key


def subscription_message(timestamp_ms: int, window_ms: int) -> bytes:
    """Return the text to sign for a subscription (exchange's API documentation, "Authentication").

    Args:
        timestamp_ms: the time of signing (ms since the Unix epoch).
        window_ms: how long the signature is valid (ms).
    """
    return f"instruction=subscribe&timestamp={timestamp_ms}&window={window_ms}".encode()


class SubscriptionSigner:
    """Signs subscriptions with the time at which they are sent: call it right before sending, and never keep the result."""

    def __init__(self, key: SigningKey, now_ms: Callable[[], int], window_ms: int = DEFAULT_WINDOW_MS) -> None:
        """Prepare.

        Args:
            key: the private key.
            now_ms: returns the exchange's time (ms since the Unix epoch).
            window_ms: how long a signature is valid (ms), at most `LONGEST_WINDOW_MS`.
        """
        self._key = key
        self._now_ms = now_ms
        self._window_ms = window_ms
        self.signatures = 0

    @property
    def public_key(self) -> str:
        """The verifying key, base64."""
        return self._key.public_key

    def __call__(self) -> Signature:
        """A signature valid from now on, for the window."""
        self.signatures += 1
        timestamp_ms, window_ms = self._now_ms(), self._window_ms
        signature = self._key.sign(subscription_message(timestamp_ms, window_ms))
        return Signature(self._key.public_key, signature, str(timestamp_ms), str(window_ms))
