"""The past of a synthetic market before the sandbox started: generated, but the same for the same seed and start.

Candles of every interval are sums of the same minutes, so they are consistent. The past begins `DAYS` days before
the start.
"""

from collections.abc import Iterator
from itertools import pairwise

from backpack_sandbox.candles import Candle
from backpack_sandbox.intervals import DAY_SECONDS
from backpack_sandbox.listings import Listing

DAYS = 30
TRADES_KEPT = 10_000
_TRADE_SPACING_SECONDS = 3
_HOUR_SECONDS = 3600
_MASK = (1 << 64) - 1
_PER_TEN_THOUSAND = 10_000
_SWINGS = ((60, 200), (20, 40), (5, 16), (1, 5))
"""The price is a sum of swings: every so many minutes (they divide an hour) it turns, up to so many ten-thousandths of the anchor away."""
_CALM_MINUTES = 40
"""Before the start the swings die down, so that the past ends where the market begins."""


def mixed(key: int, number: int) -> int:
    """Mix two integers into a well-distributed 64-bit integer (the finaliser of splitmix64)."""
    value = (key * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Past:
    """Minutes and trades of one market before its start. Prices in ticks, quantities in steps.

    Args:
        listing: the market; a quiet or thin one has no trades.
        key: determines the past.
        start_seconds: when the market began, seconds since the Unix epoch.

    Attributes:
        begin_seconds: begin of the past, the start of a day in UTC.
        end_seconds: its end (exclusive), the start of a minute.
    """

    def __init__(self, listing: Listing, key: int, start_seconds: int) -> None:
        self._anchor = listing.anchor
        self._lot = max(1, 10**listing.quantity_places // 50)
        self._wick = 5 + listing.anchor // 4_000
        self._key = key
        self._empty = listing.quiet or listing.thin
        self._hours: dict[int, Candle] = {}
        self.end_seconds = start_seconds // 60 * 60
        self.begin_seconds = (start_seconds - DAYS * DAY_SECONDS) // DAY_SECONDS * DAY_SECONDS

    def price(self, at_minute: int) -> int:
        """Return the price at the start of a minute since the Unix epoch: within 3 % of the anchor."""
        drift = 0
        for span, reach in _SWINGS:
            turn, minute = divmod(at_minute, span)
            here, there = self._turn(span, reach, turn), self._turn(span, reach, turn + 1)
            drift += (here * span + (there - here) * minute) * (60 // span)
        return self._drifted(at_minute, drift)

    def _turn(self, span: int, reach: int, number: int) -> int:
        """Return where a swing turns the `number`-th time, in ten-thousandths of the anchor."""
        return mixed(self._key + span, number) % (2 * reach + 1) - reach

    def _drifted(self, at_minute: int, drift: int) -> int:
        """Return the price that lies `drift` from the anchor, in ten-thousandths of it times 60."""
        left = min(_CALM_MINUTES, max(0, self.end_seconds // 60 - at_minute))
        return max(1, self._anchor + self._anchor * drift * left // (60 * _PER_TEN_THOUSAND * _CALM_MINUTES))

    def minute(self, at_minute: int) -> Candle:
        """Return the candle of a minute since the Unix epoch; some minutes have no trades."""
        candle = Candle(at_minute * 60, at_minute * 60 + 60)
        chance = mixed(self._key ^ 0x5EED, at_minute)
        trades = chance % 40
        if self._empty or not trades:
            return candle
        candle.open, candle.close = self.price(at_minute), self.price(at_minute + 1)
        candle.high = max(candle.open, candle.close) + (chance >> 8) % self._wick
        candle.low = max(1, min(candle.open, candle.close) - (chance >> 32) % self._wick)
        candle.volume = trades * ((chance >> 16) % 500 + 1) * self._lot
        candle.quote = candle.volume * (candle.open + candle.close) // 2
        candle.trades = trades
        return candle

    def minutes(self, from_seconds: int, to_seconds: int) -> Iterator[Candle]:
        """Return the minutes that begin in [from, to), seconds since the Unix epoch, as far as the past reaches. Earliest first."""
        first = -(-max(from_seconds, self.begin_seconds) // 60)
        last = -(-min(to_seconds, self.end_seconds) // 60)
        return (self.minute(number) for number in range(first, last))

    def hour(self, number: int) -> Candle:
        """Return the candle of an hour since the Unix epoch: the sum of its minutes, in a tenth of the time, and cached."""
        hour = self._hours.get(number)
        if hour is None:
            hour = self._hours[number] = self._hour(number)
        return hour

    def _hour(self, number: int) -> Candle:
        hour = Candle(number * _HOUR_SECONDS, (number + 1) * _HOUR_SECONDS)
        if self._empty:
            return hour
        key, first = self._key ^ 0x5EED, number * 60
        prices = self._prices_within(number)
        for minute in range(60):
            chance = mixed(key, first + minute)
            trades = chance % 40
            if not trades:
                continue
            opened, closed = prices[minute], prices[minute + 1]
            volume = trades * ((chance >> 16) % 500 + 1) * self._lot
            low = max(1, min(opened, closed) - (chance >> 32) % self._wick)
            if not hour.trades:
                hour.open, hour.low = opened, low
            hour.close = closed
            hour.high = max(hour.high, max(opened, closed) + (chance >> 8) % self._wick)
            hour.low = min(hour.low, low)
            hour.volume += volume
            hour.quote += volume * (opened + closed) // 2
            hour.trades += trades
        return hour

    def _prices_within(self, hour: int) -> list[int]:
        """Return the price at the start of each minute of an hour, and at its end."""
        first = hour * 60
        swings = [self._swing(span, reach, first // span) for span, reach in _SWINGS]
        return [self._drifted(first + minute, sum(drifts)) for minute, drifts in enumerate(zip(*swings, strict=True))]

    def _swing(self, span: int, reach: int, first: int) -> list[int]:
        """Return a swing's part of the drift at the start of each minute of an hour that begins at its turn `first`, and at its end."""
        key, width = self._key + span, 2 * reach + 1
        turns = [mixed(key, number) % width - reach for number in range(first, first + 60 // span + 1)]
        scale = 60 // span
        inside = range(span)
        levels = [(here * span + (there - here) * at) * scale for here, there in pairwise(turns) for at in inside]
        return [*levels, turns[-1] * 60]

    def parts(self, from_seconds: int, to_seconds: int) -> Iterator[Candle]:
        """Yield the range of `minutes` in fewer parts: whole hours, and minutes at the ends."""
        begin, end = max(from_seconds, self.begin_seconds), min(to_seconds, self.end_seconds)
        first, last = -(-begin // _HOUR_SECONDS), end // _HOUR_SECONDS
        if first >= last:
            yield from self.minutes(begin, end)
            return
        yield from self.minutes(begin, first * _HOUR_SECONDS)
        yield from map(self.hour, range(first, last))
        yield from self.minutes(last * _HOUR_SECONDS, end)

    def trade(self, back: int) -> tuple[int, int, int, bool]:
        """Return a trade before the start. Past trades are 3 s apart.

        Args:
            back: which one; 1 is the last trade before the start.

        Returns:
            Its time in µs since the Unix epoch, price in ticks, quantity in steps, and whether the buyer is the maker.
        """
        at_seconds = self.end_seconds - back * _TRADE_SPACING_SECONDS
        chance = mixed(self._key ^ 0x7ADE, back)
        return at_seconds * 1_000_000, self.price(at_seconds // 60), (chance % 500 + 1) * self._lot, bool(chance & 1024)

    @property
    def trades(self) -> int:
        """Number of past trades that can be requested."""
        return 0 if self._empty else TRADES_KEPT
