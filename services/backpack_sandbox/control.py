"""The sandbox's own HTTP API: shows its truth, starts its flow, takes orders for faults."""

import json
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from backpack_sandbox.faults import FaultBox, FaultError
from backpack_sandbox.http_port import JsonResponse
from backpack_sandbox.ledger import Ledger
from backpack_sandbox.venue import Venue


class ControlApi:
    """Answers `GET /state`, `/books[/SYMBOL]`, `/sequences`, `/account`, `/ledger[/SYMBOL]`, `/faults`;
    `POST /play`, `/finish`, `/faults`; `DELETE /faults`.

    `/books/SYMBOL?at=UPDATE_ID` and `?time=MICROSECONDS` are past books. `/ledger?since=MICROSECONDS&streams=depth,trade` lists
    all messages from that time on. Both need the ledger.

    Args:
        venue: the truth.
        faults: active faults.
        state: returns the answer of `/state`.
        play: begins the flow.
        finish: ends the flow.
        order: starts a fault from its JSON form; raises FaultError.
        account: returns the answer of `/account`.
        ledger: the source of `/ledger`; None if none is kept.
    """

    def __init__(
        self,
        venue: Venue,
        faults: FaultBox,
        state: Callable[[], dict[str, Any]],
        play: Callable[[], None],
        finish: Callable[[], None],
        order: Callable[[dict[str, Any]], dict[str, Any]],
        account: Callable[[], dict[str, Any]],
        ledger: Ledger | None = None,
    ) -> None:
        self._venue = venue
        self._faults = faults
        self._play = play
        self._finish = finish
        self._order = order
        self._ledger = ledger
        self._views: dict[str, Callable[[], Any]] = {
            "/state": state,
            "/books": self._books,
            "/sequences": venue.sequences,
            "/account": account,
            "/faults": faults.shown,
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request.

        An unknown path or book is answered with 404, a malformed number or fault with 400; both as `{"error":
        MESSAGE}`. `POST` answers once the fault is started, not once it is over.
        """
        path: str = request.scope["path"]
        route = (request.method, path)
        if request.method == "GET" and path in self._views:
            return JsonResponse(self._views[path]())
        if request.method == "GET" and path.startswith("/books/"):
            return self._book(request, path.removeprefix("/books/"))
        if request.method == "GET" and (path + "/").startswith("/ledger/"):
            return self._show_ledger(request, path.removeprefix("/ledger").removeprefix("/") or None)
        if route == ("POST", "/play"):
            self._play()
            return JsonResponse({"playing": True})
        if route == ("POST", "/finish"):
            self._finish()
            return JsonResponse({"finished": True})
        if route == ("POST", "/faults"):
            return self._post_fault(await request.body())
        if route == ("DELETE", "/faults"):
            self._faults.clear()
            return JsonResponse([])
        return _refusal(f"no {request.method} {path}", 404)

    def _book(self, request: Request, symbol: str) -> Response:
        try:
            update_id, wall_us = _number(request, "at"), _number(request, "time")
        except ValueError:
            return _refusal("at is an update id, time microseconds since 1970", 400)
        if update_id is None and wall_us is None:
            book = self._venue.book(symbol)
        else:
            book = self._ledger.book(symbol, update_id, wall_us) if self._ledger is not None else None
        return JsonResponse(book.truth()) if book else _refusal("no such book", 404)

    def _show_ledger(self, request: Request, symbol: str | None) -> Response:
        if self._ledger is None:
            return _refusal("no ledger is kept: start with --ledger-messages", 404)
        streams = request.query_params.get("streams")
        try:
            since_us = _number(request, "since") or 0
        except ValueError:
            return _refusal("since is microseconds since 1970", 400)
        return JsonResponse(self._ledger.shown(symbol, since_us, frozenset(streams.split(",")) if streams else None))

    def _books(self) -> dict[str, Any]:
        books = ((symbol, self._venue.book(symbol)) for symbol in self._venue.book_symbols())
        return {symbol: book.truth() for symbol, book in books if book is not None}

    def _post_fault(self, body: bytes) -> Response:
        try:
            order = json.loads(body)
        except ValueError:
            return _refusal('the body is not JSON; send {"fault": NAME, ...options}', 400)
        if not isinstance(order, dict):
            return _refusal('the body is not an object; send {"fault": NAME, ...options}', 400)
        try:
            return JsonResponse(self._order(order))
        except FaultError as error:
            return _refusal(str(error), 400)


def _refusal(message: str, status: int) -> Response:
    return JsonResponse({"error": message}, status)


def _number(request: Request, name: str) -> int | None:
    text = request.query_params.get(name)
    return None if text is None else int(text)
