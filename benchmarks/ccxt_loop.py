"""The loop that a user would write instead, in its own process: ccxt.pro's Backpack class into aiokafka, JSON values.

`trades` and `books`: one task per market. `all_trades`: one loop for all markets (`watch_trades_for_symbols`).
It sends each record with `await producer.send(...)`, which does not wait for the acknowledgement: the fastest
per-record interface.
"""

import argparse
import asyncio
import json
from typing import Any

import ccxt.pro
from aiokafka import AIOKafkaProducer

_BOOK_LEVELS = 20


def exchange_at(rest_url: str, ws_url: str) -> Any:
    """ccxt's Backpack class, pointed at the source on loopback; its own rate limit is off, because it would only slow the start."""
    exchange = ccxt.pro.backpack({"enableRateLimit": False})
    exchange.urls["api"]["public"] = rest_url
    exchange.urls["api"]["private"] = rest_url
    exchange.urls["api"]["ws"]["public"] = ws_url
    exchange.urls["api"]["ws"]["private"] = ws_url
    return exchange


async def _trades(exchange: Any, producer: AIOKafkaProducer, topic: str, symbol: str) -> None:
    key = symbol.encode()
    while True:
        for trade in await exchange.watch_trades(symbol):
            await producer.send(topic, json.dumps(trade).encode(), key=key)


async def _all_trades(exchange: Any, producer: AIOKafkaProducer, topic: str) -> None:
    while True:
        for trade in await exchange.watch_trades_for_symbols(exchange.symbols):
            await producer.send(topic, json.dumps(trade).encode(), key=trade["symbol"].encode())


async def _books(exchange: Any, producer: AIOKafkaProducer, topic: str, symbol: str) -> None:
    key = symbol.encode()
    while True:
        book = await exchange.watch_order_book(symbol)
        record = {
            "symbol": symbol,
            "id": book["nonce"],
            "timestamp": book["timestamp"],
            "bids": book["bids"][:_BOOK_LEVELS],
            "asks": book["asks"][:_BOOK_LEVELS],
        }
        await producer.send(topic, json.dumps(record).encode(), key=key)


async def _run(arguments: argparse.Namespace) -> None:
    exchange = exchange_at(arguments.rest_url, arguments.ws_url)
    producer = AIOKafkaProducer(bootstrap_servers=arguments.bootstrap, acks="all", enable_idempotence=True)
    await producer.start()
    try:
        await exchange.load_markets()
        if arguments.what == "all_trades":
            await _all_trades(exchange, producer, arguments.topic)
        loop = _trades if arguments.what == "trades" else _books
        await asyncio.gather(*(loop(exchange, producer, arguments.topic, symbol) for symbol in exchange.symbols))
    finally:
        await producer.stop()
        await exchange.close()


def main() -> None:
    """Run until terminated."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("trades", "all_trades", "books"))
    parser.add_argument("--bootstrap", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--rest-url", required=True)
    parser.add_argument("--ws-url", required=True)
    asyncio.run(_run(parser.parse_args()))


if __name__ == "__main__":
    main()
