"""Keeps an order book from the gateway's stream; needs the package `websockets` and nothing of this project.

python examples/read_api_stream.py ws://127.0.0.1:8080/v1/stream SOL_USDC
"""

import json
import sys
from contextlib import suppress
from decimal import Decimal

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

SILENT_SECONDS = 5  # the gateway sends a heartbeat once a second: without it nothing is LIVE any more

url, symbol = sys.argv[1:]
book: dict[str, dict[str, str]] = {}
with suppress(KeyboardInterrupt), connect(url) as socket:
    socket.send(json.dumps({"op": "subscribe", "channels": ["book"], "symbols": [symbol], "decimals": "string"}))
    while True:
        try:
            message = json.loads(socket.recv(timeout=SILENT_SECONDS))
        except (TimeoutError, ConnectionClosed):
            sys.exit("the gateway fell silent: the book is not LIVE any more")
        if message["type"] == "snapshot":
            book = {
                side: {level["price"]: level["size"] for level in message["data"][side]} for side in ("bids", "asks")
            }
        elif message["type"] == "update":
            for side in ("bids", "asks"):
                changed = book[side] | dict(message["data"][side])
                book[side] = {price: size for price, size in changed.items() if size != "0"}
        if message.get("channel") == "book" and message["data"]["book_status"] == "LIVE":
            print(message["sequence"], max(book["bids"], key=Decimal), min(book["asks"], key=Decimal), flush=True)
