"""A key for an account of the sandbox, stored as users store theirs."""

import base64
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class Key:
    """A new key; its private half is in a file that only this user can read."""

    def __init__(self, folder: Path, name: str = "key") -> None:
        private = Ed25519PrivateKey.generate()
        self.private = base64.b64encode(private.private_bytes_raw()).decode()
        self.public = base64.b64encode(private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
        self.file = folder / name
        self.file.touch(mode=0o600)
        self.file.write_text(self.private + "\n")
