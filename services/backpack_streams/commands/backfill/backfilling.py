"""The work of `backfill`: requests the past piece by piece, oldest first if the exchange allows it, and publishes each piece."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TypeVar

from backpack_streams.backoff import Backoff
from backpack_streams.commands.backfill.progress import Bookmark, Reached, Shown, shown_time
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.rest import MOST_FUNDING_RATES
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.exchange.rest_wire import FundingRate, Trade
from backpack_streams.exchange.streams import StreamKind
from backpack_streams.rest_poller.history import History, Published, rate_time_in
from backpack_streams.rest_poller.history_search import CANDLES_A_PAGE, CandleSearch, TradeSearch, length_micros
from backpack_streams.rest_poller.refilling import FIRST_TRADE_ID

logger = logging.getLogger(__name__)

TRADES_A_PIECE = 1_000
FUNDING_RATES_A_PAGE = MOST_FUNDING_RATES
FUNDING_INTERVAL_MICROS = 3_600_000_000
"""A rate counts as settled once the interval after it is over as well, or once another rate follows it."""
MOST_MISSING = 100
"""How many descriptions of unavailable parts are kept."""
MOST_ATTEMPTS = 10
FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 30.0
_NO_ID = 1 << 62

T = TypeVar("T")


class BackfillIncompleteError(BackpackStreamsError):
    """Part of the requested data is unavailable."""


class BackfillInterruptedError(BackpackStreamsError):
    """The exchange did not answer, or Kafka had no room. What was written stays, and another run continues from there."""


@dataclass(slots=True)
class Backfilling:
    """One stream of one market.

    Attributes:
        kind: trades, candles or funding rates.
        symbol: the market.
        from_us: start (inclusive), µs since the Unix epoch.
        to_us: end (exclusive), µs since the Unix epoch.
        history: fetches from the exchange and publishes to Kafka.
        bookmark: stores the progress in Kafka.
        show: shows the progress to the user.
        reached: where an earlier run ended; None if there was none.
    """

    kind: StreamKind
    symbol: str
    from_us: int
    to_us: int
    history: History
    bookmark: Bookmark
    show: Shown
    reached: Reached | None
    missing: list[str] = field(default_factory=list)
    """Descriptions of what is unavailable, earlier runs included."""

    def __post_init__(self) -> None:
        if self.reached is not None:
            self.missing += self.reached.missing

    async def run(self) -> None:
        """Publish all that is not published yet. The bookmark follows each piece that Kafka has acknowledged.

        Raises:
            BackfillInterruptedError: it could not continue; another run continues after the last piece.
            RestError: the exchange refuses the request.
            BusError: Kafka refuses the bookmark, or the publisher has failed.
        """
        work = {"trade": self._trades, "kline": self._candles, "fundingRate": self._funding_rates}[self.kind.channel]
        await work()
        self.show(1.0, f"until {shown_time(self.to_us)}")

    async def _candles(self) -> None:
        interval = self.kind.parameter or ""
        length_us = length_micros(interval)
        cursor = max(self.from_us, self.reached.until_us if self.reached else 0)
        while cursor < self.to_us:
            end = min(self.to_us, cursor + length_us * CANDLES_A_PAGE)
            search = CandleSearch((cursor, end), interval)

            received_us = await self._all_pages(partial(self.history.next_candles, self.symbol, interval, search))
            candles = [search.found[start] for start in sorted(search.found)]
            self._check(await self.history.publish_candles(candles, received_us))
            for start, until in search.late():
                if until - start >= length_us and start + length_us <= received_us - length_us:
                    self._miss(f"candles from {shown_time(start)} to {shown_time(until)}")
            for start, until in search.unreadable:
                self._miss(f"candles from {shown_time(start)} to {shown_time(until)}, which cannot be read")
            if end == self.to_us:
                end = max((candle.end_us for candle in candles), default=cursor)
                await self._mark(None, end, is_done=True)
                return
            cursor = end
            await self._mark(None, cursor)
            self._show(cursor)

    async def _trades(self) -> None:
        """Publish trades. The exchange gives them from the newest back, so all pages come first: at most 10,000 trades."""
        search, from_us, received_us = await self._search_trades()
        found = [search.found[each] for each in sorted(search.found)]
        trades = [trade for trade in found if from_us <= trade.timestamp_ms * 1000 < self.to_us]
        self._note_missing_trades(found, trades, search, from_us)
        self._note_unreadable_trades(search, trades)
        for at in range(0, len(trades), TRADES_A_PIECE):
            piece = trades[at : at + TRADES_A_PIECE]
            self._check(await self.history.publish_trades(piece, received_us))
            until_us = piece[-1].timestamp_ms * 1000
            await self._mark(piece[-1].trade_id, until_us)
            self.show((at + len(piece)) / len(trades), f"until {shown_time(until_us)}")
        if trades:
            await self._mark(trades[-1].trade_id, self.to_us, is_done=True)

    async def _search_trades(self) -> tuple[TradeSearch, int, int]:
        """Search for the trades that no earlier run published.

        If the newest id is below the last published one, the exchange gave an older answer, or has listed the market again with ids from 1.
        The time of the trades tells which: an older answer has none from after the earlier run.

        Returns:
            The search, the time from which on its trades count, and when the last answer came (both µs since the Unix epoch).
        """
        done = self.reached
        if done is None or done.last_id is None:
            return await self._search_from(FIRST_TRADE_ID, self.from_us)
        search, from_us, received_us = await self._search_from(done.last_id + 1, self.from_us)
        if search.newest is None or search.newest >= done.last_id:
            return search, from_us, received_us
        again = await self._search_from(FIRST_TRADE_ID, max(self.from_us, done.until_us + 1))
        if any(trade.timestamp_ms * 1000 >= again[1] for trade in again[0].found.values()):
            self._miss(f"trades after {done.last_id}, if there were any: the market was listed again with ids from 1")
        return again

    async def _search_from(self, first_id: int, from_us: int) -> tuple[TradeSearch, int, int]:
        search = TradeSearch((first_id, _NO_ID), oldest_us=from_us)
        received_us = await self._all_pages(partial(self.history.next_trades, self.symbol, search))
        return search, from_us, received_us

    def _note_missing_trades(self, found: list[Trade], trades: list[Trade], search: TradeSearch, from_us: int) -> None:
        if found and (found[0].trade_id or 0) > search.span[0] and found[0].timestamp_ms * 1000 > from_us:
            before = shown_time(found[0].timestamp_ms * 1000)
            self._miss(f"trades before {before} (id {found[0].trade_id}): the exchange gives the newest 10,000")
        for before_id, after_id in pairwise(trade.trade_id or 0 for trade in trades):
            if after_id != before_id + 1:
                self._miss(f"trades {before_id + 1} to {after_id - 1}")
        if not found and self.reached is None:
            self._miss("any trade at all: the exchange has none of this market")

    def _note_unreadable_trades(self, search: TradeSearch, trades: list[Trade]) -> None:
        """Report unreadable trades after the newest one; those between others are reported as missing already."""
        newest_id = trades[-1].trade_id or 0 if trades else -1
        for start, end in search.unreadable:
            if start > newest_id:
                self._miss(f"trades {start} to {end - 1}, which cannot be read")

    async def _funding_rates(self) -> None:
        start = max(self.from_us, self.reached.until_us if self.reached else 0)
        rates: dict[int, FundingRate] = {}
        unreadable: set[bytes] = set()
        received_us = offset = 0
        newest_end: int | None = None
        while True:
            ask = partial(self.history.funding_rates, self.symbol, FUNDING_RATES_A_PAGE, offset)
            answer = await self._patiently(ask)
            rows, bad_rows, received_us = answer.body.rows, answer.body.bad_rows, answer.received_time_us
            unreadable |= {bad.raw for bad in bad_rows if start <= (rate_time_in(bad) or start) < self.to_us}
            if newest_end is None:
                newest_end = max((row.interval_end_us for row in rows), default=0)
            rates.update((row.interval_end_us, row) for row in rows if start <= row.interval_end_us < self.to_us)
            is_last = len(rows) + len(bad_rows) < FUNDING_RATES_A_PAGE
            if is_last or min((row.interval_end_us for row in rows), default=start) < start:
                break
            offset += FUNDING_RATES_A_PAGE
        if unreadable:
            self._miss(f"{len(unreadable)} that cannot be read, now among the dead letters")
        is_moving = newest_end + FUNDING_INTERVAL_MICROS > received_us
        settled = [rates[end] for end in sorted(rates) if not (is_moving and end == newest_end)]
        self._check(await self.history.publish_funding_rates(settled, received_us))
        if settled:
            await self._mark(None, settled[-1].interval_end_us + 1, is_done=True)

    async def _mark(self, last_id: int | None, until_us: int, *, is_done: bool = False) -> None:
        await self.bookmark.write(Reached(last_id, until_us, tuple(self.missing)), is_done=is_done)

    def _miss(self, what: str) -> None:
        if len(self.missing) > MOST_MISSING or what in self.missing:
            return
        self.missing.append(what if len(self.missing) < MOST_MISSING else "more than can be listed")

    async def _all_pages(self, ask: Callable[[], Awaitable[int | None]]) -> int:
        """Call `ask` until nothing is left to request; return when the last answer came (µs). Each page is retried on its own."""
        received_us = 0
        while (answered_us := await self._patiently(ask)) is not None:
            received_us = answered_us
        return received_us

    async def _patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Retry until the exchange answers, at most `MOST_ATTEMPTS` times.

        Raises:
            BackfillInterruptedError: no attempt succeeded.
            RestError: the exchange refuses the request.
        """
        backoff = Backoff(FIRST_RETRY_SECONDS, LONGEST_RETRY_SECONDS)
        for attempt in range(1, MOST_ATTEMPTS + 1):
            try:
                return await ask()
            except RestError as error:
                if not error.retryable:
                    raise
                if attempt == MOST_ATTEMPTS:
                    raise BackfillInterruptedError(f"{error}; what was written stays, run it again to go on") from error
                logger.warning("the exchange does not answer; trying again", extra={"error": str(error)})
            await asyncio.sleep(backoff.next_delay_seconds())
        raise AssertionError("the loop returns or raises")

    def _check(self, published: Published) -> None:
        """Check that Kafka took everything. Must come before the bookmark, which states that Kafka has all before it."""
        if published.rejected:
            raise BackfillInterruptedError(
                "Kafka refuses some of the records for good; the log and the dead letters say which and why. What was written stays: "
                "let the topic take them, then run it again to go on"
            )
        if not published.had_room:
            raise BackfillInterruptedError(
                "the buffer for Kafka is full; what was written stays, run it again to go on, with more --buffer-mib"
            )
        for start, end in published.unfit:
            what = "a time" if self.kind.channel != "trade" else f"{start} to {end - 1}"
            self._miss(f"what does not fit its record ({what}), now among the dead letters")

    def _show(self, until_us: int) -> None:
        self.show((until_us - self.from_us) / (self.to_us - self.from_us), f"until {shown_time(until_us)}")


def shown_missing(missing: Iterable[str], most: int = 5) -> str:
    """Return the unavailable parts as text.

    Args:
        missing: their descriptions.
        most: the maximum number of descriptions; the number of the others follows.
    """
    words = list(missing)
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "")
