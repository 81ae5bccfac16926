"""The routes `/openapi.json` and `/docs`. They need no key, because they contain no market data."""

import json
from collections.abc import Iterable
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from backpack_streams.gateway.endpoint import Endpoint
from backpack_streams.gateway.reference.openapi import openapi
from backpack_streams.gateway.reference.page import reference_page
from backpack_streams.gateway.replies import document_response

__all__ = ["docs_routes"]

_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'self'"
)


def docs_routes(endpoints: Iterable[Endpoint], *, needs_key: bool) -> list[Route]:
    """Return the routes. The documents are generated here, once.

    Args:
        endpoints: the endpoints, in the order of the document.
        needs_key: whether requests need an API key.
    """
    document = openapi(endpoints, needs_key=needs_key)
    here = files(__package__)
    served = {
        "/openapi.json": (json.dumps(document, separators=(",", ":")).encode(), "application/json"),
        "/docs": (reference_page(document), "text/html; charset=utf-8"),
        "/docs/page.css": ((here / "page.css").read_bytes(), "text/css; charset=utf-8"),
        "/docs/page.js": ((here / "page.js").read_bytes(), "text/javascript; charset=utf-8"),
    }
    return [_route(path, body, media_type) for path, (body, media_type) in served.items()]


def _route(path: str, body: bytes, media_type: str) -> Route:
    async def serve(request: Request) -> Response:
        response = document_response(request.scope, body, media_type)
        response.headers["Content-Security-Policy"] = _POLICY
        return response

    return Route(path, serve, name=path)
