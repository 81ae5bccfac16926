"""How the trades or the candles of a gap are found in pages of REST answers. Sans I/O: a search says what to ask, and takes answers."""

from collections.abc import Collection, Iterable
from typing import Final, NamedTuple

from backpack_streams.exchange.rest import DEEPEST_TRADE_HISTORY, MOST_TRADES
from backpack_streams.exchange.rest_wire import Kline, Trade
from backpack_streams.sequencing.spans import Span, Spans

PAGES_AT_MOST: Final = 20
CANDLES_A_PAGE: Final = 1_000
SETTLING_MICROS: Final = 2_000_000
"""A candle that ended less than this before the answer may not be final."""
PAGE_MARGIN: Final = 100
"""How many trades may happen between two requests without making a page begin after the oldest trade that it is asked for, at the least."""

_SECOND_MICROS: Final = 1_000_000
_UNIT_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800, "month": 31 * 86_400}


class TradePage(NamedTuple):
    """What to ask for next. `offset` None: the newest trades, by the request that has no limit of its own."""

    offset: int | None
    limit: int


class TradeSearch:
    """The trades of a span of ids. The exchange counts its pages from the newest trade on, so they move on while it trades.

    After the newest page, which says where the others are, the oldest come first: the exchange forgets them next, and what is before
    `until` can be published in order on the way. With `oldest_us` (microseconds) it goes back from the newest, to no page older than that.
    `is_open`: the span goes on to the newest trade of the first answer.
    """

    def __init__(self, span: Span, oldest_us: int | None = None, *, is_open: bool = False) -> None:
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
        """Ids of rows that came and cannot be read."""

    def next_page(self) -> TradePage | None:
        """What to ask for next; None when there is nothing left that asking could bring."""
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
        """The answer to the page asked for last, `count` rows long with those that cannot be read. `unreadable`: the ids that these say."""
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
        self.found.update((each, trade) for each, trade in trades.items() if self._start <= each < self._end)
        for each in unreadable:
            if self._start <= each < self._end and each not in self.found:
                self.unreadable.add(each, each + 1)
        # A page that begins below the ids asked for shows that there are none between.
        self._looked_at.add(lowest, self._newest - offset + 1)
        if count < self._asked.limit:
            self._floor = max(self._floor, lowest)

    @property
    def span(self) -> Span:
        """The ids that are searched for."""
        return self._start, self._end

    @property
    def until(self) -> int:
        """No page brings anything before this id any more."""
        late = self.late()
        return late[0][0] if late else self._end

    @property
    def lacks_nothing(self) -> bool:
        """Whether the newest trade is the one right before the open end: nothing was missed there, as far as the exchange says."""
        return self._is_open and self._newest == self._end - 2 and self.late() == [(self._end - 1, self._end)]

    @property
    def floor(self) -> int:
        """No older trade than this one can be asked for."""
        return max(self._floor, (self._newest or 0) - DEEPEST_TRADE_HISTORY + 1)

    def late(self) -> list[Span]:
        """The ids that no page brought, and a later one may."""
        return self._found().missing_in(max(self._start, min(self._end, self.floor)), self._end)

    def lost(self) -> list[Span]:
        """The ids that no page brought, nor ever will: the exchange has moved on too far."""
        return self._found().missing_in(self._start, min(self._end, max(self._start, self.floor)))

    def _found(self) -> Spans:
        found = Spans()
        for each in sorted(self.found):
            found.add(each, each + 1)
        for span in self.unreadable:
            found.add(*span)
        return found


class CandlePage(NamedTuple):
    """What to ask for next, both in seconds since 1970."""

    start_s: int
    end_s: int


class CandleSearch:
    """The closed candles that start inside a span of time (microseconds since 1970)."""

    def __init__(self, span: Span, interval: str) -> None:
        self._start, self._end = span
        self._page_us = length_micros(interval) * CANDLES_A_PAGE
        self._cursor = self._start
        self.found: dict[int, Kline] = {}
        self.unreadable = Spans()
        """Times of rows that came and cannot be read."""

    def next_page(self) -> CandlePage | None:
        """What to ask for next, the same again until an answer to it was taken; None when all was."""
        if self._cursor >= self._end:
            return None
        # One candle more than wanted, so that it does not matter whether the exchange counts its bounds in.
        return CandlePage(self._cursor // _SECOND_MICROS, -(-self._page_end // _SECOND_MICROS))

    @property
    def _page_end(self) -> int:
        return min(self._end, self._cursor + self._page_us)

    def take(self, rows: Iterable[Kline], answered_us: int, unreadable: Iterable[Span] = ()) -> None:
        """The answer to the page asked for last, made at `answered_us`; candles that were not over by then are left out.

        `unreadable`: the times of the rows that cannot be read, if they say them.
        """
        self._cursor = self._page_end
        for start, end in unreadable:
            if self._start <= start < self._end and end + SETTLING_MICROS <= answered_us:
                self.unreadable.add(start, end)
        for row in rows:
            if self._start <= row.start_us < self._end and row.end_us + SETTLING_MICROS <= answered_us:
                self.found[row.start_us] = row

    @property
    def span(self) -> Span:
        """The time that is searched."""
        return self._start, self._end

    @property
    def until(self) -> int:
        """No page brings anything before this moment any more."""
        late = self.late()
        return late[0][0] if late else self._end

    def lost(self) -> list[Span]:
        """The exchange forgets no candle."""
        return []

    def late(self) -> list[Span]:
        """The times whose candles no page brought, and a later one may."""
        found = Spans()
        for start in sorted(self.found):
            found.add(start, self.found[start].end_us)
        for span in self.unreadable:
            found.add(*span)
        return found.missing_in(self._start, self._end)


def length_micros(interval: str) -> int:
    """The longest that a candle of an interval lasts (a month: 31 days), in microseconds."""
    digits = interval.rstrip("abcdefghijklmnopqrstuvwxyz")
    return int(digits) * _UNIT_SECONDS[interval[len(digits) :]] * _SECOND_MICROS
