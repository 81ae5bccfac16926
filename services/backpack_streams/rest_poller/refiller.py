"""Follows the gap topic, fetches the trades and candles that are missing, and says on the same topic what became of each gap."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from enum import Enum
from functools import partial
from http import HTTPStatus
from typing import Any

from backpack_streams.backoff import Backoff
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.errors import BackpackStreamsError, BusError, CodecError
from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError, RestUnusableAnswerError
from backpack_streams.exchange.streams import split_stream
from backpack_streams.feed import reports
from backpack_streams.feed.publishing import Publishing, now_us
from backpack_streams.rest_poller.history import KLINE_TOPIC, TRADE_TOPIC, History, Published
from backpack_streams.rest_poller.history_search import CandleSearch, TradeSearch
from backpack_streams.rest_poller.recall import GAPS_RECALLED, read_records
from backpack_streams.rest_poller.refilling import (
    CONFLATED_CHANNELS,
    REFILLED_CHANNELS,
    TRADE,
    Refill,
    RefillPlan,
)
from backpack_streams.sequencing.spans import Span

logger = logging.getLogger(__name__)

GAP_TOPIC = "ops.gap"
TOPICS = (TRADE_TOPIC, KLINE_TOPIC)
WORKERS_A_CHANNEL = 2
"""Candles wait for the limit of historical requests, so trades do not wait behind them."""
_GAP_POLL_MILLIS = 1000
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 10.0
_LOOK_SECONDS = 1.0


_Ask = Callable[[], Awaitable[int | None]]
_Publish = Callable[[list[Any], int], Awaitable[Published]]


class _Attempt(Enum):
    """What became of an attempt: nothing is left to do, something is, or only to see that nothing was missed."""

    CLOSED = 1
    FAILED = 2
    SETTLES = 3


class Refiller:
    """The shell round `RefillPlan`.

    `takes` says which symbols are ours. `on_outage` is told of channels whose last value is worth asking for at once.
    """

    def __init__(
        self,
        publishing: Publishing,
        rest: RestClient,
        takes: Callable[[str], bool],
        on_outage: Callable[[str], None],
    ) -> None:
        self._publishing = publishing
        self._takes = takes
        self._on_outage = on_outage
        self._history = History(publishing, rest, Priority.REFERENCE)
        self._plan = RefillPlan()
        self._wake = asyncio.Event()
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._gap_offsets: dict[Place, int] = {}
        self.gaps_refilled = 0
        self.gaps_incomplete = 0
        self.read_failures = 0

    @property
    def published(self) -> int:
        """Records published to fill gaps."""
        return self._history.published

    def open_spans(self) -> dict[str, int]:
        """Gaps that wait for their refill, by channel."""
        return {channel: self._plan.open_spans(channel) for channel in REFILLED_CHANNELS}

    def oldest_open_seconds(self) -> dict[str, float]:
        """For how long the oldest of them has waited, by channel."""
        now = time.monotonic()
        return {channel: self._plan.oldest_open_seconds(channel, now) for channel in REFILLED_CHANNELS}

    async def run(self) -> None:
        """Follows the gap topic and fetches, until cancelled. Survives whatever Kafka and the exchange do meanwhile."""
        while True:
            try:
                await self._serve()
            except* BusError as errors:
                self.read_failures += 1
                logger.warning("refilling stopped; it starts again", extra={"error": str(errors.exceptions[0])})
            await asyncio.sleep(self._backoff.next_delay_seconds())

    async def _serve(self) -> None:
        if not self._gap_offsets:
            await self._recall()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            for channel in REFILLED_CHANNELS:
                for _ in range(WORKERS_A_CHANNEL):
                    tasks.create_task(self._work(channel))

    async def _recall(self) -> None:
        """What is still on the work list from before."""
        async with self._reader() as reader:
            places = await reader.places(self._publishing.prefix + GAP_TOPIC)
            ends, beginnings = await reader.ends(places), await reader.beginnings(places)
            starts = {place: max(beginnings[place], ends[place] - GAPS_RECALLED) for place in places}
            await read_records(reader, starts, ends, lambda record: self._take(record.value, is_new=False))
        self._gap_offsets = ends
        if open_spans := sum(self.open_spans().values()):
            logger.info("gaps from before are to be refilled", extra={"gaps": open_spans})

    async def _follow(self) -> None:
        async with self._reader() as reader:
            reader.follow(self._gap_offsets)
            while True:
                records = await reader.poll(_GAP_POLL_MILLIS)
                self._backoff.reset()
                for partition, batch in records.items():
                    for record in batch:
                        try:
                            self._take(record.value, is_new=True)
                        except CodecError as error:
                            logger.warning("a gap record cannot be read", extra={"error": str(error)})
                        self._gap_offsets[partition.topic, partition.partition] = record.offset + 1

    def _reader(self) -> Reader:
        return Reader(self._publishing.connection, self._publishing.codec)

    def _take(self, value: bytes | None, *, is_new: bool) -> None:
        if value is None:
            return
        _, gap = self._publishing.codec.decode(value)
        if not self._takes(gap["symbol"]):
            return
        if self._plan.take(gap, time.monotonic()):
            self._wake.set()
        elif is_new:
            self._tell_outage(gap)

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
        """One attempt: each page is published and put on record before the next is asked for, so one that fails costs itself alone."""
        search, ask, publish = self._means(refill)
        told, received_us = refill.span[0], 0
        while (answered_us := await ask()) is not None:
            received_us = answered_us
            if search.span != refill.span:
                refill = self._extend(refill, search.span)
            if search.until > told:
                found = [search.found[each] for each in sorted(search.found) if told <= each < search.until]
                published = await publish(found, received_us)
                self._tell(refill, published)
                if not published.had_room:
                    return _Attempt.FAILED
                told = search.until
        for span in search.unreadable:
            self._close(refill, span, reports.REFILL_INCOMPLETE, "its row cannot be read; see the dead letters")
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
                refill, span, reports.REFILL_INCOMPLETE, "the exchange's REST API does not have it, or no longer"
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
        """In a time that nobody covered all of this was missed. It is on record before any part of it is on record as refilled: who
        reads the gaps after a restart would take that part for all.
        """
        self._plan.extend(refill.stream, span)
        detail = "the exchange has trades of a time that nobody covered"
        self._record(refill, span, reports.SEQUENCE_BREAK, detail)
        return replace(refill, span=span)

    def _tell(self, refill: Refill, published: Published) -> None:
        for span in published.spans:
            self._close(refill, span, reports.REFILLED, "what was missing has been published from REST")
        for span in published.unfit:
            self._close(refill, span, reports.REFILL_INCOMPLETE, "it does not fit its record; see the dead letters")
        for span in published.rejected:
            self._close(refill, span, reports.REFILL_INCOMPLETE, "Kafka refuses it for good; see the dead letters")

    def _close(self, refill: Refill, span: Span, reason: str, detail: str) -> None:
        """Takes a part off the work list, here and on the gap topic."""
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
            "no refill yet", extra={"stream": refill.stream, "attempt": refill.attempts + 1, "error": str(error)}
        )


def _is_about_the_question(error: RestError) -> bool:
    """Whether the exchange refuses just this, or answers it with something else; any other failure says nothing of what it has."""
    return error.status in (HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND) or isinstance(error, RestUnusableAnswerError)
