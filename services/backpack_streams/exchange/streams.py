"""Names of the exchange's streams: kinds such as `depth.200ms` or `kline.1m`, and streams such as `kline.1m.AAPL.US_USDC_PERP`.

A symbol may hold dots, so a name is never split on every dot: the channel and its parameter come off the front.
"""

from dataclasses import dataclass

from backpack_streams.errors import UsageError

DEPTH_WINDOWS = ("200ms", "600ms", "1000ms")
KLINE_INTERVALS = (
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1month",
)  # fmt: skip
PLAIN_CHANNELS = ("bookTicker", "trade", "ticker", "markPrice", "openInterest")
LIQUIDATION = "liquidation"


@dataclass(frozen=True, slots=True)
class StreamKind:
    """What a stream carries, for whichever market: a channel and, for some, a parameter (window or interval)."""

    channel: str
    parameter: str | None = None

    def __str__(self) -> str:
        return self.channel if self.parameter is None else f"{self.channel}.{self.parameter}"

    def stream(self, symbol: str | None) -> str:
        """The stream of this kind for one market, or for all of them (None)."""
        return str(self) if symbol is None else f"{self}.{symbol}"


def parse_kind(text: str) -> StreamKind:
    """A kind as a user writes it: `depth`, `depth.200ms`, `kline.1m`, `trade`, `liquidation`, ...

    Raises:
        UsageError: there is no such kind; the message says which there are.
    """
    channel, dot, parameter = text.partition(".")
    if dot and not parameter:
        channel = ""
    if channel == "depth" and (not parameter or parameter in DEPTH_WINDOWS):
        return StreamKind(channel, parameter or None)
    if channel == "kline" and parameter in KLINE_INTERVALS:
        return StreamKind(channel, parameter)
    if channel in (*PLAIN_CHANNELS, LIQUIDATION) and not parameter:
        return StreamKind(channel)
    known = [
        "depth",
        *(f"depth.{window}" for window in DEPTH_WINDOWS),
        "kline.<interval>",
        *PLAIN_CHANNELS,
        LIQUIDATION,
    ]
    raise UsageError(
        f"unknown stream {text!r}; there are {', '.join(known)}, with intervals {', '.join(KLINE_INTERVALS)}"
    )


def split_stream(name: str) -> tuple[StreamKind, str | None]:
    """The kind and the symbol of a stream; the symbol is None for a stream of all markets.

    Channels not known yet are taken to have no parameter, so that nothing is lost of them.
    """
    channel, _, rest = name.partition(".")
    if channel in ("depth", "kline"):
        head, dot, tail = rest.partition(".")
        if dot and head in (DEPTH_WINDOWS if channel == "depth" else KLINE_INTERVALS):
            return StreamKind(channel, head), tail
    return StreamKind(channel), rest or None
