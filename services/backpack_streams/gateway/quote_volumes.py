"""Computes the quote volume of candles, which the exchange's sockets do not send, exactly from their trades. Sans I/O."""

from bisect import insort
from collections.abc import Iterable
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Final

from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.windows import Entry

__all__ = ["QuoteVolumes", "of_first_trades"]

_EXACT: Final = Context(prec=120, traps=[Inexact, InvalidOperation])
_MINUTE_MICROS: Final = 60_000_000


class QuoteVolumes:
    """The volumes of one market in each minute."""

    __slots__ = ("_minutes", "_most", "_starts")

    def __init__(self, most_minutes: int) -> None:
        """Start empty.

        Args:
            most_minutes: the number of minutes with trades to keep, the newest ones.
        """
        self._most = most_minutes
        self._starts: list[int] = []
        self._minutes: dict[int, tuple[int, Decimal, Decimal]] = {}
        """By start (µs): number of trades, base volume, quote volume."""

    def add(self, trade: Entry) -> None:
        """Count a trade. The caller makes sure that no trade is counted twice.

        Args:
            trade: its `as_of` is its time (µs since the Unix epoch).
        """
        start = trade.as_of // _MINUTE_MICROS * _MINUTE_MICROS
        known = self._minutes.get(start)
        if known is None:
            insort(self._starts, start)
            known = 0, Decimal(0), Decimal(0)
        count, base, quote = known
        row = trade.row
        self._minutes[start] = (
            count + 1,
            _EXACT.add(base, row["quantity"]),
            _EXACT.add(quote, row["quote_quantity"]),
        )
        if len(self._starts) > self._most:
            del self._minutes[self._starts.pop(0)]

    def within(self, start_us: int, end_us: int, candle: Row) -> Decimal | None:
        """Return the quote volume of a candle of whole minutes.

        Args:
            start_us: the start of the candle (µs since the Unix epoch), a multiple of a minute.
            end_us: the start of the next candle.
            candle: the candle's row.

        Returns:
            The volume; None unless number and base volume of the trades equal the candle's, which proves that all are here.
        """
        count, base, quote = 0, Decimal(0), Decimal(0)
        for start in range(start_us, end_us, _MINUTE_MICROS):
            minute = self._minutes.get(start)
            if minute is not None:
                count += minute[0]
                base, quote = _EXACT.add(base, minute[1]), _EXACT.add(quote, minute[2])
        return quote.normalize(_EXACT) if (count, base) == (candle["trades"], candle["volume"]) else None


def of_first_trades(trades: Iterable[Entry], start_us: int, end_us: int, candle: Row) -> Decimal | None:
    """Return the quote volume of a candle that may still be open, from the first trades in its time.

    Args:
        trades: the trades of the market, newest first.
        start_us: the start of the candle (µs since the Unix epoch).
        end_us: the start of the next candle.
        candle: the candle's row; it determines how many trades count.

    Returns:
        The volume; None unless the base volume of these trades equals the candle's.
    """
    inside: list[Entry] = []
    for trade in trades:
        if trade.as_of < start_us:
            break
        if trade.as_of < end_us:
            inside.append(trade)
    base = quote = Decimal(0)
    for trade in inside[::-1][: candle["trades"]]:
        base, quote = _EXACT.add(base, trade.row["quantity"]), _EXACT.add(quote, trade.row["quote_quantity"])
    return quote.normalize(_EXACT) if len(inside) >= candle["trades"] and base == candle["volume"] else None
