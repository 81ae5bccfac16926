"""The two routes of the page: `/` and `/assets/…`. Neither needs a key, because they contain no market data."""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from backpack_streams.gateway.page.assets_in_package import Asset, read_assets

CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""No inline script or style, and no other host. The charts draw their cursor with `data:` images."""
_HEADERS = {
    # A browser asks each time and mostly hears 304: after an update of the gateway no old module meets a new one.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def routes() -> Sequence[BaseRoute]:
    """Return the routes of the page. Its files are read here, once."""
    assets = read_assets()

    async def index(request: Request) -> Response:
        return _answer(request, assets["index.html"])

    async def asset(request: Request) -> Response:
        found = assets.get(request.path_params["path"])
        return Response("There is no such file.", 404, _HEADERS) if found is None else _answer(request, found)

    return [Route("/", index), Route("/assets/{path:path}", asset)]


def _answer(request: Request, asset: Asset) -> Response:
    headers = {**_HEADERS, "ETag": asset.etag}
    if asset.etag in _named_etags(request):
        return Response(status_code=304, headers=headers)
    return Response(asset.body, headers=headers, media_type=asset.media_type)


def _named_etags(request: Request) -> set[str]:
    """Return the ETags that the client has. A proxy that compresses turns ours into weak ones (RFC 9110, 13.1.2)."""
    names = request.headers.get("if-none-match", "").split(",")
    return {name.strip().removeprefix("W/") for name in names}
