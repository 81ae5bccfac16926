"""Clients of the gateway that read books all the time, over HTTP and WebSocket, without Kafka."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from decimal import Decimal
from functools import partial
from http.client import HTTPException
from typing import Any

from faults.campaign.markets import READ_BY_ALL
from faults.campaign.readers import BookReader, Standing
from faults.campaign.sights import now_us
from plant import Plant
from stream_client import FollowedBook, Follower

_DEPTH = 100
_PAUSE_SECONDS = 0.5
_ANSWER_SECONDS = 5.0
_NOT_THERE = (OSError, TimeoutError, HTTPException, json.JSONDecodeError)
"""A gateway that was killed, is starting, or is frozen; an answer that was cut off."""


class GatewayReader(BookReader):
    """A client that gets the best levels of some books. `url`: the gateway's, such as `http://127.0.0.1:8080`."""

    top = _DEPTH

    def __init__(self, plant: Plant, name: str, url: str) -> None:
        super().__init__(plant, name, READ_BY_ALL)
        self._url = url


class HttpReader(GatewayReader):
    """Requests one book after another. A book that is not LIVE is a 503."""

    def _session(self) -> None:
        while not self._stop.wait(_PAUSE_SECONDS):
            try:
                for symbol in READ_BY_ALL:
                    self._ask(symbol)
            except _NOT_THERE:
                self._standing.clear()

    def _ask(self, symbol: str) -> None:
        asked_us = now_us()
        request = f"{self._url}/v1/orderbook?symbol={symbol}&depth={_DEPTH}&decimals=string"
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS) as answer:
                book = json.load(answer)["data"]
        except urllib.error.HTTPError as refusal:
            self._refused(symbol, refusal.code, json.load(refusal))
            return
        standing = Standing(book["book_status"], book["last_update_id"], book["as_of"])
        bids, asks = ([(each["price"], each["size"]) for each in book[side]] for side in ("bids", "asks"))
        self._see(symbol, standing, lambda: (_plain(bids), _plain(asks)), at_us=asked_us)

    def _refused(self, symbol: str, status: int, body: Mapping[str, Any]) -> None:
        self._standing[symbol] = Standing(body["meta"].get("book_status", "unavailable"), None)
        if status not in (404, 503):  # 404: the market list in Kafka may be incomplete
            self.failures.append(f"{status}: {body['message']}")


class FollowingReader(GatewayReader):
    """Keeps books from the stream, and reconnects whenever its connection ends."""

    def _session(self) -> None:
        asyncio.run(self._read())

    async def _read(self) -> None:
        follower = Follower(
            f"{self._url.replace('http', 'ws', 1)}/v1/stream",
            channels=["book"],
            symbols=list(READ_BY_ALL),
            depth=_DEPTH,
        )
        self.joins += 1
        await self._meanwhile(follower.run(), lambda: self._look(follower))

    def _look(self, follower: Follower) -> None:
        believed = follower.believed()
        for symbol in self._standing.keys() - believed.keys():
            del self._standing[symbol]
        heard_us = now_us() - int((time.monotonic() - follower.heard_at) * 1_000_000)
        for symbol, book in believed.items():
            standing = Standing(book.status, book.sequence, book.as_of)
            self._see(symbol, standing, partial(_lines, book), at_us=heard_us)


def _lines(book: FollowedBook) -> tuple[Any, Any]:
    bids, asks = book.levels()
    return _plain(bids), _plain(asks)


def _plain(levels: list[tuple[Any, Any]]) -> list[tuple[str, str]]:
    return [(_text(price), _text(size)) for price, size in levels]


def _text(number: Any) -> str:
    return format(Decimal(number).normalize(), "f")


def gateway_readers(plant: Plant, url: str) -> Mapping[str, BookReader]:
    """One of each kind."""
    readers = HttpReader(plant, "gateway-http", url), FollowingReader(plant, "gateway-stream", url)
    return {each.name: each for each in readers}


GATEWAY_READERS = ("gateway-http", "gateway-stream")
"""Their names."""
