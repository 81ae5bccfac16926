"""Fetches trades and candles that gaps say are missing, and records the outcome of each gap on the gap topic."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum
from functools import partial
from http import HTTPStatus
from typing import Any

from backpack_streams.errors import BackpackStreamsError
from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError, RestUnusableAnswerError
from backpack_streams.exchange.streams import split_stream
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing, now_us
from backpack_streams.rest_poller.history import KLINE_TOPIC, TRADE_TOPIC, History, Published
from backpack_streams.rest_poller.history_search import CandleSearch, TradeSearch
from backpack_streams.rest_poller.refilling import (
    CONFLATED_CHANNELS,
    REFILLED_CHANNELS,
    TRADE,
    Refill,
    RefillPlan,
)
from backpack_streams.sequencing.spans import Span

logger = logging.getLogger(__name__)

TOPICS = (TRADE_TOPIC, KLINE_TOPIC)
WORKERS_A_CHANNEL = 2
"""Per channel, because candles wait for the limit on historical requests and should not delay trades."""
_LOOK_SECONDS = 1.0


_Ask = Callable[[], Awaitable[int | None]]
_Publish = Callable[[list[Any], int], Awaitable[Published]]


class _Attempt(Enum):
    """The outcome of an attempt: the span is closed, something is missing, or all that remains is to confirm that nothing
    was missed.
    """

    CLOSED = 1
    FAILED = 2
    SETTLES = 3


class Refiller:
    """Executes a `RefillPlan`."""

    def __init__(
        self,
        publishing: Publishing,
        rest: RestClient,
        takes: Callable[[str], bool],
        on_outage: Callable[[str], None],
    ) -> None:
        """Prepare.

        Args:
            publishing: the publisher, codec and reporter.
            rest: the REST client.
            takes: whether a symbol belongs to this shard.
            on_outage: called with a channel whose last values should be requested at once.
        """
        self._publishing = publishing
        self._takes = takes
        self._on_outage = on_outage
        self._history = History(publishing, rest, Priority.REFERENCE)
        self._plan = RefillPlan()
        self._wake = asyncio.Event()
        self.gaps_refilled = 0
        self.gaps_incomplete = 0

    @property
    def published(self) -> int:
        """How many records were published to fill gaps."""
        return self._history.published

    def open_spans(self) -> dict[str, int]:
        """Return how many gaps wait for a refill, by channel."""
        return {channel: self._plan.open_spans(channel) for channel in REFILLED_CHANNELS}

    def oldest_open_seconds(self) -> dict[str, float]:
        """Return how long the oldest of them has waited in seconds, by channel."""
        now = time.monotonic()
        return {channel: self._plan.oldest_open_seconds(channel, now) for channel in REFILLED_CHANNELS}

    def take(self, gap: Mapping[str, Any], is_new: bool) -> None:
        """Take a record of the gap topic.

        Args:
            gap: the record.
            is_new: whether it is from after the start.
        """
        if not self._takes(gap["symbol"]):
            return
        if self._plan.take(gap, time.monotonic()):
            self._wake.set()
        elif is_new:
            self._tell_outage(gap)

    async def run(self) -> None:
        """Refill until cancelled. Retries after failures of Kafka and of the exchange."""
        async with asyncio.TaskGroup() as tasks:
            for channel in REFILLED_CHANNELS:
                for _ in range(WORKERS_A_CHANNEL):
                    tasks.create_task(self._work(channel))

    def _tell_outage(self, gap: Mapping[str, Any]) -> None:
        channel = split_stream(gap["stream"])[0].channel
        if channel in CONFLATED_CHANNELS and gap["reason"] not in reports.CLOSING_REASONS:
            self._on_outage(channel)

    async def _work(self, channel: str) -> None:
        while True:
            refill = self._plan.next(time.monotonic(), channel)
            if refill is None:
                await self._sleep(channel)
                continue
            had_answer = True
            try:
                attempt = await self._refill(refill)
            except RestError as error:
                had_answer = _is_about_the_question(error)
                attempt = _Attempt.CLOSED if had_answer and refill.is_last_answer else _Attempt.FAILED
                self._tell_failure(refill, error)
                if attempt is _Attempt.CLOSED:
                    self._close(refill, refill.span, reports.REFILL_INCOMPLETE, str(error))
            except BackpackStreamsError as error:
                attempt = _Attempt.FAILED
                self._tell_failure(refill, error)
            match attempt:
                case _Attempt.CLOSED:
                    self._plan.done(refill, time.monotonic())
                case _Attempt.SETTLES:
                    self._plan.settles(refill, time.monotonic())
                case _Attempt.FAILED:
                    self._plan.failed(refill, time.monotonic(), had_answer)

    async def _sleep(self, channel: str) -> None:
        due = self._plan.next_due(channel)
        timeout = _LOOK_SECONDS if due is None else max(0.01, min(_LOOK_SECONDS, due - time.monotonic()))
        self._wake.clear()
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except TimeoutError:
            return

    async def _refill(self, refill: Refill) -> _Attempt:
        """Make one attempt. Each page is published and recorded before the next is requested, so a failed page costs only itself."""
        search, ask, publish = self._means(refill)
        told, received_us = refill.span[0], 0
        while (answered_us := await ask()) is not None:
            received_us = answered_us
            if search.span != refill.span:
                refill = self._extend(refill, search.span)
            until = search.until
            if until > told:
                found = [search.found[each] for each in sorted(search.found) if told <= each < until]
                published = await publish(found, received_us)
                self._tell(refill, published)
                if not published.had_room:
                    return _Attempt.FAILED
                told = until
        for span in search.unreadable:
            self._close(refill, span, reports.REFILL_INCOMPLETE, "its row is unreadable; see the dead letters")
        until = search.until
        late = search.late()
        if isinstance(search, TradeSearch) and search.lacks_nothing:
            if not search.found and not refill.is_last_answer:
                return _Attempt.SETTLES
            if refill.is_last_answer:
                self._close(refill, late[0], reports.REFILLED, "nothing was missing: the exchange has no later trade")
                late = []
        for span in [*search.lost(), *late] if refill.is_last_answer else search.lost():
            self._close(
                refill, span, reports.REFILL_INCOMPLETE, "the exchange's REST API does not have it, or no longer does"
            )
        if not refill.is_last_answer:
            return _Attempt.FAILED if late else _Attempt.CLOSED
        published = await publish([search.found[each] for each in sorted(search.found) if each >= until], received_us)
        self._tell(refill, published)
        return _Attempt.CLOSED if published.had_room else _Attempt.FAILED

    def _means(self, refill: Refill) -> tuple[TradeSearch | CandleSearch, _Ask, _Publish]:
        history, symbol = self._history, refill.symbol
        if refill.kind.channel == TRADE:
            trades = TradeSearch(refill.span, is_open=refill.is_open)
            return trades, partial(history.next_trades, symbol, trades), history.publish_trades
        interval = refill.kind.parameter or ""
        candles = CandleSearch(refill.span, interval)
        return candles, partial(history.next_candles, symbol, interval, candles), history.publish_candles

    def _extend(self, refill: Refill, span: Span) -> Refill:
        """Record that all ids of the extended span were missed while the stream was not covered.

        This is recorded before any part of it is recorded as refilled: after a restart, that part would otherwise be
        taken for the whole.
        """
        self._plan.extend(refill.stream, span)
        detail = "the exchange has trades from a time when the stream was not covered"
        self._record(refill, span, reports.SEQUENCE_BREAK, detail)
        return replace(refill, span=span)

    def _tell(self, refill: Refill, published: Published) -> None:
        for span in published.spans:
            self._close(refill, span, reports.REFILLED, "the missing records were published from REST")
        for span in published.unfit:
            self._close(refill, span, reports.REFILL_INCOMPLETE, "it does not fit its record; see the dead letters")
        for span in published.rejected:
            self._close(refill, span, reports.REFILL_INCOMPLETE, "Kafka refuses it for good; see the dead letters")

    def _close(self, refill: Refill, span: Span, reason: str, detail: str) -> None:
        """Remove a span from the work list, here and on the gap topic."""
        self._plan.closed(refill.stream, span)
        if reason == reports.REFILLED:
            self.gaps_refilled += 1
        else:
            self.gaps_incomplete += 1
        self._record(refill, span, reason, detail)

    def _record(self, refill: Refill, span: Span, reason: str, detail: str) -> None:
        start, end = span
        is_trade = refill.kind.channel == TRADE
        self._publishing.reporter.gap(
            stream=refill.stream,
            symbol=refill.symbol,
            topic=TRADE_TOPIC if is_trade else KLINE_TOPIC,
            reason=reason,
            detail=detail,
            detected_us=now_us(),
            last_id=start - 1 if is_trade else None,
            next_id=end if is_trade else None,
            last_time_us=None if is_trade else start,
            next_time_us=None if is_trade else end,
        )

    def _tell_failure(self, refill: Refill, error: BackpackStreamsError) -> None:
        logger.warning(
            "refill failed; retrying",
            extra={"stream": refill.stream, "attempt": refill.attempts + 1, "error": str(error)},
        )


def _is_about_the_question(error: RestError) -> bool:
    """Whether the exchange refuses this request or gives an unusable answer to it. Other failures say nothing about what
    the exchange has.
    """
    return error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND) or isinstance(error, RestUnusableAnswerError)
