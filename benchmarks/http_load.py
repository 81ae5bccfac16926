"""A process that requests books from a server, closed loop or at a rate, and prints the figures as one line of JSON.

With `--rate`, the latency of a request counts from its due time, even if no connection was free then. The update id shows the age
of a book: frame number n of the source carries id FIRST_ID + n // MARKETS of market n % MARKETS, and was written at a known time.
`--books` names a file for what each answer held: number of the market, update id, and when it was asked for (µs since the Unix epoch), as
64-bit integers.
"""

import argparse
import asyncio
import gc
import json
import os
import re
import time
from array import array
from collections import deque
from collections.abc import Iterator
from itertools import chain, cycle
from pathlib import Path
from typing import cast

from backpack_streams.runtime.loop import loop_factory
from benchmarks.frames import FIRST_ID, MARKETS, markets
from benchmarks.numbers import latencies_ms

_TICK_SECONDS = 0.0005
_NICE = 5
"""Clients run on other machines: a load on this one should not take the processor from Kafka and the producer first."""
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_UPDATE_ID = re.compile(rb'"last_update_id": ?(\d+)')
_OK = b"200"


class Writing:
    """When the source wrote each frame: at a fixed rate from a moment on (wall clock, seconds), from a frame number on."""

    def __init__(self, started: float, first: int, rate: float) -> None:
        self._started = started
        self._first = first
        self._rate = rate

    def written(self, market: int, update_id: int) -> float | None:
        """When the frame with this id of a market was due; None if that was before the fixed rate."""
        number = (update_id - FIRST_ID) * MARKETS + market
        return None if number < self._first else self._started + (number - self._first) / self._rate


class Load:
    """The shared state of all connections."""

    def __init__(self, target: str, writing: Writing | None) -> None:
        self._requests = [
            f"GET {target.replace('SYMBOL', market.symbol)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode()
            for market in markets()
        ]
        self._turns: Iterator[int] = cycle(range(MARKETS))
        self._writing = writing
        self.free: deque[Client] = deque()
        """In turn, so that no server closes an idle one."""
        self.waiting: deque[float] = deque()
        self.is_closed_loop = False
        self.times_us = array("q")
        self.refused = 0
        self._answers: list[tuple[int, float, bytes]] = []
        """Market, time of the request (wall clock, seconds), and body, which is searched once the load is over."""
        self.ends_at = float("inf")

    def ask(self, client: "Client", due: float) -> None:
        """Send the request for the next market."""
        market = next(self._turns)
        client.send(self._requests[market], market, due)

    def answered(self, client: "Client", status: bytes, body: bytes) -> None:
        """Record an answer, and let the connection continue."""
        now = time.perf_counter()
        if client.due < self.ends_at:
            self.times_us.append(int((now - client.due) * 1e6))
            if status != _OK:
                self.refused += 1
            elif self._writing is not None:
                self._answers.append((client.market, client.sent_at, body))
        if now >= self.ends_at:
            return
        if self.is_closed_loop:
            self.ask(client, now)
        elif self.waiting:
            self.ask(client, self.waiting.popleft())
        else:
            self.free.append(client)

    def books(self) -> "array[int]":
        """Return number of the market, update id and time of the request (µs since the Unix epoch) of each answer."""
        found = ((market, _UPDATE_ID.search(body), sent_at) for market, sent_at, body in self._answers)
        rows = ((market, int(update[1]), int(sent_at * 1e6)) for market, update, sent_at in found if update is not None)
        return array("q", chain.from_iterable(rows))

    def behind_us(self) -> "array[int]":
        """Return the time from the write of the oldest update missing from each answer to its request; 0 if none was missing."""
        assert self._writing is not None
        books, behind = self.books(), array("q")
        for market, update_id, sent_us in zip(books[::3], books[1::3], books[2::3], strict=True):
            lacking = self._writing.written(market, update_id + 1)
            if lacking is not None:
                behind.append(max(0, sent_us - int(lacking * 1e6)))
        return behind


class Client(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self.market = 0
        self.due = 0.0
        self.sent_at = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Store the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail: no server may close a connection in use."""
        if time.perf_counter() < self._load.ends_at:
            raise ConnectionError("the server has closed a connection") from exc

    def send(self, request: bytes, market: int, due: float) -> None:
        """Send a request."""
        assert self._transport is not None
        self.market, self.due, self.sent_at = market, due, time.time()
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        """Collect an answer."""
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = _LENGTH.search(head)
        assert length is not None, "an answer without its length"
        if len(body) >= int(length[1]):
            self._received = b""
            self._load.answered(self, head[9:12], body)


async def _run(arguments: argparse.Namespace) -> dict[str, object]:
    loop = asyncio.get_running_loop()
    writing = None
    if arguments.started:
        writing = Writing(arguments.started, arguments.first, arguments.frame_rate)
    load = Load(arguments.target, writing)
    clients = [
        (await loop.create_connection(lambda: Client(load), "127.0.0.1", arguments.port))[1]
        for _ in range(arguments.connections)
    ]
    began = time.perf_counter()
    load.ends_at = began + arguments.seconds
    load.is_closed_loop = not arguments.rate
    if load.is_closed_loop:
        for client in clients:
            load.ask(client, time.perf_counter())
        await asyncio.sleep(arguments.seconds)
    else:
        load.free = deque(clients)
        await _at_a_rate(load, arguments.rate, began)
    if arguments.books is not None:
        arguments.books.write_bytes(load.books().tobytes())
    return {
        "answers": len(load.times_us),
        "a_second": len(load.times_us) / arguments.seconds,
        "refused": load.refused,
        "never_sent": len(load.waiting),
        "latency_ms": latencies_ms(load.times_us),
        "behind_ms": {} if writing is None else latencies_ms(load.behind_us()),
    }


async def _at_a_rate(load: Load, rate: float, began: float) -> None:
    loop, asked, is_over = asyncio.get_running_loop(), 0, asyncio.Event()

    def send_due() -> None:
        nonlocal asked
        if (now := time.perf_counter()) >= load.ends_at:
            is_over.set()
            return
        for number in range(asked, int((now - began) * rate)):
            due = began + number / rate
            if load.free:
                load.ask(load.free.popleft(), due)
            else:
                load.waiting.append(due)
            asked = number + 1
        loop.call_later(_TICK_SECONDS, send_due)

    send_due()
    await is_over.wait()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--target", required=True, help="with SYMBOL for each market in turn")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rate", type=float, default=0.0, help="requests a second; 0 for closed loop")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--started", type=float, default=0.0, help="when the source began (wall clock, seconds)")
    parser.add_argument("--first", type=int, default=0, help="the frame it began with")
    parser.add_argument("--frame-rate", type=float, default=1.0)
    parser.add_argument("--books", type=Path)
    os.nice(_NICE)
    gc.disable()  # a collection of the answers kept would count as a server's latency
    with asyncio.Runner(loop_factory=loop_factory()) as runner:
        print(json.dumps(runner.run(_run(parser.parse_args()))))


if __name__ == "__main__":
    main()
