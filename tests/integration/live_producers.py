"""Stub producers that keep two markets LIVE: one that a test moves from its own loop, and one on a thread of its own."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from plant import wait_until
from stub_producer import StubExchange, StubProducer

SYMBOLS = ("BTC_USDC_PERP", "SOL_USDC")
BUSY, QUIET = SYMBOLS
MAX_AGE = 2.0


class Playing:
    """A producer on its own loop and thread, which moves the busy market on demand and vouches all the time."""

    def __init__(self, servers: str, prefix: str, exchange: StubExchange | None = None) -> None:
        self.exchange = exchange or StubExchange(SYMBOLS)
        self._servers, self._prefix = servers, prefix
        self._moves = 0
        self._ends = False
        self._is_ready = False
        self._thread: Any = None

    @property
    def last_id(self) -> int:
        return self.exchange.last_ids[BUSY] + self._moves

    def play(self, moves: int) -> None:
        self._moves += moves

    def __enter__(self) -> "Playing":
        import threading

        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        wait_until("it produces", lambda: self._is_ready)
        return self

    def __exit__(self, *_: object) -> None:
        self._ends = True
        self._thread.join(30)

    async def _run(self) -> None:
        async with live_producer(self._servers, self._prefix, self.exchange) as producer:
            self._is_ready = True
            while not self._ends:
                while self._moves:
                    await producer.update(BUSY)
                    self._moves -= 1
                await producer.watermark()
                await asyncio.sleep(0.1)


@asynccontextmanager
async def live_producer(
    servers: str, prefix: str, exchange: StubExchange, instance: str = "first"
) -> AsyncIterator[StubProducer]:
    """Every market has a snapshot, proven by an update after the producer's start."""
    async with StubProducer(servers, prefix, exchange, instance) as producer:
        await begin(producer)
        yield producer


async def begin(producer: StubProducer) -> None:
    for symbol in producer.exchange.last_ids:
        await producer.update(symbol)
    await producer.watermark()  # it names its offsets, so that later updates are proof
    for symbol in producer.exchange.last_ids:
        await producer.snapshot(symbol, 1)
        await producer.update(symbol)
    await producer.watermark()


@asynccontextmanager
async def vouching(producer: StubProducer) -> AsyncIterator[None]:
    async def publish() -> None:
        while True:
            await producer.watermark()
            await asyncio.sleep(0.2)

    task = asyncio.create_task(publish())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
