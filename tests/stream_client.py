"""A client of `/v1/stream` that keeps books as the guide says, and reports anything that the guide does not allow."""

import asyncio
import contextlib
import json
import time
from decimal import Decimal
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake

Side = dict[Decimal, Decimal]
SILENT_SECONDS = 5.0
"""A gateway, or the connection to it, that is silent for so long counts as hung."""


class FollowedBook:
    """A book kept by snapshots and updates."""

    def __init__(self) -> None:
        self.bids: Side = {}
        self.asks: Side = {}
        self.sequence: int | None = None
        self.status = ""
        self.as_of: int | None = None
        self.updates = 0

    def apply(self, message: dict[str, Any]) -> None:
        data = message["data"]
        if message["type"] == "snapshot":
            self.bids = {Decimal(each["price"]): Decimal(each["size"]) for each in data["bids"]}
            self.asks = {Decimal(each["price"]): Decimal(each["size"]) for each in data["asks"]}
        else:
            assert message["previous"] == self.sequence
            for side, levels in ((self.bids, data["bids"]), (self.asks, data["asks"])):
                for price, size in levels:
                    side[Decimal(price)] = Decimal(size)
                    if not Decimal(size):
                        del side[Decimal(price)]
            self.updates += 1
        self.sequence, self.status, self.as_of = message["sequence"], data["book_status"], data["as_of"]
        if self.bids and self.asks:
            assert max(self.bids) < min(self.asks), f"{message['symbol']} is crossed"

    def levels(self) -> tuple[list[tuple[Decimal, Decimal]], list[tuple[Decimal, Decimal]]]:
        """Bids and asks, best first."""
        return sorted(self.bids.items(), reverse=True), sorted(self.asks.items())


class Follower:
    """A client that stays: it reconnects whenever its connection ends, and resumes where it was."""

    def __init__(self, url: str, **request: Any) -> None:
        self._url = url
        self._request = {"op": "subscribe", "depth": 100, "decimals": "string"} | request
        self.books: dict[str, FollowedBook] = {}
        self.rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self.sequences: dict[str, int] = {}
        self.conflated: set[str] = set()
        self.heartbeats: list[dict[str, Any]] = []
        self.connections = 0
        self.heard_at = 0.0
        """When the last message arrived (monotonic seconds)."""
        self._told: set[str] = set()
        """Markets whose book this connection has sent: the others still have the status from an earlier connection."""

    def believed(self) -> dict[str, FollowedBook]:
        """Its books, without those whose state it cannot know now. The gateway sends a heartbeat every second."""
        if time.monotonic() - self.heard_at >= SILENT_SECONDS:
            return {}
        return {symbol: self.books[symbol] for symbol in self._told}

    async def run(self) -> None:
        """Follow until cancelled."""
        while True:
            with contextlib.suppress(ConnectionClosed, InvalidHandshake, OSError):
                async with connect(self._url, max_size=None) as socket:
                    self.connections += 1
                    await socket.send(json.dumps(self._request | {"resume": self._resume()}))
                    async for text in socket:
                        self.heard_at = time.monotonic()
                        message = json.loads(text, parse_float=Decimal)
                        if message.get("status") == 503:  # a gateway that just started
                            break
                        self._take(message)
            self._told.clear()
            await asyncio.sleep(0.1)

    def _resume(self) -> dict[str, int]:
        return dict(self.sequences)

    def _take(self, message: dict[str, Any]) -> None:
        kind = message["type"]
        if kind == "conflated":
            self.conflated.add(message["channel"])
        if kind == "heartbeat":
            self.heartbeats.append(message)
        if kind not in ("snapshot", "update"):
            assert kind != "error", message
            return
        channel, symbol = message["channel"], message["symbol"]
        if message["sequence"] is not None:
            self.sequences[f"{channel}.{symbol}"] = message["sequence"]
        if channel == "book":
            self.books.setdefault(symbol, FollowedBook()).apply(message)
            self._told.add(symbol)
        else:
            self._take_rows(channel, symbol, message)

    def _take_rows(self, channel: str, symbol: str, message: dict[str, Any]) -> None:
        rows = self.rows.setdefault((channel, symbol), [])
        data = message["data"]
        if message["type"] == "update":
            rows.append(data)
        elif isinstance(data, list):
            rows[:] = data[::-1]
        elif data is not None:
            rows[:] = [data]
