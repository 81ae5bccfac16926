"""Finds the trades or candles of a gap in pages of REST answers. Sans I/O: a search chooses the next page and takes its answer."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from backpack_streams.exchange.rest import DEEPEST_TRADE_HISTORY, MOST_TRADES
from backpack_streams.exchange.rest_wire import Kline, Trade
from backpack_streams.sequencing.spans import Span, Spans

PAGES_AT_MOST: Final = 20
CANDLES_A_PAGE: Final = 1_000
SETTLING_MICROS: Final = 2_000_000
"""A candle that ended less than this before the answer may still change."""
PAGE_MARGIN: Final = 100
"""Minimum overlap of pages in trades, so that trades between two requests do not push the oldest wanted one off its page."""

_SECOND_MICROS: Final = 1_000_000
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "month": 31 * 86_400}


class TradePage(NamedTuple):
    """The next page to request.

    Attributes:
        offset: trades to skip, counted from the newest; None for the newest trades, by the endpoint that does not count
            against the historical limit.
        limit: trades per page.
    """

    offset: int | None
    limit: int


class TradeSearch:
    """Searches for the trades of a span of ids. The exchange counts pages from the newest trade, so they shift while the
    market trades.
    """

    def __init__(self, span: Span, oldest_us: int | None = None, *, is_open: bool = False) -> None:
        """Prepare.

        The first page is the newest one, which shows where the others are. After that the oldest come first: the
        exchange forgets them next, and trades before `until` can be published in order on the way.

        Args:
            span: the ids from start to before end.
            oldest_us: if given, go back from the newest page instead, and no further than this time (µs since the Unix
                epoch).
            is_open: whether the span extends to the newest trade of the first answer.
        """
        self._start, self._end = span
        self._is_open = is_open
        self._oldest_us = oldest_us
        self._looked_at = Spans()
        self._newest: int | None = None
        self._floor = 0
        self._margin = PAGE_MARGIN
        self._pages = 0
        self._asked = TradePage(None, MOST_TRADES)
        self.found: dict[int, Trade] = {}
        self.unreadable = Spans()
        """Ids of unreadable rows."""
        self._answered = Spans()
        """Ids that a page brought, readable or not."""

    def next_page(self) -> TradePage | None:
        """Return the next page to request; None if no page can bring anything more."""
        if self._newest is None:
            return None if self._pages else self._asked
        left = self._looked_at.missing_in(max(self._start, self.floor), min(self._end, self._newest + 1))
        if not left or self._pages >= PAGES_AT_MOST:
            return None
        if self._oldest_us is None:
            start, end = left[0]
            highest = min(end - 1, start + MOST_TRADES - 1 - self._margin)
        else:
            highest = left[-1][1] - 1
        offset = self._newest - highest
        self._asked = TradePage(offset, min(MOST_TRADES, DEEPEST_TRADE_HISTORY - offset))
        return self._asked

    def take(self, rows: Iterable[Trade], count: int, unreadable: Collection[int] = ()) -> None:
        """Take the answer to the page requested last.

        Args:
            rows: its readable trades.
            count: the number of rows, unreadable ones included.
            unreadable: the ids in unreadable rows.
        """
        self._pages += 1
        offset = self._asked.offset or 0
        trades = {row.trade_id: row for row in rows if row.trade_id is not None}
        ids = trades.keys() | set(unreadable)
        if not ids:
            if self._newest is not None and not count:
                self._floor = self._newest - offset + 1
            return
        lowest, highest = min(ids), max(ids)
        oldest_us = min((trade.timestamp_ms * 1000 for trade in trades.values()), default=0)
        if self._oldest_us is not None and trades and oldest_us < self._oldest_us:
            self._floor = lowest
        before, self._newest = self._newest, max(self._newest or 0, highest + offset)
        if before is not None:
            self._margin = min(MOST_TRADES - 1, max(PAGE_MARGIN, 2 * (self._newest - before)))
        if self._is_open and self._pages == 1:
            self._end = max(self._end, self._newest + 1)
        for each in sorted(ids):
            if self._start <= each < self._end:
                self._answered.add(each, each + 1)
                if each in trades:
                    self.found[each] = trades[each]
                elif each not in self.found:
                    self.unreadable.add(each, each + 1)
        # A page that starts below the requested ids shows that there are no others in between.
        self._looked_at.add(lowest, self._newest - offset + 1)
        if count < self._asked.limit:
            self._floor = max(self._floor, lowest)

    @property
    def newest(self) -> int | None:
        """The newest id of the market, found or not; None if no answer had a trade."""
        return self._newest

    @property
    def span(self) -> Span:
        """The ids being searched for, from start to before end."""
        return self._start, self._end

    @property
    def until(self) -> int:
        """No later page brings an id before this one."""
        late = self.late()
        return late[0][0] if late else self._end

    @property
    def lacks_nothing(self) -> bool:
        """Whether the newest trade directly precedes the open end: as far as the exchange shows, nothing was missed."""
        return self._is_open and self._newest == self._end - 2 and self.late() == [(self._end - 1, self._end)]

    @property
    def floor(self) -> int:
        """The lowest id that can be requested."""
        return max(self._floor, (self._newest or 0) - DEEPEST_TRADE_HISTORY + 1)

    def late(self) -> list[Span]:
        """Return the ids that no page brought and a later request may bring."""
        return self._answered.missing_in(max(self._start, min(self._end, self.floor)), self._end)

    def lost(self) -> list[Span]:
        """Return the ids that no page brought and none will: they are past the exchange's limit."""
        return self._answered.missing_in(self._start, min(self._end, max(self._start, self.floor)))


class CandlePage(NamedTuple):
    """The next page to request, in seconds since the Unix epoch."""

    start_s: int
    end_s: int


class CandleSearch:
    """Searches for the closed candles that start in a span of time."""

    def __init__(self, span: Span, interval: str) -> None:
        """Prepare.

        Args:
            span: start and end (µs since the Unix epoch).
            interval: the exchange's name of the interval, e.g. `1m`.
        """
        self._start, self._end = span
        self._page_us = length_micros(interval) * CANDLES_A_PAGE
        self._cursor = self._start
        self.found: dict[int, Kline] = {}
        self.unreadable = Spans()
        """Times of unreadable rows."""
        self._answered = Spans()
        """Times of the candles that a page brought, readable or not."""

    def next_page(self) -> CandlePage | None:
        """Return the next page to request, the same one until its answer is taken; None after the last."""
        if self._cursor >= self._end:
            return None
        # One candle more than needed, so that it does not matter whether the exchange includes its bounds.
        return CandlePage(self._cursor // _SECOND_MICROS, -(-self._page_end // _SECOND_MICROS))

    @property
    def _page_end(self) -> int:
        return min(self._end, self._cursor + self._page_us)

    def take(self, rows: Iterable[Kline], answered_us: int, unreadable: Iterable[Span] = ()) -> None:
        """Take the answer to the page requested last. Candles that were not over when it was made are dropped.

        Args:
            rows: the readable candles.
            answered_us: when the exchange made the answer (µs since the Unix epoch).
            unreadable: start and end in unreadable rows, if known.
        """
        self._cursor = self._page_end
        for start, end in unreadable:
            if self._start <= start < self._end and end + SETTLING_MICROS <= answered_us:
                self.unreadable.add(start, end)
                self._answered.add(start, end)
        for row in rows:
            if self._start <= row.start_us < self._end and row.end_us + SETTLING_MICROS <= answered_us:
                self.found[row.start_us] = row
                self._answered.add(row.start_us, row.end_us)

    @property
    def span(self) -> Span:
        """The time being searched, from start to before end (µs since the Unix epoch)."""
        return self._start, self._end

    @property
    def until(self) -> int:
        """No later page brings a candle before this time (µs since the Unix epoch)."""
        late = self.late()
        return late[0][0] if late else self._end

    def lost(self) -> list[Span]:
        """Return no spans: the exchange keeps all candles."""
        return []

    def late(self) -> list[Span]:
        """Return the times without candles that a later request may bring."""
        return self._answered.missing_in(self._start, self._end)


def length_micros(interval: str) -> int:
    """Return the maximum length of a candle in µs (a month counts 31 days)."""
    digits = interval.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) * _UNIT_SECONDS[interval[len(digits) :]] * _SECOND_MICROS
