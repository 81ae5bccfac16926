"""The REST client of Backpack's public API: one typed call for each endpoint, within rate limits, exact to the digit."""

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
from backpack_streams.exchange.rest_fields import FieldError
from backpack_streams.exchange.rest_settings import RestSettings
from backpack_streams.exchange.rest_transport import Answer, Parameters, RawAnswer, RestCounters, RestTransport
from backpack_streams.exchange.rest_wire import (
    DepthSnapshot,
    FundingRate,
    Kline,
    Market,
    Trade,
)

__all__ = ["DEPTH_LIMITS", "Answer", "RestClient", "RestSettings", "Rows"]

RowType = TypeVar("RowType")
Decoded = TypeVar("Decoded")

DEPTH_LIMITS: Final = (5, 10, 20, 50, 100, 500, 1000)
"""Numbers of levels that `/depth` takes; it answers 400 to all others."""
DEEPEST_TRADE_HISTORY: Final = 10_000
"""Where `/trades/history` ends: offset + limit may not go past it."""
MOST_TRADES: Final = 1_000
MOST_FUNDING_RATES: Final = 10_000


class RestClient:
    """Typed calls of the public API. Each takes a `priority` in the rate limiter's queue and gives an `Answer`.

    Every call raises `RestError` when no usable answer comes (see `rest_errors`), and `UsageError` on
    parameters that the exchange is known to refuse. Use it as `async with RestClient(settings) as client`, or
    `close()` it. One event loop.
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
        """Prepare; nothing is sent yet. A `limiter` handed in is shared with other clients and outlives this one.

        `on_answer` is told of every whole answer as it came, refusals included.

        Raises:
            UsageError: the base URL is none, or the limits leave too few requests.
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
        """What was sent and answered so far: a live view, to be read only."""
        return self._transport.counters

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; calls still under way end with `RestError`. May be called more than once."""
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
        """Fetch any path undecoded, by the same rules as the typed calls; the body is None on status 204."""
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
        """The rows of any path, each as `read_row` reads it; none on status 204."""
        answer = await self.fetch(path, parameters, limit_class=limit_class, priority=priority, symbol=symbol)
        if answer.body is None:
            return _with_body(answer, Rows(()))
        return _decoded(path, symbol, answer, lambda body: decode_rows(body, read_row, shape))

    async def markets(
        self, market_types: Sequence[str] = (), *, priority: Priority = Priority.REFERENCE
    ) -> Answer[Rows[Market]]:
        """All markets of these types (none: spot and perpetual). Up to 15 min old: look at `age_seconds`."""
        parameters: Parameters = [("marketType", market_type) for market_type in market_types]
        return await self.rows("/api/v1/markets", parameters, read_market, priority=priority)

    async def depth(
        self, symbol: str, limit: int = 1000, *, priority: Priority = Priority.SEED
    ) -> Answer[DepthSnapshot]:
        """The book, at most `limit` levels a side (one of `DEPTH_LIMITS`). A closed market is a RestError of status 404."""
        if limit not in DEPTH_LIMITS:
            raise UsageError(
                f"{limit} levels of {symbol} cannot be asked; take one of {', '.join(map(str, DEPTH_LIMITS))}"
            )
        path = "/api/v1/depth"
        answer = await self.fetch(path, [("symbol", symbol), ("limit", limit)], priority=priority, symbol=symbol)
        return _decoded(path, symbol, answer, lambda body: decode_depth(body, symbol))

    async def funding_rates(
        self, symbol: str, limit: int = 100, offset: int = 0, *, priority: Priority = Priority.HISTORY
    ) -> Answer[Rows[FundingRate]]:
        """Funding rates, newest first; the first is of the interval in progress. `limit` is at most 10,000."""
        _check_page(symbol, limit, offset, most_rows=MOST_FUNDING_RATES)
        parameters: Parameters = [("symbol", symbol), ("limit", limit), ("offset", offset)]
        return await self._history("/api/v1/fundingRates", parameters, read_funding_rate, priority, symbol)

    async def klines(
        self, symbol: str, interval: str, start_s: int, end_s: int, *, priority: Priority = Priority.HISTORY
    ) -> Answer[Rows[Kline]]:
        """Candles of an interval such as `1m`, from `start_s` to `end_s` in seconds since 1970."""
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
        """The newest trades, at most 1,000."""
        _check_page(symbol, limit, 0, most_rows=MOST_TRADES)
        parameters: Parameters = [("symbol", symbol), ("limit", limit)]
        return await self.rows("/api/v1/trades", parameters, trade_reader(symbol), priority=priority, symbol=symbol)

    async def trades_history(
        self, symbol: str, limit: int = 100, offset: int = 0, *, priority: Priority = Priority.HISTORY
    ) -> Answer[Rows[Trade]]:
        """Older trades in pages of at most 1,000; `offset` + `limit` goes no further than 10,000."""
        _check_page(symbol, limit, offset, most_rows=MOST_TRADES)
        if offset + limit > DEEPEST_TRADE_HISTORY:
            raise UsageError(
                f"trades of {symbol} at offset {offset} + limit {limit} cannot be asked; "
                f"the exchange keeps the newest {DEEPEST_TRADE_HISTORY}"
            )
        parameters: Parameters = [("symbol", symbol), ("limit", limit), ("offset", offset)]
        return await self._history("/api/v1/trades/history", parameters, trade_reader(symbol), priority, symbol)

    async def time_ms(self, *, priority: Priority = Priority.REFERENCE) -> Answer[int]:
        """The exchange's clock, in milliseconds since 1970."""
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
    except FieldError as error:
        raise RestUnusableAnswerError(request, str(error), status=answer.status, body=answer.body) from error


def _with_body(answer: Answer[bytes | None], body: Decoded) -> Answer[Decoded]:
    return Answer(
        body=body, age_seconds=answer.age_seconds, received_time_us=answer.received_time_us, status=answer.status
    )


def _check_page(symbol: str, limit: int, offset: int, *, most_rows: int) -> None:
    if not 1 <= limit <= most_rows or offset < 0:
        raise UsageError(
            f"a page of {limit} rows of {symbol} at offset {offset} cannot be asked; "
            f"take 1 to {most_rows} rows and an offset of 0 or more"
        )
