"""The REST client of Backpack's public API: one typed call per endpoint, within the rate limits, exact to the digit."""

import random
import ssl
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final, Self, TypeVar

from backpack_streams.errors import UsageError
from backpack_streams.exchange.limits import LimitClass, Priority, RateLimiter
from backpack_streams.exchange.rest_decoding import (
    ARRAY,
    ReadRow,
    Rows,
    Shape,
    decode_depth,
    decode_rows,
    decode_time_ms,
    kline_reader,
    read_funding_rate,
    read_market,
    trade_reader,
)
from backpack_streams.exchange.rest_errors import RestRequest, RestUnusableAnswerError
from backpack_streams.exchange.rest_settings import RestSettings
from backpack_streams.exchange.rest_transport import Answer, Parameters, RawAnswer, RestCounters, RestTransport
from backpack_streams.exchange.rest_wire import DepthSnapshot, FundingRate, Kline, Market, Trade
from backpack_streams.exchange.wire_errors import UnreadableMessageError

__all__ = ["DEPTH_LIMITS", "Answer", "RestClient", "RestSettings", "Rows"]

RowType = TypeVar("RowType")
Decoded = TypeVar("Decoded")

DEPTH_LIMITS: Final = (5, 10, 20, 50, 100, 500, 1000)
"""The numbers of levels that `/depth` accepts; it answers 400 to all others."""
DEEPEST_TRADE_HISTORY: Final = 10_000
"""The end of `/trades/history`: offset + limit may not exceed it."""
MOST_TRADES: Final = 1_000
MOST_FUNDING_RATES: Final = 10_000


class RestClient:
    """Typed calls of the public API. Each takes a `priority` in the rate limiter's queue and returns an `Answer`.

    Use it as `async with RestClient(settings) as client`, or `close()` it. One event loop.

    Raises:
        RestError: from every call, if no usable answer comes (see `rest_errors`).
        UsageError: from calls with parameters that the exchange is known to refuse.
    """

    def __init__(
        self,
        settings: RestSettings | None = None,
        *,
        limiter: RateLimiter | None = None,
        ssl_context: ssl.SSLContext | None = None,
        rng: random.Random | None = None,
        wall_clock_us: Callable[[], int] | None = None,
        on_answer: Callable[[RawAnswer], None] | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            settings: addresses, times and limits.
            limiter: a rate limiter shared with other clients; it outlives this client.
            ssl_context: for `https`; the default follows `RestSettings.network`.
            rng: makes the jitter repeatable.
            wall_clock_us: returns microseconds since the Unix epoch, for received times.
            on_answer: called with every complete answer as received, refusals included.

        Raises:
            UsageError: the base URL is invalid, or the limits leave too few requests.
        """
        self._transport = RestTransport(
            settings or RestSettings(),
            limiter=limiter,
            ssl_context=ssl_context,
            rng=rng,
            wall_clock_us=wall_clock_us,
            on_answer=on_answer,
        )

    @property
    def limiter(self) -> RateLimiter:
        """The rate limiter in use, for its counters."""
        return self._transport.limiter

    @property
    def counters(self) -> RestCounters:
        """The counts of requests and answers so far: a live view, to be read only."""
        return self._transport.counters

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls in progress end with `RestError`. May be called more than once."""
        await self._transport.close()

    async def fetch(
        self,
        path: str,
        parameters: Parameters = (),
        *,
        limit_class: LimitClass = LimitClass.GENERAL,
        priority: Priority = Priority.REFERENCE,
        symbol: str | None = None,
    ) -> Answer[bytes | None]:
        """Fetch any path undecoded, by the same rules as the typed calls; the body is None on status 204.

        Args:
            path: absolute, such as `/api/v1/time`.
            parameters: the query, as names and values.
            limit_class: the rate limit that the endpoint counts against.
            priority: the position in the rate limiter's queue.
            symbol: the market concerned, for error messages.

        Raises:
            RestError: no usable answer came.
        """
        return await self._transport.get(path, parameters, limit_class=limit_class, priority=priority, symbol=symbol)

    async def rows(
        self,
        path: str,
        parameters: Parameters,
        read_row: ReadRow[RowType],
        *,
        shape: Shape = ARRAY,
        limit_class: LimitClass = LimitClass.GENERAL,
        priority: Priority = Priority.REFERENCE,
        symbol: str | None = None,
    ) -> Answer[Rows[RowType]]:
        """The rows of any path, each parsed by `read_row`; none on status 204.

        A row that `read_row` refuses with `UnreadableMessageError` is returned among the bad rows.

        Args:
            path: absolute, such as `/api/v1/time`.
            parameters: the query, as names and values.
            read_row: parses one row.
            shape: the location of the rows in the answer.
            limit_class: the rate limit that the endpoint counts against.
            priority: the position in the rate limiter's queue.
            symbol: the market concerned, for error messages.

        Raises:
            RestError: no usable answer came, or the body has another shape.
        """
        answer = await self.fetch(path, parameters, limit_class=limit_class, priority=priority, symbol=symbol)
        if answer.body is None:
            return _with_body(answer, Rows(()))
        return _decoded(path, symbol, answer, lambda body: decode_rows(body, read_row, shape))

    async def markets(
        self, market_types: Sequence[str] = (), *, priority: Priority = Priority.REFERENCE
    ) -> Answer[Rows[Market]]:
        """All markets. The answer may be 15 min old: check `age_seconds`.

        Args:
            market_types: the exchange's names of market types; empty for spot and perpetual.
            priority: the position in the rate limiter's queue.

        Raises:
            RestError: no usable answer came.
        """
        parameters: Parameters = [("marketType", market_type) for market_type in market_types]
        return await self.rows("/api/v1/markets", parameters, read_market, priority=priority)

    async def depth(
        self, symbol: str, limit: int = 1000, *, priority: Priority = Priority.SNAPSHOT
    ) -> Answer[DepthSnapshot]:
        """The book, with at most `limit` levels per side.

        Args:
            symbol: the market.
            limit: one of `DEPTH_LIMITS`.
            priority: the position in the rate limiter's queue.

        Raises:
            RestError: no usable answer came; its status is 404 for a closed market.
            UsageError: `limit` is not one of `DEPTH_LIMITS`.
        """
        if limit not in DEPTH_LIMITS:
            raise UsageError(
                f"{limit} levels of {symbol} cannot be requested; use one of {', '.join(map(str, DEPTH_LIMITS))}"
            )
        path = "/api/v1/depth"
        answer = await self.fetch(path, [("symbol", symbol), ("limit", limit)], priority=priority, symbol=symbol)
        return _decoded(path, symbol, answer, lambda body: decode_depth(body, symbol))

    async def funding_rates(
        self, symbol: str, limit: int = 100, offset: int = 0, *, priority: Priority = Priority.HISTORY
    ) -> Answer[Rows[FundingRate]]:
        """Funding rates, newest first; the first row is the current interval and still changes.

        Args:
            symbol: the market.
            limit: the number of rows, at most 10,000.
            offset: the number of newest rows to skip.
            priority: the position in the rate limiter's queue.

        Raises:
            RestError: no usable answer came.
            UsageError: `limit` or `offset` is out of range.
        """
        _check_page(symbol, limit, offset, most_rows=MOST_FUNDING_RATES)
        parameters: Parameters = [("symbol", symbol), ("limit", limit), ("offset", offset)]
        return await self._history("/api/v1/fundingRates", parameters, read_funding_rate, priority, symbol)

    async def klines(
        self, symbol: str, interval: str, start_s: int, end_s: int, *, priority: Priority = Priority.HISTORY
    ) -> Answer[Rows[Kline]]:
        """Candles of one market.

        Args:
            symbol: the market.
            interval: such as `1m`; see `KLINE_INTERVALS`.
            start_s: seconds since the Unix epoch.
            end_s: seconds since the Unix epoch.
            priority: the position in the rate limiter's queue.

        Raises:
            RestError: no usable answer came.
            UsageError: the end is before the start.
        """
        if end_s < start_s:
            raise UsageError(f"klines of {symbol} cannot end ({end_s} s) before they start ({start_s} s)")
        parameters: Parameters = [
            ("symbol", symbol),
            ("interval", interval),
            ("startTime", start_s),
            ("endTime", end_s),
        ]
        return await self._history("/api/v1/klines", parameters, kline_reader(symbol, interval), priority, symbol)

    async def trades(
        self, symbol: str, limit: int = 100, *, priority: Priority = Priority.REFERENCE
    ) -> Answer[Rows[Trade]]:
        """The newest trades of one market.

        Args:
            symbol: the market.
            limit: the number of rows, at most 1,000.
            priority: the position in the rate limiter's queue.

        Raises:
            RestError: no usable answer came.
            UsageError: `limit` is out of range.
        """
        _check_page(symbol, limit, 0, most_rows=MOST_TRADES)
        parameters: Parameters = [("symbol", symbol), ("limit", limit)]
        return await self.rows("/api/v1/trades", parameters, trade_reader(symbol), priority=priority, symbol=symbol)

    async def trades_history(
        self, symbol: str, limit: int = 100, offset: int = 0, *, priority: Priority = Priority.HISTORY
    ) -> Answer[Rows[Trade]]:
        """Older trades of one market, in pages.

        Args:
            symbol: the market.
            limit: the number of rows, at most 1,000.
            offset: the number of newest rows to skip; `offset` + `limit` is at most 10,000.
            priority: the position in the rate limiter's queue.

        Raises:
            RestError: no usable answer came.
            UsageError: `limit` or `offset` is out of range.
        """
        _check_page(symbol, limit, offset, most_rows=MOST_TRADES)
        if offset + limit > DEEPEST_TRADE_HISTORY:
            raise UsageError(
                f"trades of {symbol} at offset {offset} + limit {limit} cannot be requested; "
                f"the exchange keeps the newest {DEEPEST_TRADE_HISTORY}"
            )
        parameters: Parameters = [("symbol", symbol), ("limit", limit), ("offset", offset)]
        return await self._history("/api/v1/trades/history", parameters, trade_reader(symbol), priority, symbol)

    async def time_ms(self, *, priority: Priority = Priority.REFERENCE) -> Answer[int]:
        """The exchange's clock, in milliseconds since the Unix epoch.

        Raises:
            RestError: no usable answer came.
        """
        path = "/api/v1/time"
        return _decoded(path, None, await self.fetch(path, priority=priority), decode_time_ms)

    async def _history(
        self, path: str, parameters: Parameters, read_row: ReadRow[RowType], priority: Priority, symbol: str
    ) -> Answer[Rows[RowType]]:
        return await self.rows(
            path, parameters, read_row, priority=priority, symbol=symbol, limit_class=LimitClass.HISTORICAL
        )


def _decoded(
    path: str, symbol: str | None, answer: Answer[bytes | None], decode: Callable[[bytes], Decoded]
) -> Answer[Decoded]:
    request = RestRequest("GET", path, symbol)
    if answer.body is None:
        raise RestUnusableAnswerError(request, "an answer without a body", status=answer.status)
    try:
        return _with_body(answer, decode(answer.body))
    except UnreadableMessageError as error:
        raise RestUnusableAnswerError(request, str(error), status=answer.status, body=answer.body) from error


def _with_body(answer: Answer[bytes | None], body: Decoded) -> Answer[Decoded]:
    return Answer(
        body=body, age_seconds=answer.age_seconds, received_time_us=answer.received_time_us, status=answer.status
    )


def _check_page(symbol: str, limit: int, offset: int, *, most_rows: int) -> None:
    if not 1 <= limit <= most_rows or offset < 0:
        raise UsageError(
            f"a page of {limit} rows of {symbol} at offset {offset} cannot be requested; "
            f"use 1 to {most_rows} rows and an offset of 0 or more"
        )
