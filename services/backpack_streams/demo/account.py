"""An account at the sandbox, so that the demo shows private streams too. Its key is created once per data folder."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from backpack_streams.demo.errors import DemoError

__all__ = ["DemoAccount"]


class DemoAccount:
    """`key_file` holds the private key in the users' format; the sandbox takes `public_key`."""

    def __init__(self, key_file: Path) -> None:
        """Read the key from the file, or create one that only this user may read.

        Args:
            key_file: the private key (ED25519), base64 of its 32 bytes.

        Raises:
            DemoError: the file cannot be written, or does not hold a key.
        """
        self.key_file = key_file
        try:
            if not key_file.exists():
                key_file.touch(mode=0o600)
                key_file.write_text(base64.b64encode(Ed25519PrivateKey.generate().private_bytes_raw()).decode() + "\n")
            private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(key_file.read_text(), validate=False))
        except (OSError, ValueError) as error:
            raise DemoError(
                f"the demo's key {key_file} cannot be used ({error}): remove it, and a new one is made"
            ) from None
        self.public_key = base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
