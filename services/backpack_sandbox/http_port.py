"""One HTTP port of the sandbox, and the answers that Starlette does not know: none at all, and JSON as the exchange labels it."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from backpack_streams.runtime.http_protocol import HttpProtocol
from backpack_streams.runtime.http_server import HttpServer

JSON_TYPE: Final = "application/json; charset=utf-8"

_CUT: Final = "backpack_sandbox.cut"
"""Name of the ASGI extension that cuts the connection."""
_VERY_LONG_SECONDS: Final = 3600


class JsonResponse(JSONResponse):
    """An answer in compact JSON."""

    media_type = JSON_TYPE


class CutConnection(Response):
    """No answer: the connection is cut."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Cut it, and wait until it is gone."""
        scope["extensions"][_CUT]["now"]()
        while (await receive())["type"] != "http.disconnect":
            pass


def answer_like(response: Response, headers: Mapping[str, str], body: bytes | memoryview | None = None) -> Response:
    """Return `response` with further headers, and with another body if one is given.

    Args:
        response: its status and headers are kept, except `content-length`.
        headers: they replace headers of the same name (in lower case).
        body: the new body; None keeps the body.
    """
    kept = {name: value for name, value in response.headers.items() if name != "content-length"}
    return Response(response.body if body is None else body, response.status_code, {**kept, **headers})


def target_of(request: Request) -> str:
    """Return the path with its query, as it was sent."""
    path: bytes = request.scope["raw_path"]
    query: bytes = request.scope["query_string"]
    return (path + b"?" + query if query else path).decode("latin-1")


def http_port(answer: Callable[[Request], Awaitable[Response]]) -> HttpServer:
    """Return a server, to be started with `start` and ended with `drop`, whose requests `answer` answers.

    It sends no `Date` header, and ends no connection by itself within an hour.

    Args:
        answer: takes a request; its body is not read yet.
    """

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(asyncio.CancelledError):  # the process ends while a fault delays the answer
            response = await answer(Request(scope, receive))
            await response(scope, receive, send)

    return HttpServer(application, _Protocol, date_header=False, timeout_keep_alive=_VERY_LONG_SECONDS)


class _Protocol(HttpProtocol):
    """Never ends a connection by itself, since only faults should, and knows how to cut it."""

    head_bytes = 1024 * 1024
    head_seconds = _VERY_LONG_SECONDS
    stall_seconds = _VERY_LONG_SECONDS

    def on_message_begin(self) -> None:
        """Give the application the means to cut the connection."""
        super().on_message_begin()
        self.scope["extensions"] = {_CUT: {"now": self.transport.abort}}
