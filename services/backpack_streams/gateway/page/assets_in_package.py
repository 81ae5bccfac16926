"""The files of the page, read from the package once, each with its media type and ETag."""

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import NamedTuple

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "mjs": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "woff2": "font/woff2",
}
"""By suffix. Files of another kind, such as licences, are served as plain text."""
_PLAIN_TEXT = "text/plain; charset=utf-8"


class Asset(NamedTuple):
    """One file.

    Attributes:
        body: its bytes.
        media_type: the value of the header Content-Type.
        etag: a strong entity tag with its quotes: the first 128 bits of the SHA-256 of `body`.
    """

    body: bytes
    media_type: str
    etag: str


def read_assets() -> dict[str, Asset]:
    """Return all files below `assets/`, by their path in it, with `/` between its parts."""
    return dict(_below(files(__package__) / "assets", ""))


def _below(folder: Traversable, path: str) -> list[tuple[str, Asset]]:
    found: list[tuple[str, Asset]] = []
    for entry in folder.iterdir():
        if entry.is_dir():
            found += _below(entry, f"{path}{entry.name}/")
        else:
            found.append((path + entry.name, _asset(entry.name, entry.read_bytes())))
    return found


def _asset(name: str, body: bytes) -> Asset:
    media_type = MEDIA_TYPES.get(name.rpartition(".")[2], _PLAIN_TEXT)
    return Asset(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')
