"""The outermost layer of the read API: request ids, CORS, the access log, and an envelope for any failure inside."""

import logging
import time
from collections.abc import Iterable
from http import HTTPStatus
from typing import Final

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from backpack_streams.gateway.api_keys import KEY_PATTERN
from backpack_streams.gateway.cross_origin import CrossOrigin
from backpack_streams.gateway.errors import RequestError
from backpack_streams.gateway.http_measures import RequestMeasures
from backpack_streams.gateway.negotiation import Header, single_header
from backpack_streams.gateway.replies import failure_response
from backpack_streams.gateway.request_notes import RequestNotes, notes_of
from backpack_streams.shown_text import HIDDEN, one_line

__all__ = ["HttpFront", "NoSuchPathError", "front"]

_LOGGED_PATH_CHARACTERS: Final = 200
_NO_SNIFFING: Final = (b"x-content-type-options", b"nosniff")

logger = logging.getLogger(__name__)


class NoSuchPathError(RequestError):
    """There is no such path."""

    status = HTTPStatus.NOT_FOUND


class WrongMethodError(RequestError):
    """The path does not support this method."""

    status = HTTPStatus.METHOD_NOT_ALLOWED


class BrokenError(RequestError):
    """The gateway itself failed."""

    status = HTTPStatus.INTERNAL_SERVER_ERROR


def front(
    routes: Iterable[BaseRoute], cross_origin: CrossOrigin, measures: RequestMeasures, *, access_log: bool = True
) -> ASGIApp:
    """Return the ASGI application of these routes.

    Args:
        routes: all routes of the gateway.
        cross_origin: the sites whose pages may use it.
        measures: counts the requests.
        access_log: whether to log each request, without its key.
    """
    inner = Starlette(
        routes=list(routes),
        exception_handlers={HTTPException: _on_http_error, RequestError: _on_request_error, Exception: _on_failure},
    )
    inner.router.redirect_slashes = False
    return HttpFront(inner, cross_origin, measures, access_log=access_log)


class HttpFront:
    """Wraps an ASGI application: adds headers to its answers, counts and logs them, and answers for it if it fails."""

    def __init__(
        self, inner: ASGIApp, cross_origin: CrossOrigin, measures: RequestMeasures, *, access_log: bool
    ) -> None:
        """Prepare.

        Args:
            inner: the application.
            cross_origin: the sites whose pages may use it.
            measures: counts the requests.
            access_log: whether to log each request, without its key.
        """
        self._inner = inner
        self._cross_origin = cross_origin
        self._measures = measures
        self._logs_access = access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or one WebSocket."""
        notes = notes_of(scope)
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        origin = single_header(scope["headers"], b"origin")
        more = [
            (b"x-request-id", notes.request_id.encode()),
            _NO_SNIFFING,
            *self._cross_origin.response_headers(origin),
        ]

        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                notes.status = message["status"]
                message["headers"] = [*message["headers"], *more]
            else:
                notes.body_bytes += len(message.get("body", b""))
            await send(message)

        try:
            if not await self._answered_preflight(scope, origin, receive, noting_send):
                await self._inner(scope, receive, noting_send)
        except Exception:  # the client has its envelope; the server and its other clients go on
            logger.exception("a request failed", extra={"request_id": notes.request_id, "path": _shown(scope)})
            if not notes.status:
                await _failed(scope)(scope, receive, noting_send)
        finally:
            self._measures.note(notes.status, None if notes.is_stream else time.monotonic() - notes.started)
            if self._logs_access:
                _log(scope, notes)

    async def _answered_preflight(self, scope: Scope, origin: bytes, receive: Receive, send: Send) -> bool:
        """Answer a browser's preflight request. Returns False if it is none, or if no other site is allowed."""
        if scope["method"] != "OPTIONS" or not single_header(scope["headers"], b"access-control-request-method"):
            return False
        headers = self._cross_origin.preflight_headers(origin)
        if not headers:
            return False
        known = {name for name, _ in self._cross_origin.response_headers(origin)}
        fresh: list[Header] = [(name, value) for name, value in headers if name not in known]
        response = Response(status_code=204)
        response.raw_headers = fresh
        await response(scope, receive, send)
        return True


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        response = failure_response(request.scope, WrongMethodError("only GET and HEAD are answered here"))
        response.raw_headers.append((b"allow", b"GET, HEAD"))
        return response
    return failure_response(
        request.scope,
        NoSuchPathError("nothing is served under this path; /v1/meta lists the endpoints, /docs describes them"),
    )


async def _on_request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return failure_response(request.scope, error)


async def _on_failure(request: Request, error: Exception) -> Response:
    return _failed(request.scope)


def _failed(scope: Scope) -> Response:
    message = f"the gateway failed to answer; its log says why under request id {notes_of(scope).request_id}"
    return failure_response(scope, BrokenError(message))


def _log(scope: Scope, notes: RequestNotes) -> None:
    client = scope.get("client")
    logger.info(
        "request",
        extra={
            "request_id": notes.request_id,
            "client": client[0] if client else None,
            "method": scope["method"],
            "path": _shown(scope),
            "parameters": notes.parameters,
            "key": notes.key_id,
            "status": notes.status,
            "bytes": notes.body_bytes,
            "ms": round((time.monotonic() - notes.started) * 1000, 3),
        },
    )


def _shown(scope: Scope) -> str:
    """Return the path for the log, with any key in it hidden."""
    return KEY_PATTERN.sub(HIDDEN, one_line(scope["path"], _LOGGED_PATH_CHARACTERS))
