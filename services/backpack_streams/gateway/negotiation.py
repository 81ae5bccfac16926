"""Reads what a request's headers ask for: an encoding of the body, and whether the client has the answer already. Sans I/O."""

import gzip
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

import zstandard

__all__ = ["best_encoding", "compressed", "entity_tag", "is_known", "single_header"]

COMPRESS_FROM_BYTES: Final = 1_024
"""A smaller body fits one packet anyway."""
_GZIP_LEVEL: Final = 1
_ZSTD_LEVEL: Final = 1
_PREFERRED: Final = ("zstd", "gzip")
_TAG_BYTES: Final = 9

_zstd: Final = zstandard.ZstdCompressor(level=_ZSTD_LEVEL)

Header = tuple[bytes, bytes]


def single_header(headers: Iterable[Header], name: bytes) -> bytes:
    """Return the value of a header; if it is repeated, the values joined by commas (RFC 9110, 5.3); empty without it.

    Args:
        headers: names in lower case, with values.
        name: the name in lower case.
    """
    return b",".join([value for each, value in headers if each == name])


@lru_cache(maxsize=256)
def best_encoding(accepted: bytes) -> str | None:
    """Return `zstd` or `gzip` if the client accepts it, zstd if it rates both alike; None if it accepts neither.

    Args:
        accepted: the value of the Accept-Encoding header (RFC 9110, 12.5.3).
    """
    weights = dict(_weighted(part) for part in accepted.decode("latin-1").lower().split(",") if part.strip())
    anything = weights.get("*", 0.0)
    rated = [(weights.get(name, anything), -number, name) for number, name in enumerate(_PREFERRED)]
    weight, _, name = max(rated)
    return name if weight > 0 else None


def compressed(body: bytes, encoding: str | None) -> tuple[bytes, str | None]:
    """Return the body to send, and its Content-Encoding; None if it is not compressed.

    Args:
        body: the body; a small one is not compressed.
        encoding: `zstd`, `gzip`, or None to not compress.
    """
    if encoding is None or len(body) < COMPRESS_FROM_BYTES:
        return body, None
    if encoding == "zstd":
        return _zstd.compress(body), encoding
    return gzip.compress(body, _GZIP_LEVEL, mtime=0), encoding


def entity_tag(*parts: object) -> bytes:
    """Return a weak entity tag (RFC 9110, 8.8.3): answers with one tag may differ in time, request id and age.

    Args:
        parts: what determines the rest of the answer.
    """
    text = "\0".join(map(str, parts)).encode("utf-8", "replace")
    return b'W/"%b"' % blake2b(text, digest_size=_TAG_BYTES).hexdigest().encode()


def is_known(if_none_match: bytes, tag: bytes) -> bool:
    """Return whether the client has the answer, by the weak comparison (RFC 9110, 13.1.2).

    Args:
        if_none_match: the value of the If-None-Match header; empty without it.
        tag: the entity tag of the answer.
    """
    if not if_none_match:
        return False
    if if_none_match.strip() == b"*":
        return True
    opaque = tag.removeprefix(b"W/")
    return any(each.strip().removeprefix(b"W/") == opaque for each in if_none_match.split(b","))


def _weighted(part: str) -> tuple[str, float]:
    """Return a content coding and its weight (`q`); an unreadable weight counts as 0."""
    name, *options = (each.strip() for each in part.split(";"))
    for option in options:
        if option.startswith("q="):
            try:
                return name, min(max(float(option[2:]), 0.0), 1.0)
            except ValueError:
                return name, 0.0
    return name, 1.0
