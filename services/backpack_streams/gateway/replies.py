"""Answers and errors as HTTP responses: envelope, entity tag, caching and compression."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from starlette.responses import Response
from starlette.types import Scope

from backpack_streams.gateway.answers import Answer
from backpack_streams.gateway.envelope import digest, failure, success
from backpack_streams.gateway.errors import RequestError
from backpack_streams.gateway.json_text import Decimals
from backpack_streams.gateway.negotiation import (
    Header,
    best_encoding,
    compressed,
    entity_tag,
    is_known,
    single_header,
)
from backpack_streams.gateway.request_notes import notes_of

__all__ = ["answer_response", "document_response", "failure_response"]

_JSON: Final = (b"content-type", b"application/json")
AGE: Final = "age_ms"
_VARY: Final = (b"vary", b"Accept-Encoding")


def answer_response(scope: Scope, answer: Answer, decimals: Decimals, max_age_seconds: int) -> Response:
    """Return the response of an answer: 304 if the client has it already, otherwise the envelope, compressed if accepted.

    Args:
        scope: the ASGI scope of the request.
        answer: the answer.
        decimals: how prices and quantities are written.
        max_age_seconds: how long the client may use the answer without asking again; 0 if it must always ask.
    """
    headers: list[Header] = scope["headers"]
    tag = entity_tag(scope["path"], scope["query_string"], digest(answer, decimals), _lasting(answer), decimals)
    age = b"private, max-age=%d" % max_age_seconds if max_age_seconds else b"private, no-cache"
    lasting = [(b"etag", tag), (b"cache-control", age), _VARY]
    if is_known(single_header(headers, b"if-none-match"), tag):
        return _response(304, b"", lasting)
    body = success(answer, decimals, notes_of(scope).request_id, datetime.now(UTC))
    body, encoding = compressed(body, best_encoding(single_header(headers, b"accept-encoding")))
    if encoding is not None:
        lasting.append((b"content-encoding", encoding.encode()))
    return _response(200, body, [_JSON, *lasting])


def _lasting(answer: Answer) -> str:
    """Return the fresh fields without the age, which differs with each request."""
    return repr([value for name, value in answer.fresh.items() if name != AGE])


def failure_response(scope: Scope, error: RequestError) -> Response:
    """Return the response of an error.

    Args:
        scope: the ASGI scope of the request.
        error: determines the status, the message and `Retry-After`.
    """
    headers = [_JSON, (b"cache-control", b"no-store")]
    if error.retry_after_seconds is not None:
        headers.append((b"retry-after", str(error.retry_after_seconds).encode()))
    if error.status == 401:
        headers.append((b"www-authenticate", b'ApiKey header="X-API-Key"'))  # RFC 9110, 11.6.1
    return _response(error.status, failure(error, notes_of(scope).request_id, datetime.now(UTC)), headers)


def document_response(scope: Scope, document: bytes, media_type: str) -> Response:
    """Return the response of a document without an envelope, such as `/openapi.json`; 304 if the client has it already.

    Args:
        scope: the ASGI scope of the request.
        document: the document as UTF-8.
        media_type: the value of the header Content-Type.
    """
    headers: list[Header] = scope["headers"]
    tag = entity_tag(document.decode())
    lasting = [(b"etag", tag), (b"cache-control", b"no-cache"), _VARY]
    if is_known(single_header(headers, b"if-none-match"), tag):
        return _response(304, b"", lasting)
    body, encoding = compressed(document, best_encoding(single_header(headers, b"accept-encoding")))
    more = [(b"content-encoding", encoding.encode())] if encoding is not None else []
    return _response(200, body, [(b"content-type", media_type.encode()), *lasting, *more])


def _response(status: int, body: bytes, headers: Iterable[Header]) -> Response:
    response = Response(status_code=status)
    response.body = body
    length = [] if status == 304 else [(b"content-length", str(len(body)).encode())]
    response.raw_headers = [*headers, *length]
    return response
