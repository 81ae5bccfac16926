"""Names of WebSocket streams that the exchange accepts, and its three error answers."""

import re
from dataclasses import dataclass
from functools import lru_cache

KLINE_INTERVALS = (
    "1s",
    "1m",
    "3m",
    "5m",
    "15m",
    "30m",
    "1h",
    "2h",
    "4h",
    "6h",
    "8h",
    "12h",
    "1d",
    "3d",
    "1w",
    "1month",
)
DEPTH_WINDOWS_MS = {"200ms": 200, "600ms": 600, "1000ms": 1000}

_SYMBOL = re.compile(r"[A-Za-z0-9_.]+\Z")
_WINDOWED = re.compile(r"(\d+ms)\.(.+)\Z")
_PLAIN_CHANNELS = frozenset(
    {"bookTicker", "trade", "ticker", "externalTicker", "stockPrice", "markPrice", "openInterest"}
)
_ACCOUNT_CHANNELS = frozenset({"orderUpdate", "positionUpdate", "rfqUpdate", "balanceUpdate"})


@dataclass(frozen=True, slots=True)
class WireError:
    """An error frame of the exchange. Its `id` is always null: a request's id is not echoed."""

    code: int
    message: str

    @property
    def payload(self) -> bytes:
        """The frame's bytes on the wire."""
        return f'{{"id":null,"error":{{"code":{self.code},"message":"{self.message}"}}}}'.encode()


PARSE_ERROR = WireError(4002, "Parse error")
INVALID_STREAM = WireError(4006, "Invalid stream")
INVALID_DEPTH_WINDOW = WireError(4008, "Invalid depth window")


@dataclass(frozen=True, slots=True)
class StreamName:
    """A parsed stream name: `kind` is `depth`, `depth.200ms`, `kline.1m`, …; `symbol` is None for `liquidation`."""

    kind: str
    symbol: str | None

    @property
    def private(self) -> bool:
        """Whether the stream requires a signature."""
        return self.kind.startswith("account.")


@lru_cache(maxsize=65536)
def parse_stream(name: str) -> StreamName | WireError:
    """Parse a stream name, or return the error that the exchange answers. Symbols may contain dots."""
    channel, _, rest = name.partition(".")
    if name == "liquidation":
        return StreamName("liquidation", None)
    if channel == "account":
        return _account(rest)
    kind = channel
    if channel == "depth":
        windowed = _WINDOWED.match(rest)
        if windowed:
            if windowed[1] not in DEPTH_WINDOWS_MS:
                return INVALID_DEPTH_WINDOW
            kind, rest = f"depth.{windowed[1]}", windowed[2]
    elif channel == "kline":
        interval, _, rest = rest.partition(".")
        if interval not in KLINE_INTERVALS:
            return INVALID_STREAM
        kind = f"kline.{interval}"
    elif channel != "liquidation" and channel not in _PLAIN_CHANNELS:
        return INVALID_STREAM
    return StreamName(kind, rest) if _SYMBOL.match(rest) else INVALID_STREAM


def _account(rest: str) -> StreamName | WireError:
    channel, dot, symbol = rest.partition(".")
    if channel not in _ACCOUNT_CHANNELS or (dot and not _SYMBOL.match(symbol)):
        return INVALID_STREAM
    return StreamName(f"account.{channel}", symbol or None)
