"""The read model: what the gateway knows of every market. Tasks that read Kafka fill it; endpoints and streams read it. Sans I/O."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any

from backpack_streams.books.market_view import MarketView
from backpack_streams.books.status import Status
from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.book_answers import BookAnswer, BookStatus
from backpack_streams.gateway.candles import MINUTE_MICROS, Candle, CandleWindow
from backpack_streams.gateway.changes import (
    BOOK,
    CANDLES,
    LIQUIDATIONS,
    MARK_PRICE,
    MARKETS,
    MISSED,
    TICKER,
    TRADES,
    Change,
    Listener,
)
from backpack_streams.gateway.clock_offsets import ClockOffsets
from backpack_streams.gateway.errors import UnavailableError, UnknownSymbolError
from backpack_streams.gateway.quote_volumes import QuoteVolumes, of_first_trades
from backpack_streams.gateway.rows import NO_OPEN_INTEREST, mark_price_row, market_row, open_interest_row, ticker_row
from backpack_streams.gateway.topic_names import (
    DEPTH_TOPIC,
    KLINE_TOPIC,
    LIQUIDATION_TOPIC,
    MARK_PRICE_TOPIC,
    OPEN_INTEREST_TOPIC,
    STREAMED_TOPICS,
    TICKER_TOPIC,
    TRADE_TOPIC,
)
from backpack_streams.gateway.windows import Entry, LiquidationWindow, NewestValue, TradeWindow
from backpack_streams.runtime.nearest import nearest

__all__ = ["BookAnswer", "BookStatus", "MarketData"]


class MarketData:
    """Accepts records in the order of their partitions, and notifies listeners of changes. All times are µs since the Unix epoch."""

    def __init__(
        self,
        trades_kept: int = 1_000,
        candles_kept: int = 500,
        now_us: Callable[[], int] = lambda: time.time_ns() // 1000,
    ) -> None:
        """Start without markets.

        Args:
            trades_kept: the newest trades to keep of each market.
            candles_kept: the newest candles to keep of each market and interval.
            now_us: returns the wall clock's time (µs since the Unix epoch).
        """
        self._now_us = now_us
        self.clock_offsets = ClockOffsets()
        """How far our clock is ahead of the producers' clocks."""
        self.candles_kept = candles_kept
        """Number of candles kept of each market and interval."""
        self._trades_kept = trades_kept
        self._markets: dict[str, Row] = {}
        self.markets_version = 0
        """Number of changes of the market list since the start of this process."""
        self._views: Mapping[str, MarketView] = {}
        self._book_changes: dict[str, int] = {}
        self._value_changes: Counter[str] = Counter()
        self._values: dict[str, dict[str, NewestValue]] = {
            TICKER_TOPIC: {},
            MARK_PRICE_TOPIC: {},
            OPEN_INTEREST_TOPIC: {},
        }
        self._trades: dict[str, TradeWindow] = {}
        self._candles: dict[tuple[str, str], CandleWindow] = {}
        self._volumes: dict[str, QuoteVolumes] = {}
        self._liquidations: dict[str, LiquidationWindow] = {}
        self._listeners: list[Listener] = []
        self._unavailable: dict[str, str] = {}
        self._is_news = True
        self.starts = 0
        """Number of times that trades, candles and liquidations began anew."""
        self._completeness: Callable[[str, str | None], int | None] = lambda topic, stream: None
        self._takers: dict[str, Callable[[str, Mapping[str, Any], int], None]] = {
            TICKER_TOPIC: self._take_ticker,
            TRADE_TOPIC: self._take_trade,
            KLINE_TOPIC: self._take_candle,
            MARK_PRICE_TOPIC: self._take_mark_price,
            OPEN_INTEREST_TOPIC: self._take_open_interest,
            LIQUIDATION_TOPIC: self._take_liquidation,
        }

    # Questions ------------------------------------------------------------------------------------------------

    def markets(self) -> Mapping[str, Row]:
        """Return the market list's rows by symbol, in the order of their symbols."""
        return self._markets

    def market_type(self, symbol: str) -> str | None:
        """Return the kind of a market, such as SPOT or PERP; None if the market list does not have it."""
        row = self._markets.get(symbol)
        return None if row is None else row["market_type"]

    def check_symbol(self, symbol: str) -> None:
        """Check that a market exists: it is listed, or Kafka has its book.

        Raises:
            UnknownSymbolError: there is no such market.
            UnavailableError: Kafka does not answer, or there is no market list yet.
        """
        if symbol in self._markets or symbol in self._views:
            return
        self.check_available()
        if not self._markets:
            raise UnavailableError("the market list is not in Kafka yet; check that rest-poller runs, then try again")
        hint = nearest(symbol, list(self._markets))
        raise UnknownSymbolError(f"there is no market {symbol!r}{hint or '; /v1/markets lists all'}")

    def orderbook(self, symbol: str, depth: int) -> BookAnswer:
        """Return the best levels of a book, whatever its status.

        Args:
            symbol: the market.
            depth: the maximum number of levels per side.

        Raises:
            UnknownSymbolError: there is no such market.
            UnavailableError: Kafka does not answer, or there is no market list yet.
        """
        self.check_symbol(symbol)
        view = self._views.get(symbol)
        if view is None:
            why = self.unavailable() or "Kafka has no snapshot of this book yet"
            return BookAnswer(symbol, [], [], None, Status.SYNCING.value, why, None, None)
        bids, asks = view.book.depth_units(depth)
        as_of = view.as_of
        return BookAnswer(
            symbol,
            bids,
            asks,
            view.last_update_id,
            view.status.value,
            view.reason,
            as_of,
            None if as_of is None else self.watermark_age_ms(as_of),
        )

    def book_status(self, symbol: str) -> BookStatus:
        """Return the status of the book of a listed market; SYNCING if Kafka has no snapshot of it."""
        view = self._views.get(symbol)
        if view is None:
            return BookStatus(Status.SYNCING.value, "Kafka has no snapshot of this book yet", None, None, (-1, 0, 0))
        as_of = view.as_of
        version = view.last_update_id or -1, view.breaks, self._book_changes.get(symbol, 0)
        return BookStatus(
            view.status.value, view.reason, as_of, None if as_of is None else self.watermark_age_ms(as_of), version
        )

    def age_ms(self, as_of: int) -> int:
        """Return the age (ms) of a time by our clock (µs); 0 if it is in the future."""
        return max(0, self._now_us() - as_of) // 1000

    def watermark_age_ms(self, as_of: int) -> int:
        """Return the age (ms) of a time by a producer's clock (µs), corrected by the difference of the clocks."""
        return self.age_ms(as_of + self.clock_offsets.ahead_us())

    def newest(self, channel: str, symbol: str, limit: int = 1) -> list[Entry]:
        """Return at most `limit` rows of a channel of a market, newest first. Of a ticker or a mark price there is only one."""
        found = self._window(channel, symbol).newest(limit)
        return [each.entry if isinstance(each, Candle) else each for each in found]

    def sequence(self, channel: str, symbol: str) -> int:
        """Return the highest sequence of a channel of a market so far; -1 if there is none."""
        return self._window(channel, symbol).sequence

    def after(self, channel: str, symbol: str, sequence: int) -> list[Entry] | None:
        """Return the rows after a sequence, in order; None if some may be missing, or if the sequence was not reached yet.

        Of a ticker or a mark price the newest row is all of them, of candles the newest state of each.
        """
        return self._window(channel, symbol).after(sequence)

    def _window(self, channel: str, symbol: str) -> TradeWindow | CandleWindow | LiquidationWindow | NewestValue:
        if channel == TRADES:
            return self.trade_window(symbol)
        if channel == LIQUIDATIONS:
            return self._liquidations.get(symbol) or LiquidationWindow()
        if channel.startswith(CANDLES):
            return self.candle_window(symbol, channel.removeprefix(CANDLES))
        return self._values[TICKER_TOPIC if channel == TICKER else MARK_PRICE_TOPIC].get(symbol) or NewestValue()

    def value(self, topic: str, symbol: str) -> Entry | None:
        """Return the newest row of a market on a topic (without prefix) whose records replace each other; None if there is none."""
        known = self._values[topic].get(symbol)
        return None if known is None else known.entry

    def values(self, topic: str) -> dict[str, Entry]:
        """Return the newest row of every market on such a topic, by symbol."""
        return {symbol: each.entry for symbol, each in self._values[topic].items() if each.entry is not None}

    def values_version(self, topic: str) -> int:
        """Return a number that grows with each change of these rows."""
        return self._value_changes[topic]

    def trade_window(self, symbol: str) -> TradeWindow:
        """Return the trades of a market that are in memory; a detached empty window if there are none."""
        return self._trades.get(symbol) or TradeWindow(self._trades_kept)

    def candle_window(self, symbol: str, interval: str) -> CandleWindow:
        """Return the candles of a market that are in memory; a detached empty window if there are none."""
        return self._candles.get((symbol, interval)) or CandleWindow(self.candles_kept)

    def with_quote_volume(self, symbol: str, candle: Candle, window: CandleWindow) -> Candle:
        """Return a candle with its quote volume if the trades in memory prove it; otherwise return it unchanged.

        Args:
            symbol: the market.
            candle: a candle of `window`.
            window: gets the amended candle too.
        """
        row = candle.row
        if row["quote_volume"] is not None or row["trades"] is None or row["volume"] is None:
            return candle
        volumes, start, end = self._volumes.get(symbol), candle.start_us, candle.end_us
        found = None
        if not row["trades"]:
            found = Decimal(0)
        elif volumes is not None and (end - start) % MINUTE_MICROS == 0:
            found = volumes.within(start, end, row)
        if found is None and not candle.is_closed:
            found = of_first_trades(self.trade_window(symbol).newest(self._trades_kept), start, end, row)
        return candle if found is None else window.amend(candle, quote_volume=found)

    def complete_through(self) -> dict[str, int | None]:
        """Return by topic, without prefix, the time (by a producer's clock) up to which everything was read.

        The time is None while a stream of the topic is not covered.
        """
        moments = [view.as_of for view in self._views.values() if view.status is not Status.CLOSED]
        known = [moment for moment in moments if moment is not None]
        depth = min(known) if known and len(known) == len(moments) else None
        return {DEPTH_TOPIC: depth, **{topic: self._completeness(topic, None) for topic in STREAMED_TOPICS}}

    def stream_complete_through(self, topic: str, stream: str) -> int | None:
        """Return the time up to which everything of one stream, such as `trade.SOL_USDC`, was read; None while it is not covered."""
        return self._completeness(topic, stream)

    def set_completeness(self, ask: Callable[[str, str | None], int | None]) -> None:
        """Use `ask` to find the completeness of a topic (without prefix), or of one of its streams if the second argument names it."""
        self._completeness = ask

    def books(self) -> Mapping[str, MarketView]:
        """Return the books by symbol."""
        return self._views

    def unavailable(self) -> str:
        """Return why Kafka cannot be read now; empty while it can."""
        return "; ".join(dict.fromkeys(self._unavailable.values()))

    def check_available(self) -> None:
        """Check that Kafka can be read.

        Raises:
            UnavailableError: it cannot.
        """
        why = self.unavailable()
        if why:
            raise UnavailableError(f"{why}; the gateway goes on by itself once Kafka answers")

    # News -----------------------------------------------------------------------------------------------------

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener` synchronously with each change from now on. Returns a function that ends this."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def set_unavailable(self, part: str, why: str) -> None:
        """Set why a part of the gateway cannot read Kafka; empty if it can."""
        self._unavailable.pop(part, None)
        if why:
            self._unavailable[part] = why

    def set_books(self, views: Mapping[str, MarketView]) -> None:
        """Use these books, by symbol; they are a live view."""
        self._views = views

    def books_changed(self, symbols: Iterable[str]) -> None:
        """Notify the listeners of books whose levels or status have changed."""
        for symbol in symbols:
            view = self._views.get(symbol)
            self._book_changes[symbol] = self._book_changes.get(symbol, 0) + 1
            self._tell(Change(BOOK, symbol, -1 if view is None else view.last_update_id or -1, None))

    def set_markets(self, rows: Mapping[str, Row]) -> None:
        """Replace the market list by these rows of `/v1/markets`, by symbol. Listeners are notified of markets that it did not have."""
        before = self._markets
        self._replace_markets(rows)
        for symbol, row in self._markets.items():
            if symbol not in before:
                self._tell(Change(MARKETS, symbol, -1, row))

    def _replace_markets(self, rows: Mapping[str, Row]) -> None:
        self._markets = dict(sorted(rows.items()))
        self.markets_version += 1

    def take_market(self, symbol: str, record: Mapping[str, Any] | None, offset: int) -> None:
        """Update one market of the list. Listeners are notified of a market that it did not have, and of one that is delisted.

        Args:
            symbol: the market.
            record: its Market record; None if the market is delisted.
            offset: the offset of the record.
        """
        rows = dict(self._markets)
        known, row = rows.pop(symbol, None), None if record is None else market_row(record)
        if row is not None:
            rows[symbol] = row
        self._replace_markets(rows)
        if known is None or row is None:
            self._tell(Change(MARKETS, symbol, offset, row))

    def take(self, topic: str, symbol: str, record: Mapping[str, Any], offset: int, *, is_news: bool = True) -> None:
        """Add a record.

        Args:
            topic: the topic, without prefix; one that this model keeps.
            symbol: the market.
            record: the decoded record; its numbers are `Decimal`.
            offset: the offset of the record; -1 for a row from REST.
            is_news: whether to notify listeners. False for records that are older than those added before.
        """
        self._is_news = is_news
        try:
            self._takers[topic](symbol, record, offset)
        finally:
            self._is_news = True

    def start_over(self) -> None:
        """Forget all trades, candles and liquidations, since some were missed; they are read anew. Listeners are notified."""
        for windows in (self._trades, self._candles, self._volumes, self._liquidations):
            windows.clear()
        self.starts += 1
        self._tell(Change(MISSED, "", -1, None))

    def _take_ticker(self, symbol: str, record: Mapping[str, Any], offset: int) -> None:
        self._take_value(TICKER_TOPIC, TICKER, symbol, record, ticker_row(record), offset)

    def _take_mark_price(self, symbol: str, record: Mapping[str, Any], offset: int) -> None:
        interest = self.value(OPEN_INTEREST_TOPIC, symbol)
        row = {**mark_price_row(record), **(NO_OPEN_INTEREST if interest is None else interest.row)}
        self._take_value(MARK_PRICE_TOPIC, MARK_PRICE, symbol, record, row, offset)

    def _take_open_interest(self, symbol: str, record: Mapping[str, Any], offset: int) -> None:
        self._take_value(OPEN_INTEREST_TOPIC, None, symbol, record, open_interest_row(record), offset)

    def _take_value(
        self, topic: str, channel: str | None, symbol: str, record: Mapping[str, Any], row: Row, offset: int
    ) -> None:
        values = self._values[topic]
        value = values.get(symbol) or values.setdefault(symbol, NewestValue())
        if not value.take(record, row, offset):
            return
        self._value_changes[topic] += 1
        if channel is not None:
            self._tell(Change(channel, symbol, offset, row))

    def _take_trade(self, symbol: str, record: Mapping[str, Any], offset: int) -> None:
        window = self._trades.get(symbol) or self._trades.setdefault(symbol, TradeWindow(self._trades_kept))
        taken = window.take(record, offset)
        if taken is None:
            return
        if taken.is_new:
            volumes = self._volumes.get(symbol) or self._volumes.setdefault(symbol, QuoteVolumes(self.candles_kept))
            volumes.add(taken.entry)
        self._tell(Change(TRADES, symbol, offset, taken.entry.row))

    def _take_candle(self, symbol: str, record: Mapping[str, Any], offset: int) -> None:
        key = symbol, record["interval"]
        window = self._candles.get(key) or self._candles.setdefault(key, CandleWindow(self.candles_kept))
        candle = window.take(record, offset)
        if candle is not None:
            candle = self.with_quote_volume(symbol, candle, window)
            self._tell(Change(CANDLES + record["interval"], symbol, offset, candle.entry.row))

    def _take_liquidation(self, symbol: str, record: Mapping[str, Any], offset: int) -> None:
        window = self._liquidations.get(symbol) or self._liquidations.setdefault(symbol, LiquidationWindow())
        entry = window.take(record, offset)
        if entry is not None:
            self._tell(Change(LIQUIDATIONS, symbol, offset, entry.row))

    def _tell(self, change: Change) -> None:
        if not self._is_news:
            return
        for listener in tuple(self._listeners):
            listener(change)
