"""The sandbox's own HTTP API: look at its truth, start its flow, order faults."""

import json
from collections.abc import Callable
from typing import Any

from backpack_streams.sandbox.faults import FaultBox, FaultError
from backpack_streams.sandbox.http import Request, Response
from backpack_streams.sandbox.venue import Venue


class ControlApi:
    """Answers `GET /state`, `/books[/SYMBOL]`, `/sequences`, `/account`, `/faults`; `POST /play`, `/finish`, `/faults`; `DELETE /faults`.

    Args:
        venue: the truth.
        faults: active faults.
        state: what `/state` shows.
        play: begins the flow.
        finish: ends the flow.
        order: starts a fault from its JSON form; raises FaultError.
        account: what `/account` shows.
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
    ) -> None:
        self._venue = venue
        self._faults = faults
        self._play = play
        self._finish = finish
        self._order = order
        self._views: dict[str, Callable[[], Any]] = {
            "/state": state,
            "/books": self._books,
            "/sequences": venue.sequences,
            "/account": account,
            "/faults": faults.shown,
        }

    async def handle(self, request: Request) -> Response:
        """Answer one request."""
        route = (request.method, request.path)
        if request.method == "GET" and request.path in self._views:
            return Response.json(self._views[request.path]())
        if request.method == "GET" and request.path.startswith("/books/"):
            book = self._venue.book(request.path.removeprefix("/books/"))
            return Response.json(book.truth()) if book else _refusal("no book of that symbol", 404)
        if route == ("POST", "/play"):
            self._play()
            return Response.json({"playing": True})
        if route == ("POST", "/finish"):
            self._finish()
            return Response.json({"finished": True})
        if route == ("POST", "/faults"):
            return self._post_fault(request)
        if route == ("DELETE", "/faults"):
            self._faults.clear()
            return Response.json([])
        return _refusal(f"no {request.method} {request.path}", 404)

    def _books(self) -> dict[str, Any]:
        books = ((symbol, self._venue.book(symbol)) for symbol in self._venue.book_symbols())
        return {symbol: book.truth() for symbol, book in books if book is not None}

    def _post_fault(self, request: Request) -> Response:
        try:
            order = json.loads(request.body)
        except ValueError:
            return _refusal('the body is not JSON; send {"fault": NAME, ...options}', 400)
        if not isinstance(order, dict):
            return _refusal('the body is not an object; send {"fault": NAME, ...options}', 400)
        try:
            return Response.json(self._order(order))
        except FaultError as error:
            return _refusal(str(error), 400)


def _refusal(message: str, status: int) -> Response:
    return Response.json({"error": message}, status)
