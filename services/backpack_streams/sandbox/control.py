"""The sandbox's own HTTP API: shows its truth, starts its flow, takes orders for faults."""

import json
from collections.abc import Callable
from typing import Any

from backpack_streams.sandbox.faults import FaultBox, FaultError
from backpack_streams.sandbox.http import Request, Response
from backpack_streams.sandbox.ledger import Ledger
from backpack_streams.sandbox.venue import Venue


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
        """Answer one request."""
        route = (request.method, request.path)
        if request.method == "GET" and request.path in self._views:
            return Response.json(self._views[request.path]())
        if request.method == "GET" and request.path.startswith("/books/"):
            return self._book(request)
        if request.method == "GET" and (request.path + "/").startswith("/ledger/"):
            return self._show_ledger(request)
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

    def _book(self, request: Request) -> Response:
        symbol = request.path.removeprefix("/books/")
        try:
            update_id, wall_us = _number(request, "at"), _number(request, "time")
        except ValueError:
            return _refusal("at is an update id, time microseconds since 1970", 400)
        if update_id is None and wall_us is None:
            book = self._venue.book(symbol)
        else:
            book = self._ledger.book(symbol, update_id, wall_us) if self._ledger is not None else None
        return Response.json(book.truth()) if book else _refusal("no such book", 404)

    def _show_ledger(self, request: Request) -> Response:
        if self._ledger is None:
            return _refusal("no ledger is kept: start with --ledger-messages", 404)
        streams = request.first("streams")
        try:
            since_us = _number(request, "since") or 0
        except ValueError:
            return _refusal("since is microseconds since 1970", 400)
        symbol = request.path.removeprefix("/ledger").removeprefix("/") or None
        return Response.json(self._ledger.shown(symbol, since_us, frozenset(streams.split(",")) if streams else None))

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


def _number(request: Request, name: str) -> int | None:
    text = request.first(name)
    return None if text is None else int(text)
