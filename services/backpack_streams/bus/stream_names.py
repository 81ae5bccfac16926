"""The exchange streams that fill each topic, by the names in producers' watermarks."""

from collections.abc import Mapping
from typing import Final

__all__ = ["STREAMS_OF_TOPICS", "symbol_of_stream"]

STREAMS_OF_TOPICS: Final[Mapping[str, tuple[str, ...]]] = {
    "market.depth": ("depth",),
    "market.depth_200ms": ("depth.200ms",),
    "market.depth_600ms": ("depth.600ms",),
    "market.depth_1000ms": ("depth.1000ms",),
    "market.book_ticker": ("bookTicker",),
    "market.trade": ("trade",),
    "market.ticker": ("ticker",),
    "market.kline": tuple(
        f"kline.{interval}"
        for interval in (
            *("1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1month"),
        )
    ),
    "market.external_ticker": ("externalTicker",),
    "market.stock_price": ("stockPrice",),
    "perp.mark_price": ("markPrice",),
    "perp.open_interest": ("openInterest",),
    "perp.liquidation": ("liquidation",),
    "account.order": ("account.orderUpdate",),
    "account.position": ("account.positionUpdate",),
    "account.rfq": ("account.rfqUpdate",),
    "account.balance": ("account.balanceUpdate",),
}
"""The kinds of stream, by topic without the prefix. A stream is `<kind>.<symbol>`, or the kind alone if it carries all markets.

Topics that are not listed are filled from REST or by this project's services; no watermark covers them.
"""

_EXACT_DEPTH: Final = "depth"
_WINDOWS: Final = ("200ms.", "600ms.", "1000ms.")


def symbol_of_stream(kind: str, stream: str) -> str | None:
    """Return the symbol of a stream, "" if it carries all markets, None if it is of another kind.

    Args:
        kind: a kind from `STREAMS_OF_TOPICS`.
        stream: the name of the stream in a watermark.
    """
    if stream == kind:
        return ""
    if not stream.startswith(kind + "."):
        return None
    symbol = stream[len(kind) + 1 :]
    return None if kind == _EXACT_DEPTH and symbol.startswith(_WINDOWS) else symbol
