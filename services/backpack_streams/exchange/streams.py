"""Names of the exchange's streams: kinds such as `depth.200ms` or `kline.1m`, streams such as `kline.1m.AAPL.US_USDC_PERP`.

A symbol may contain dots, so a name is never split at every dot: the channel and its parameter are taken off the front.
"""

from dataclasses import dataclass

from backpack_streams.errors import UsageError

DEPTH_WINDOWS = ("200ms", "600ms", "1000ms")
KLINE_INTERVALS = (
    "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1month",
)  # fmt: skip
PLAIN_CHANNELS = ("bookTicker", "trade", "ticker", "externalTicker", "stockPrice", "markPrice", "openInterest")
LIQUIDATION = "liquidation"
BY_SYMBOL = "symbol"
"""The parameter of `liquidation.symbol`: one stream per market instead of one for all markets."""
EVERY_INTERVAL = "all"
"""The user's word for all intervals: `kline.all`."""
ACCOUNT_PREFIX = "account."
ACCOUNT_CHANNELS = tuple(
    ACCOUNT_PREFIX + name for name in ("orderUpdate", "positionUpdate", "rfqUpdate", "balanceUpdate")
)
CHANNELS = frozenset({"depth", "kline", *PLAIN_CHANNELS, LIQUIDATION, *ACCOUNT_CHANNELS})


@dataclass(frozen=True, slots=True)
class StreamKind:
    """The content of a stream, for any market.

    Attributes:
        channel: the exchange's channel, such as `depth`.
        parameter: the window, interval or `BY_SYMBOL`; None for channels without one.
    """

    channel: str
    parameter: str | None = None

    def __str__(self) -> str:
        return self.channel if self.parameter is None else f"{self.channel}.{self.parameter}"

    def stream(self, symbol: str | None) -> str:
        """The stream of this kind for one market, or for all of them (None)."""
        if symbol is None:
            return str(self)
        return f"{self.channel if self.parameter == BY_SYMBOL else self}.{symbol}"


def is_private(stream: str) -> bool:
    """Whether the exchange requires a signature with the subscription of this stream."""
    return stream.startswith(ACCOUNT_PREFIX)


def parse_kind(text: str) -> StreamKind:
    """Parse one kind: `depth`, `depth.200ms`, `kline.1m`, `trade`, `liquidation`, `liquidation.symbol`, ...

    Raises:
        UsageError: the kind is unknown; the message lists the known ones.
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
    if channel == LIQUIDATION and parameter == BY_SYMBOL:
        return StreamKind(channel, parameter)
    if text in ACCOUNT_CHANNELS:
        return StreamKind(text)
    known = [
        "depth",
        *(f"depth.{window}" for window in DEPTH_WINDOWS),
        "kline.<interval>",
        *PLAIN_CHANNELS,
        LIQUIDATION,
        f"{LIQUIDATION}.{BY_SYMBOL}",
        *ACCOUNT_CHANNELS,
    ]
    raise UsageError(
        f"unknown stream {text!r}; the streams are {', '.join(known)}, with intervals {', '.join(KLINE_INTERVALS)}"
    )


def parse_kinds(text: str) -> list[StreamKind]:
    """Parse a user's text: one kind, several intervals at once (`kline.1m+5m+1h`), or every interval (`kline.all`).

    Raises:
        UsageError: a kind is unknown; the message lists the known ones.
    """
    channel, _, parameter = text.partition(".")
    if channel != "kline":
        return [parse_kind(text)]
    intervals = KLINE_INTERVALS if parameter == EVERY_INTERVAL else parameter.split("+")
    return [parse_kind(f"{channel}.{interval}") for interval in dict.fromkeys(intervals)]


def split_stream(name: str) -> tuple[StreamKind, str | None]:
    """The kind and the symbol of a stream; the symbol is None for a stream of all markets.

    An unknown channel counts as having no parameter, so that no part of the name is lost.
    """
    channel, _, rest = name.partition(".")
    if is_private(name):
        head, _, symbol = rest.partition(".")
        if ACCOUNT_PREFIX + head in ACCOUNT_CHANNELS:
            return StreamKind(ACCOUNT_PREFIX + head), symbol or None
    if channel in ("depth", "kline"):
        head, dot, tail = rest.partition(".")
        if dot and head in (DEPTH_WINDOWS if channel == "depth" else KLINE_INTERVALS):
            return StreamKind(channel, head), tail
    return StreamKind(channel), rest or None
