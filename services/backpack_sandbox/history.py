"""The trades of a synthetic market: recent trades, minutes, and the candles of subscribed streams."""

from collections import deque
from collections.abc import Callable
from typing import Any

from backpack_sandbox.candles import Candle, merged
from backpack_sandbox.decimals import padded, trimmed
from backpack_sandbox.frames import Frame, FrameWriter
from backpack_sandbox.intervals import DAY_SECONDS, bucket
from backpack_sandbox.listings import Listing
from backpack_sandbox.past import TRADES_KEPT, Past

CLOSE_DELAY_US = 10_000
"""How late candles close, so that a trade whose engine time lags the clock still falls into its own candle."""

_MAX_CLOSED_AT_ONCE = 120


class History:
    """Trades of one market since `start_us`, after its generated past.

    Args:
        listing: the market.
        key: determines the past.
        start_us: when the market began, µs since the Unix epoch.
        first_trade_id: id of its first trade; the ids of past trades lie below it.
    """

    def __init__(self, listing: Listing, key: int, start_us: int, first_trade_id: int) -> None:
        self._listing = listing
        self._start_seconds = start_us // 1_000_000
        self.past = Past(listing, key, self._start_seconds)
        self.next_trade_id = self.first_trade_id = first_trade_id
        self._trades: deque[tuple[int, int, int, int, bool]] = deque(maxlen=TRADES_KEPT)
        self._minutes: dict[int, Candle] = {}
        self._minute = Candle(0, 0)
        self._day: Candle | None = None
        self._week_before: Candle | None = None
        self._watched: dict[str, Candle] = {}
        self._sent: dict[str, tuple[int, int]] = {}
        self._unopened: dict[str, None] = {}
        self.on_closed: Callable[[str, Candle, int], None] | None = None
        """Takes each closed candle: its interval, the candle, the event time of its frame (µs)."""

    def add(self, engine_us: int, tick: int, steps: int, buyer_is_maker: bool) -> int:
        """Add a trade; return its id.

        Args:
            engine_us: engine time, µs since the Unix epoch; not before that of the previous trade.
            tick: price in ticks.
            steps: quantity in steps.
            buyer_is_maker: whether the resting order was the bid.
        """
        trade_id = self.next_trade_id
        self.next_trade_id = trade_id + 1
        self._trades.append((trade_id, engine_us, tick, steps, buyer_is_maker))
        seconds = engine_us // 1_000_000
        if seconds >= self._minute.end_seconds:
            start = seconds // 60 * 60
            self._minute = self._minutes[start] = Candle(start, start + 60)
        self._minute.add(tick, steps)
        if self._day is not None:
            self._day.add(tick, steps)
        for candle in self._watched.values():
            if seconds < candle.end_seconds:  # a later trade is added when its candle opens
                candle.add(tick, steps)
        return trade_id

    def day(self) -> Candle:
        """Return the 24 hours before the start and all trades since; the first call computes it."""
        if self._day is None:
            begin = self.past.end_seconds - DAY_SECONDS
            self._day = merged(begin, 0, self.past.parts(begin, self.past.end_seconds))
            for minute in self._minutes.values():
                self._day.merge(minute)
        return self._day

    def week(self) -> Candle:
        """Return `day` and the six days before, of which only one minute per hour is counted: adding up all would take too long."""
        if self._week_before is None:
            hours = range(self.past.end_seconds - 7 * DAY_SECONDS, self.past.end_seconds - DAY_SECONDS, 3600)
            self._week_before = merged(hours.start, 0, (self.past.minute(second // 60) for second in hours))
        return merged(self._week_before.start_seconds, 0, (self._week_before, self.day()))

    def watch(self, interval: str, now_us: int) -> None:
        """Keep the candle of an interval up to date for its stream. Does nothing if it is watched already.

        Args:
            interval: such as `1m`. One longer than a day is first computed by a later `kline_frames`, because it takes
                long.
            now_us: wall clock, µs since the Unix epoch.
        """
        if interval in self._watched or interval in self._unopened:
            return
        start, end = bucket(interval, (now_us - CLOSE_DELAY_US) // 1_000_000)
        if end - start > DAY_SECONDS:
            self._unopened[interval] = None
        else:
            self._watched[interval] = self._candle(start, end)

    def unwatch(self, interval: str) -> None:
        """Stop keeping an interval's candle."""
        self._watched.pop(interval, None)
        self._unopened.pop(interval, None)
        self._sent.pop(interval, None)

    def kline_frames(self, now_us: int, writer: FrameWriter) -> list[Frame]:
        """Return the frames of the kline streams: closed candles, then the open one if it changed. Call it once a second.

        Args:
            now_us: wall clock, µs since the Unix epoch; also the event time of the frames. A candle closes 10 ms after
                its end.
            writer: renders the frames.
        """
        frames: list[Frame] = []
        if self._unopened:  # one at a time, because each adds up weeks
            interval = self._unopened.popitem()[0]
            self._watched[interval] = self._candle(*bucket(interval, (now_us - CLOSE_DELAY_US) // 1_000_000))
        for interval in list(self._watched):
            candle = self._watched[interval]
            for _ in range(_MAX_CLOSED_AT_ONCE):
                if now_us < candle.end_seconds * 1_000_000 + CLOSE_DELAY_US:
                    break
                frames.append(writer.kline(interval, now_us, candle, closed=True))
                if self.on_closed is not None:
                    self.on_closed(interval, candle, now_us)
                candle = self._watched[interval] = Candle(*bucket(interval, candle.end_seconds))
                self._refill(candle)
            state = (candle.start_seconds, candle.trades)
            if self._sent.get(interval) != state:
                self._sent[interval] = state
                frames.append(writer.kline(interval, now_us, candle, closed=False))
        return frames

    def _refill(self, candle: Candle) -> None:
        """Add the recent trades that fall into a candle."""
        inside = []
        for _, engine_us, tick, steps, _ in reversed(self._trades):
            if engine_us < candle.start_seconds * 1_000_000:
                break
            if engine_us < candle.end_seconds * 1_000_000:
                inside.append((tick, steps))
        for tick, steps in reversed(inside):
            candle.add(tick, steps)

    def _candle(self, start: int, end: int) -> Candle:
        if end - start < 60:
            candle = Candle(start, end)
            self._refill(candle)
            return candle
        whole = merged(start, end, self.past.parts(start, end))
        for second in range(max(start, self.past.end_seconds), min(end, self._minute.end_seconds), 60):
            minute = self._minutes.get(second)
            if minute is not None:
                whole.merge(minute)
        return whole

    def klines(self, interval: str, from_seconds: int, to_seconds: int, now_seconds: int) -> list[dict[str, Any]]:
        """Return rows of `/klines`, oldest first. All times are seconds since the Unix epoch.

        Args:
            interval: such as `1m`. Candles of `1s` begin at the earliest with the trades that are kept, all others at
                midnight UTC 30 days before the start.
            from_seconds: the earliest start of a candle.
            to_seconds: the latest start of a candle (inclusive).
            now_seconds: the clock; the candle in progress is the last one.
        """
        first = max(from_seconds, self._first_whole_second() if interval == "1s" else self.past.begin_seconds)
        start, end = bucket(interval, first)
        if start < first:
            start, end = bucket(interval, end)
        rows = []
        while start <= min(to_seconds, now_seconds):
            candle = self._candle(start, end)
            rows.append(candle.row(self._listing.price_places, self._listing.quantity_places))
            start, end = bucket(interval, end)
        return rows

    def _first_whole_second(self) -> int:
        """Return the first second from which every trade is kept, so that the candles of seconds are complete."""
        if len(self._trades) < TRADES_KEPT:
            return self._start_seconds
        return self._trades[0][1] // 1_000_000 + 1

    def trades(self, offset: int, limit: int) -> list[dict[str, Any]]:
        """Return rows of `/trades` and `/trades/history`, newest first; their timestamps are in ms since the Unix epoch.

        Args:
            offset: number of newest trades to skip.
            limit: the most rows to return.
        """
        rows = []
        for back in range(offset, offset + limit):
            if back < len(self._trades):
                trade = self._trades[-1 - back]
            elif (before := back - len(self._trades) + 1) <= min(self.past.trades, self.first_trade_id - 1) and len(
                self._trades
            ) < TRADES_KEPT:
                trade = (self.first_trade_id - before, *self.past.trade(before))
            else:
                break
            rows.append(self._trade_row(*trade))
        return rows

    def _trade_row(self, trade_id: int, engine_us: int, tick: int, steps: int, buyer_is_maker: bool) -> dict[str, Any]:
        prices, quantities = self._listing.price_places, self._listing.quantity_places
        return {
            "id": trade_id,
            "price": trimmed(tick, prices),
            "quantity": trimmed(steps, quantities),
            "quoteQuantity": trimmed(tick * steps, prices + quantities),
            "timestamp": engine_us // 1000,
            "isBuyerMaker": buyer_is_maker,
        }

    def ticker_row(self, interval: str = "1d") -> dict[str, Any]:
        """Return the row of `/tickers`. Before the first trade the figures are 0 and the change in percent is `"N/A"`.

        The change in percent is a fraction of the first price with six places: `0.012345` is 1.2345 %.

        Args:
            interval: `1d` or `1w`; see `day` and `week` for what they cover.
        """
        day = self.week() if interval == "1w" else self.day()
        places = self._listing.price_places
        change = day.close - day.open
        return {
            "symbol": self._listing.symbol,
            "firstPrice": trimmed(day.open, places),
            "lastPrice": trimmed(day.close, places),
            "priceChange": trimmed(change, places),
            "priceChangePercent": padded(change * 1_000_000 // day.open, 6) if day.trades else "N/A",
            "high": trimmed(day.high, places),
            "low": trimmed(day.low, places),
            "volume": trimmed(day.volume, self._listing.quantity_places),
            "quoteVolume": trimmed(day.quote, places + self._listing.quantity_places),
            "trades": str(day.trades),
        }
