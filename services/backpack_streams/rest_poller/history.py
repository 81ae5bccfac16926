"""Fetches past trades and candles, publishes them in order, and reports what is unavailable. Used by refills and by `backfill`."""

import logging
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from backpack_streams.bus.codec import Encoder
from backpack_streams.bus.publisher import Handover
from backpack_streams.errors import CodecError
from backpack_streams.exchange.limits import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_decoding import BadRow, Rows
from backpack_streams.exchange.rest_transport import Answer
from backpack_streams.exchange.rest_wire import FundingRate, Kline, Trade
from backpack_streams.exchange.wire_values import iso_time, whole_number
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import Publishing
from backpack_streams.publishing.sources import REST
from backpack_streams.rest_poller.history_records import funding_rate_record, kline_record, trade_record
from backpack_streams.rest_poller.history_search import CandleSearch, TradeSearch
from backpack_streams.sequencing.spans import Span, Spans

logger = logging.getLogger(__name__)

TRADE_TOPIC = "market.trade"
KLINE_TOPIC = "market.kline"
FUNDING_RATE_TOPIC = "perp.funding_rate"
_ROWS_REMEMBERED = 10_000


class Published(NamedTuple):
    """The outcome of a publication, as spans of ids or times.

    Attributes:
        spans: Kafka has them.
        unfit: they do not fit their record; each has a dead letter.
        rejected: Kafka refuses them for good; each has a dead letter.
        had_room: False if the send buffer was full, so that the remaining records were not tried.
    """

    spans: Spans
    unfit: Spans
    rejected: Spans
    had_room: bool


class History:
    """Fetches and publishes past records. Open the topics in `publishing` before the first call."""

    def __init__(self, publishing: Publishing, rest: RestClient, priority: Priority) -> None:
        """Prepare.

        Args:
            publishing: the publisher, codec and reporter.
            rest: the REST client.
            priority: the priority of requests while waiting for the rate limit.
        """
        self._publishing = publishing
        self._rest = rest
        self._priority = priority
        self._encoders: dict[str, Encoder] = {}
        self._told: dict[tuple[str, str, bytes], None] = {}
        """The newest unreadable rows that have a dead letter."""
        self.published = 0

    async def next_trades(self, symbol: str, search: TradeSearch) -> int | None:
        """Request the next page of a search. Returns when the answer came (µs since the Unix epoch), None if no page is
        left.

        Raises:
            RestError: no answer came; the next call requests the same page.
        """
        page = search.next_page()
        if page is None:
            return None
        if page.offset is None:
            answer = await self._rest.trades(symbol, page.limit, priority=self._priority)
        else:
            answer = await self._rest.trades_history(symbol, page.limit, page.offset, priority=self._priority)
        rows, bad_rows = answer.body.rows, answer.body.bad_rows
        self._tell_bad("/api/v1/trades", symbol, bad_rows, answer.received_time_us)
        ids = [each for each in map(trade_id_in, bad_rows) if each is not None]
        search.take(rows, len(rows) + len(bad_rows), ids)
        return answer.received_time_us

    async def next_candles(self, symbol: str, interval: str, search: CandleSearch) -> int | None:
        """Request the next page of a search. Returns when the answer came (µs since the Unix epoch), None if no page is
        left.

        Raises:
            RestError: no answer came; the next call requests the same page.
        """
        page = search.next_page()
        if page is None:
            return None
        answer = await self._rest.klines(symbol, interval, page.start_s, page.end_s, priority=self._priority)
        received_us = answer.received_time_us
        self._tell_bad("/api/v1/klines", symbol, answer.body.bad_rows, received_us)
        spans = [each for each in map(candle_span_in, answer.body.bad_rows) if each is not None]
        search.take(answer.body.rows, received_us - (answer.age_seconds or 0) * 1_000_000, spans)
        return received_us

    async def funding_rates(self, symbol: str, limit: int, offset: int) -> Answer[Rows[FundingRate]]:
        """Return a page of funding rates, newest first. Unreadable rows become dead letters.

        Args:
            symbol: the market.
            limit: rows per page.
            offset: rows to skip, counted from the newest.

        Raises:
            RestError: no answer came.
        """
        answer = await self._rest.funding_rates(symbol, limit, offset, priority=self._priority)
        self._tell_bad("/api/v1/fundingRates", symbol, answer.body.bad_rows, answer.received_time_us)
        return answer

    async def publish_trades(self, trades: Iterable[Trade], received_us: int) -> Published:
        """Publish trades of one market in the given order, and wait for the outcome.

        Args:
            trades: the trades.
            received_us: when the answer came (µs since the Unix epoch).

        Raises:
            BusError: the publisher has failed, so it is unknown what Kafka has.
        """
        ordered = [(trade.trade_id or 0, (trade.trade_id or 0) + 1, trade) for trade in trades]
        return await self._publish(TRADE_TOPIC, ordered, trade_record, received_us)

    async def publish_candles(self, candles: Iterable[Kline], received_us: int) -> Published:
        """Publish closed candles of one market in the given order, and wait for the outcome. For arguments and errors see
        `publish_trades`.
        """
        ordered = [(candle.start_us, candle.end_us, candle) for candle in candles]
        return await self._publish(KLINE_TOPIC, ordered, kline_record, received_us)

    async def publish_funding_rates(self, rates: Iterable[FundingRate], received_us: int) -> Published:
        """Publish settled rates of one market in the given order, and wait for the outcome. For arguments and errors see
        `publish_trades`.
        """
        ordered = [(rate.interval_end_us, rate.interval_end_us + 1, rate) for rate in rates]
        return await self._publish(FUNDING_RATE_TOPIC, ordered, funding_rate_record, received_us)

    async def _publish(
        self,
        topic: str,
        items: Iterable[tuple[int, int, Any]],
        row_of: Callable[[Any, int], dict[str, Any]],
        received_us: int,
    ) -> Published:
        """Publish (start, end, item) in order. All items are of one market, so they share a partition."""
        published, unfit, rejected = Spans(), Spans(), Spans()
        handover: Handover | None = None
        taken: list[tuple[int, int]] = []
        had_room = True
        for start, end, item in items:
            try:
                row = row_of(item, received_us)
                value = self._encoder(topic)(row)
            except CodecError as error:
                self._dead_letter(topic, item.symbol, repr(item).encode(), str(error), received_us, fits=False)
                unfit.add(start, end)
                continue
            key = item.symbol.encode()
            handover = handover or Handover(self._publishing.partition_queue(topic, key))
            if not handover.append(key, value, (row["event_time"] or received_us) // 1000):
                had_room = False
                break
            taken.append((start, end))
        refused = await handover.settled() if handover is not None else frozenset()
        for number, (start, end) in enumerate(taken):
            (rejected if number in refused else published).add(start, end)
        self.published += len(taken) - len(refused)
        return Published(published, unfit, rejected, had_room)

    def _encoder(self, topic: str) -> Encoder:
        if topic not in self._encoders:
            self._encoders[topic] = self._publishing.encoder(topic)
        return self._encoders[topic]

    def _tell_bad(self, path: str, symbol: str, bad_rows: Iterable[BadRow], received_us: int) -> None:
        for bad in bad_rows:
            row = path, symbol, bad.raw
            if row not in self._told:  # a repeated request returns it again
                self._told[row] = None
                self._dead_letter(path, symbol, bad.raw, bad.reason, received_us, fits=True)
        while len(self._told) > _ROWS_REMEMBERED:
            del self._told[next(iter(self._told))]

    def _dead_letter(
        self, origin: str, symbol: str, payload: bytes, detail: str, received_us: int, *, fits: bool
    ) -> None:
        self._publishing.reporter.dead_letter(
            source=REST,
            reason=reports.UNPARSABLE if fits else reports.VALUE_DOES_NOT_FIT,
            detail=detail,
            payload=payload,
            origin=origin,
            symbol=symbol,
            received_us=received_us,
        )


def trade_id_in(bad: BadRow) -> int | None:
    """Return the id in an unreadable row of a trade, None if the id is unreadable too."""
    return bad.value("id", whole_number)


def candle_span_in(bad: BadRow) -> Span | None:
    """Return the start and end in an unreadable row of a candle (µs since the Unix epoch), None if they are unreadable too."""
    start, end = bad.value("start", iso_time), bad.value("end", iso_time)
    return None if start is None or end is None else (start, end)


def rate_time_in(bad: BadRow) -> int | None:
    """Return the time in an unreadable row of a funding rate (µs since the Unix epoch), None if it is unreadable too."""
    return bad.value("intervalEndTimestamp", iso_time)
