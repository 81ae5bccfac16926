"""The envelope that every answer of the read API has, as JSON."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, Final

from backpack_streams.gateway.answers import Answer
from backpack_streams.gateway.errors import RequestError
from backpack_streams.gateway.json_text import Decimals, encode, fields

__all__ = ["digest", "failure", "success"]

_DIGEST_BYTES: Final = 16


def success(answer: Answer, decimals: Decimals, request_id: str, now: datetime) -> bytes:
    """Return the envelope of an answer as JSON. The bytes of `answer.data` are kept in the answer for the next request.

    Args:
        answer: the answer.
        decimals: how prices and quantities are written.
        request_id: the id of the request in the log.
        now: the time of the answer, with a time zone.
    """
    lasting = _encoded(answer, decimals)
    fresh = fields(answer.fresh, decimals) if answer.fresh else b""
    comma = b"," if lasting and fresh else b""
    meta = encode(_meta(request_id, now))
    message = encode(answer.message)
    return b'{"data":{%b%b%b},"meta":%b,"status":"ok","message":%b,"success":true}' % (
        lasting,
        comma,
        fresh,
        meta,
        message,
    )


def digest(answer: Answer, decimals: Decimals) -> bytes:
    """Return a digest of `answer.data` as `success` writes it. Equal data has the same one in every gateway, now and after a restart.

    Args:
        answer: the answer. The digest is kept in it for the next request.
        decimals: how prices and quantities are written.
    """
    name = f"digest of {decimals}"
    found = answer.encoded.get(name)
    if found is None:
        found = answer.encoded[name] = blake2b(_encoded(answer, decimals), digest_size=_DIGEST_BYTES).digest()
    return found


def _encoded(answer: Answer, decimals: Decimals) -> bytes:
    found = answer.encoded.get(decimals)
    if found is None:
        found = answer.encoded[decimals] = fields(answer.data, decimals)
    return found


def failure(error: RequestError, request_id: str, now: datetime) -> bytes:
    """Return the envelope of an error as JSON.

    Args:
        error: its message and its `meta` go into the envelope.
        request_id: the id of the request in the log.
        now: the time of the answer, with a time zone.
    """
    meta = {**_meta(request_id, now), **error.meta}
    return encode({"data": None, "meta": meta, "status": "error", "message": str(error), "success": False})


def _meta(request_id: str, now: datetime) -> Mapping[str, Any]:
    text = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"timestamp": text, "request_id": request_id}
