"""The usual alternative to the gateway: a FastAPI facade that asks the exchange's REST API, with a cache of one second.

`--empty` serves an empty Starlette answer instead: the cost of the server itself.
"""

import argparse
import time
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.applications import Starlette
from starlette.routing import Route

_CACHE_SECONDS = 1.0


def facade(rest_url: str) -> FastAPI:
    """The only endpoint of the facade that is measured."""
    app, client = FastAPI(), httpx.AsyncClient(base_url=rest_url, trust_env=False)
    kept: dict[str, tuple[float, Any]] = {}

    @app.get("/v1/orderbook")  # type: ignore[untyped-decorator]  # FastAPI is not installed where types are checked
    async def orderbook(symbol: str, depth: int = 25) -> JSONResponse:
        until, book = kept.get(symbol, (0.0, None))
        if time.monotonic() >= until:
            book = (await client.get("/api/v1/depth", params={"symbol": symbol})).raise_for_status().json()
            kept[symbol] = time.monotonic() + _CACHE_SECONDS, book
        data = {
            "symbol": symbol,
            "asks": [{"price": float(price), "size": float(size)} for price, size in book["asks"][:depth]],
            "bids": [{"price": float(price), "size": float(size)} for price, size in book["bids"][: -depth - 1 : -1]],
            "last_update_id": int(book["lastUpdateId"]),
        }
        return JSONResponse({"data": data, "status": "ok", "message": "Order book retrieved", "success": True})

    return app


def empty() -> Starlette:
    """An empty answer."""

    async def nothing(_: Any) -> Response:
        return Response()

    return Starlette(routes=[Route("/", nothing)])


def main() -> None:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--rest-url", default="")
    parser.add_argument("--empty", action="store_true")
    arguments = parser.parse_args()
    app = empty() if arguments.empty else facade(arguments.rest_url)
    uvicorn.run(app, host="127.0.0.1", port=arguments.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
