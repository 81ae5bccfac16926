"""The markets and frames of the benchmark's source, ready to write to a socket.

Frame number n belongs to market n % MARKETS and carries that market's next id, so the number of sent frames
determines the last id of each market. Asks stay above and bids below a fixed middle: the books never cross and never grow without
limit. Quantities rarely repeat, so a cache of number texts has no effect.
"""

import random
import struct
from dataclasses import dataclass
from typing import Any

MARKETS = 91
"""Number of open perpetual markets when the exchange's load was measured."""
FIRST_ID = 6_730_019_258
LEVELS_A_SIDE = 300
_QUANTITY_UNITS = 1_000_000
_TEXT_FRAME = 0x81
_SHORT_PAYLOAD_BYTES = 126
_LENGTH_IN_16_BITS = 126


@dataclass(frozen=True, slots=True)
class Market:
    """One market: its prices lie around `anchor`, in units of the last of `price_places` decimal places."""

    symbol: str
    price_places: int
    anchor: int

    def price(self, units: int) -> bytes:
        """A price as the exchange writes it, padded."""
        whole, rest = divmod(units, 10**self.price_places)
        return f"{whole}.{rest:0{self.price_places}d}".encode()

    def row(self) -> dict[str, Any]:
        """The market as in `/api/v1/markets`."""
        tick = f"{1 / 10**self.price_places:.{self.price_places}f}"
        return {
            "symbol": self.symbol,
            "baseSymbol": self.symbol.partition("_")[0],
            "quoteSymbol": "USDC",
            "marketType": "PERP",
            "orderBookState": "Open",
            "createdAt": "2025-01-21T06:34:54.691858",
            "fundingInterval": 3_600_000,
            "filters": {
                "price": {"minPrice": tick, "maxPrice": None, "tickSize": tick},
                "quantity": {"minQuantity": "0.00001", "maxQuantity": None, "stepSize": "0.00001"},
            },
        }

    def depth(self, last_id: int, time_us: int) -> dict[str, Any]:
        """A book as in `/api/v1/depth`."""
        levels = range(1, LEVELS_A_SIDE + 1)
        return {
            "asks": [[self.price(self.anchor + n).decode(), "1.50000"] for n in levels],
            "bids": [[self.price(self.anchor - n).decode(), "1.50000"] for n in reversed(levels)],
            "lastUpdateId": str(last_id),
            "timestamp": time_us,
        }


def markets() -> list[Market]:
    """All markets of the source."""
    return [Market(f"TKN{n:03d}_USDC_PERP", 1 + n % 4, 866_559 + 811 * n) for n in range(MARKETS)]


def last_id(market_index: int, frames_sent: int) -> int:
    """The last id of the market with this index after so many frames; FIRST_ID - 1 before its first."""
    return FIRST_ID - 1 + (frames_sent - market_index + MARKETS - 1) // MARKETS


class Feed:
    """The frames of one channel, `depth` (two levels per frame) or `trade`, in sequence."""

    def __init__(self, channel: str) -> None:
        self._random = random.Random(channel)
        self._is_depth = channel == "depth"
        self._templates = [(_depth if self._is_depth else _trade)(market) for market in markets()]
        steps = range(1, LEVELS_A_SIDE + 1)
        self._asks = [[market.price(market.anchor + n) for n in steps] for market in markets()]
        self._bids = [[market.price(market.anchor - n) for n in steps] for market in markets()]
        self.sent = 0

    def payload(self, time_us: int) -> bytes:
        """The next message, with event and engine time `time_us`."""
        chance = self._random.random
        index = self.sent % MARKETS
        frame_id = FIRST_ID + self.sent // MARKETS
        self.sent += 1
        ask = self._asks[index][int(chance() * LEVELS_A_SIDE)]
        if not self._is_depth:
            return self._templates[index] % (time_us, time_us, frame_id, frame_id, ask, self._quantity(), frame_id)
        bid = self._bids[index][int(chance() * LEVELS_A_SIDE)]
        return self._templates[index] % (
            *(time_us, time_us, frame_id),
            *(ask, self._quantity(), bid, self._quantity(), frame_id),
        )

    def _quantity(self) -> bytes:
        """One in eight is zero and deletes the level."""
        number = int(self._random.random() * _QUANTITY_UNITS)
        return b"0.00000" if self._is_depth and number % 8 == 0 else b"%d.%05d" % divmod(number + 1, 100_000)

    def wire(self, count: int, time_us: int) -> bytes:
        """The next `count` messages as WebSocket frames (RFC 6455, unmasked), all with the same time."""
        return b"".join([websocket_frame(self.payload(time_us)) for _ in range(count)])


def websocket_frame(payload: bytes) -> bytes:
    """A final text frame as a server sends it."""
    if len(payload) < _SHORT_PAYLOAD_BYTES:
        return bytes((_TEXT_FRAME, len(payload))) + payload
    return struct.pack(">BBH", _TEXT_FRAME, _LENGTH_IN_16_BITS, len(payload)) + payload


def _depth(market: Market) -> bytes:
    text = '{"data":{"E":%%d,"T":%%d,"U":%%d,"a":[["%%b","%%b"]],"b":[["%%b","%%b"]],"e":"depth","s":"%s","u":%%d},"stream":"depth.%s"}'
    return (text % (market.symbol, market.symbol)).encode()


def _trade(market: Market) -> bytes:
    text = '{"data":{"E":%%d,"T":%%d,"a":"%%d","b":"%%d","e":"trade","m":false,"p":"%%b","q":"%%b","s":"%s","t":%%d},"stream":"trade.%s"}'
    return (text % (market.symbol, market.symbol)).encode()
