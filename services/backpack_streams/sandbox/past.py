"""The past of a synthetic market before the sandbox started: generated, but the same for the same seed and start.

Candles of every interval are sums of the same minutes, so they are consistent. The past begins `DAYS` days before
the start.
"""

from collections.abc import Iterator

from backpack_streams.sandbox.candles import Candle
from backpack_streams.sandbox.intervals import DAY_SECONDS
from backpack_streams.sandbox.listings import Listing

DAYS = 30
TRADES_KEPT = 10_000
_TRADE_SPACING_SECONDS = 3
_HOUR_SECONDS = 3600
_MASK = (1 << 64) - 1
_PER_TEN_THOUSAND = 10_000


def mixed(key: int, number: int) -> int:
    """Mix two integers into a well-distributed 64-bit integer (the finaliser of splitmix64)."""
    value = (key * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Past:
    """Minutes and trades of one market before `start_seconds` (since the Unix epoch). Prices in ticks, quantities in steps."""

    def __init__(self, listing: Listing, key: int, start_seconds: int) -> None:
        self._anchor = listing.anchor
        self._key = key
        self._empty = listing.quiet or listing.thin
        self._hours: dict[int, Candle] = {}
        self.end_seconds = start_seconds // 60 * 60
        self.begin_seconds = (start_seconds - DAYS * DAY_SECONDS) // DAY_SECONDS * DAY_SECONDS

    def price(self, at_minute: int) -> int:
        """Return the price at the start of a minute since the Unix epoch: within 2 % of the anchor, smooth over the hour."""
        hour, minute = divmod(at_minute, 60)
        here = mixed(self._key, hour) % 401 - 200
        there = mixed(self._key, hour + 1) % 401 - 200
        drift = here * 60 + (there - here) * minute
        return max(1, self._anchor + self._anchor * drift // (60 * _PER_TEN_THOUSAND))

    def minute(self, at_minute: int) -> Candle:
        """Return the candle of a minute since the Unix epoch; some minutes have no trades."""
        candle = Candle(at_minute * 60, at_minute * 60 + 60)
        chance = mixed(self._key ^ 0x5EED, at_minute)
        trades = chance % 40
        if self._empty or not trades:
            return candle
        candle.open, candle.close = self.price(at_minute), self.price(at_minute + 1)
        candle.high = max(candle.open, candle.close) + (chance >> 8) % 5
        candle.low = max(1, min(candle.open, candle.close) - (chance >> 16) % 5)
        candle.volume = trades * ((chance >> 24) % 1000 + 1)
        candle.quote = candle.volume * (candle.open + candle.close) // 2
        candle.trades = trades
        return candle

    def minutes(self, from_seconds: int, to_seconds: int) -> Iterator[Candle]:
        """Return the minutes that begin in [from, to), as far as the past reaches."""
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
            volume = trades * ((chance >> 24) % 1000 + 1)
            low = max(1, min(opened, closed) - (chance >> 16) % 5)
            if not hour.trades:
                hour.open, hour.low = opened, low
            hour.close = closed
            hour.high = max(hour.high, max(opened, closed) + (chance >> 8) % 5)
            hour.low = min(hour.low, low)
            hour.volume += volume
            hour.quote += volume * (opened + closed) // 2
            hour.trades += trades
        return hour

    def _prices_within(self, hour: int) -> list[int]:
        """Return the price at the start of each minute of an hour, and at its end."""
        here = mixed(self._key, hour) % 401 - 200
        there = mixed(self._key, hour + 1) % 401 - 200
        anchor, scale = self._anchor, 60 * _PER_TEN_THOUSAND
        return [max(1, anchor + anchor * (here * 60 + (there - here) * minute) // scale) for minute in range(61)]

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
        """Return the `back`-th last trade before the start (1 = the last): time in µs, price, quantity, buyer is maker."""
        at_seconds = self.end_seconds - back * _TRADE_SPACING_SECONDS
        chance = mixed(self._key ^ 0x7ADE, back)
        return at_seconds * 1_000_000, self.price(at_seconds // 60), chance % 500 + 1, bool(chance & 1024)

    @property
    def trades(self) -> int:
        """Number of past trades that can be requested."""
        return 0 if self._empty else TRADES_KEPT
