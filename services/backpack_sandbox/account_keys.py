"""Access to the account: registered ED25519 keys, and the check of a subscription's signature. Sans I/O.

The exchange's error frame for a refused signature is not documented and was not observed. Assumed here: the REST API's
words (it answers `Request has expired` to an old timestamp), in error frames with codes next to the known ones.
"""

import base64
import binascii
from collections.abc import Iterable
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from backpack_sandbox.streams import PARSE_ERROR, WireError
from backpack_streams.errors import UsageError

REQUEST_EXPIRED = WireError(4001, "Request has expired")
UNAUTHORIZED = WireError(4003, "Unauthorized")
INVALID_SIGNATURE = WireError(4005, "Invalid signature")

LONGEST_WINDOW_MS = 60_000
_WITHOUT_PERMISSION = ":no-permission"
_KEY_BYTES = 32


class AccountKeys:
    """The public keys of the account: all of them belong to the same account.

    Args:
        texts: base64 of 32 bytes each; a key with the suffix `:no-permission` is known but may not subscribe.

    Raises:
        UsageError: a text is not such a key.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._keys: dict[str, tuple[Ed25519PublicKey, bool]] = {}
        for text in texts:
            key = text.removesuffix(_WITHOUT_PERMISSION)
            try:
                raw = base64.b64decode(key.encode(), validate=True)
            except (binascii.Error, UnicodeError):
                raw = b""
            if len(raw) != _KEY_BYTES:
                raise UsageError(f"--account-key {text!r} is no public key: give base64 of {_KEY_BYTES} bytes")
            self._keys[key] = Ed25519PublicKey.from_public_bytes(raw), key == text

    def __len__(self) -> int:
        return len(self._keys)

    def refusal(self, signature: Any, now_ms: int) -> WireError | None:
        """Check the signature of a subscription to private streams.

        The signed text is `instruction=subscribe&timestamp=…&window=…`, and the window is at most 60,000 ms.

        Args:
            signature: the value of `signature` in the request: key, signature (both base64), timestamp and window (ms),
                each as text or number. Any JSON value is accepted and checked.
            now_ms: the exchange's clock, ms since the Unix epoch.

        Returns:
            The error that answers the subscription; None if the signature is valid and the key may subscribe.
        """
        parts = _parts(signature)
        if parts is None:
            return PARSE_ERROR
        key_text, signed, timestamp_ms, window_ms = parts
        if not 0 < window_ms <= LONGEST_WINDOW_MS or abs(now_ms - timestamp_ms) > window_ms:
            return REQUEST_EXPIRED
        if key_text not in self._keys:
            return INVALID_SIGNATURE
        key, may_subscribe = self._keys[key_text]
        try:
            key.verify(signed, f"instruction=subscribe&timestamp={timestamp_ms}&window={window_ms}".encode())
        except InvalidSignature:
            return INVALID_SIGNATURE
        return None if may_subscribe else UNAUTHORIZED


def _parts(signature: Any) -> tuple[str, bytes, int, int] | None:
    if not isinstance(signature, list) or len(signature) != 4:
        return None
    key, signed, timestamp, window = map(str, signature)
    try:
        return key, base64.b64decode(signed.encode(), validate=True), int(timestamp), int(window)
    except (ValueError, UnicodeError):
        return None
