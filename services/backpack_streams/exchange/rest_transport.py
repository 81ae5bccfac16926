"""Sends one REST request, from its turn in the queue to a complete answer: deadlines, safe retries, bounded bodies, no redirects."""

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import httpx
import msgspec

from backpack_streams.backoff import Backoff
from backpack_streams.exchange.limits import (
    LimitClass,
    LimiterClosedError,
    LimitQueueFullError,
    Priority,
    RateLimiter,
)
from backpack_streams.exchange.rest_errors import (
    RestError,
    RestNoAnswerError,
    RestRedirectError,
    RestRequest,
    RestUnusableAnswerError,
    asks_to_wait,
    error_from_answer,
)
from backpack_streams.exchange.rest_headers import age_seconds, retry_after_seconds
from backpack_streams.exchange.rest_http import FAILURES_ON_THE_WAY, http_client
from backpack_streams.exchange.rest_settings import RestSettings

logger = logging.getLogger(__name__)

Body = TypeVar("Body")
Parameters = Sequence[tuple[str, str | int]]
"""Query parameters as (name, value); names may repeat."""

_NETWORK_ADVICE = "check the network, the REST URL and the exchange's status page; the request may be repeated"
_SLOW_ADVICE = "the exchange or the network is slow: retry later, or raise the timeouts"
_QUEUE_ADVICE = "send fewer requests, or raise the share of the rate limit in use"
_ERROR_BODY_BYTES = 64 * 1024


class Answer(msgspec.Struct, Generic[Body], frozen=True):
    """A successful answer.

    Attributes:
        body: the decoded body; None on status 204.
        age_seconds: the `Age` header, which is how long the CDN has held the answer; None without one.
        received_time_us: when the last byte came (µs since the Unix epoch).
        status: the HTTP status, from 200 to 299.
    """

    body: Body
    age_seconds: int | None
    received_time_us: int
    status: int


class RawAnswer(msgspec.Struct, frozen=True):
    """An answer as received, refusals included, for callers that record the wire.

    Attributes:
        sent_time_us: when the request was sent (µs since the Unix epoch).
        received_time_us: when the last byte came (µs since the Unix epoch).
        method: such as `GET`.
        target: the path and query as sent, without the path of the base URL.
        status: the HTTP status.
        headers: all headers of the answer, with names in lower case.
        body: the body after decompression; for a refusal at most its first 64 KiB.
    """

    sent_time_us: int
    received_time_us: int
    method: str
    target: str
    status: int
    headers: dict[str, str]
    body: bytes


class RestCounters(msgspec.Struct):
    """Counters of the transport, for metrics.

    Attributes:
        attempts: requests sent.
        retries: requests sent again.
        answers: successful answers.
        failures: calls that failed after all their attempts.
    """

    attempts: int = 0
    retries: int = 0
    answers: int = 0
    failures: int = 0


class RestTransport:
    """Sends idempotent GETs within the rate limits. Returns complete answers or raises `RestError`."""

    def __init__(
        self,
        settings: RestSettings,
        *,
        limiter: RateLimiter | None = None,
        ssl_context: ssl.SSLContext | None = None,
        rng: random.Random | None = None,
        wall_clock_us: Callable[[], int] | None = None,
        on_answer: Callable[[RawAnswer], None] | None = None,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            settings: the base URL, timeouts and limits.
            limiter: a limiter to share, which `close` leaves open; None for one of its own.
            ssl_context: for `https`, None for the one of the settings.
            rng: randomizes the delays of retries.
            wall_clock_us: µs since the Unix epoch.
            on_answer: called with every complete answer before it is interpreted.

        Raises:
            UsageError: the base URL or the proxy's URL is invalid, the limits leave too few requests, or SOCKS support
                is not installed.
        """
        base_url = settings.url()
        self._base_path = base_url.path.rstrip("/")
        self.settings = settings
        self.counters = RestCounters()
        self.limiter = limiter or RateLimiter(settings.limits, rng=rng)
        self._owns_limiter = limiter is None
        self._random = rng or random.Random()
        self._wall_clock_us = wall_clock_us or (lambda: time.time_ns() // 1_000)
        self._on_answer = on_answer
        self._is_closed = False
        self._http = http_client(base_url, settings, ssl_context)

    async def get(
        self,
        path: str,
        parameters: Parameters = (),
        *,
        limit_class: LimitClass = LimitClass.GENERAL,
        priority: Priority = Priority.REFERENCE,
        symbol: str | None = None,
    ) -> Answer[bytes | None]:
        """Fetch one path, with retries as far as they are safe.

        Args:
            path: the path below the base URL.
            parameters: the query.
            limit_class: the exchange's limit that the request counts against.
            priority: the priority while waiting for the rate limit.
            symbol: the market, for error messages.

        Raises:
            RestError: no usable answer within the attempts and the deadline. It is the last failure, with the number of
                attempts.
        """
        call = _Call(
            request=RestRequest("GET", path, symbol),
            parameters=tuple(parameters),
            limit_class=limit_class,
            priority=priority,
            backoff=Backoff(self.settings.retry_base_seconds, self.settings.retry_cap_seconds, self._random),
            give_up_at=asyncio.get_running_loop().time() + self.settings.queue_wait_seconds,
        )
        while True:
            try:
                return await self._take_turn(call)
            except RestError as failure:
                call.failure = failure
                delay_seconds = call.seconds_before_retry(failure, self.settings.most_attempts)
                if delay_seconds is None:
                    failure.attempts = call.attempts
                    self.counters.failures += 1
                    raise
            self.counters.retries += 1
            logger.info(
                "rest request retried",
                extra={
                    "request": str(call.request),
                    "attempt": call.attempts,
                    "delay_seconds": round(delay_seconds, 3),
                    "reason": call.failure.message,
                    "status": call.failure.status,
                },
            )
            await asyncio.sleep(delay_seconds)

    async def close(self) -> None:
        """Close the connections; waiting calls end with `RestNoAnswerError`. May be called more than once."""
        self._is_closed = True
        if self._owns_limiter:
            self.limiter.close()
        await self._http.aclose()

    async def _take_turn(self, call: "_Call") -> Answer[bytes | None]:
        if self._is_closed:
            raise RestNoAnswerError(call.request, "the REST client is closed", advice="create a new one")
        try:
            async with (
                asyncio.timeout_at(call.give_up_at) as patience,
                self.limiter.turn(call.limit_class, call.priority),
            ):
                if call.attempts == 0:
                    call.give_up_at = asyncio.get_running_loop().time() + self.settings.deadline_seconds
                    patience.reschedule(call.give_up_at)
                call.attempts += 1
                self.counters.attempts += 1
                return await self._attempt(call)
        except TimeoutError as error:
            # An earlier failure is more informative than the timeout of its retry.
            raise call.failure or self._out_of_time(call) from error
        except (LimitQueueFullError, LimiterClosedError) as error:
            raise RestNoAnswerError(call.request, str(error), advice=_QUEUE_ADVICE) from error

    async def _attempt(self, call: "_Call") -> Answer[bytes | None]:
        call.sent_time_us = self._wall_clock_us()
        try:
            async with self._http.stream(
                "GET", call.request.path, params=httpx.QueryParams(call.parameters)
            ) as response:
                return await self._read(call, response)
        except FAILURES_ON_THE_WAY as error:  # a GET is safe to repeat after any failure
            raise RestNoAnswerError(
                call.request,
                f"{type(error).__name__}: {error}" if str(error) else type(error).__name__,
                advice=_SLOW_ADVICE if isinstance(error, httpx.TimeoutException) else _NETWORK_ADVICE,
                retryable=True,
            ) from error

    async def _read(self, call: "_Call", response: httpx.Response) -> Answer[bytes | None]:
        status = response.status_code
        if 300 <= status < 400:
            raise _redirect_error(call.request, response)
        wait_seconds = retry_after_seconds(response.headers.get("retry-after"), self._wall_clock_us())
        if asks_to_wait(status, wait_seconds):
            # A ban applies to the address; a 429 may apply to the limit of the class.
            limit_class = call.limit_class if status == 429 else LimitClass.GENERAL
            pause_seconds = self.limiter.refused(limit_class, wait_seconds)
            logger.warning(
                "rest rate limit hit",
                extra={"status": status, "limit_class": limit_class.value, "pause_seconds": round(pause_seconds, 3)},
            )
        else:
            self.limiter.accepted(call.limit_class)
        if status >= 400:
            body, _ = await _read_body(call.request, response, _ERROR_BODY_BYTES)
            self._tell(call, response, body)
            raise error_from_answer(call.request, status, body, wait_seconds)
        body, is_complete = await _read_body(call.request, response, self.settings.largest_answer_bytes)
        if not is_complete:
            message = f"the answer is larger than {self.settings.largest_answer_bytes} bytes"
            raise RestUnusableAnswerError(call.request, message, status=status)
        self._tell(call, response, body)
        self.counters.answers += 1
        return Answer(
            body=None if status == 204 else body,
            age_seconds=age_seconds(response.headers.get("age")),
            received_time_us=self._wall_clock_us(),
            status=status,
        )

    def _tell(self, call: "_Call", response: httpx.Response, body: bytes) -> None:
        if self._on_answer is None:
            return
        target = response.request.url.raw_path.decode("ascii", "replace")
        answer = RawAnswer(
            sent_time_us=call.sent_time_us,
            received_time_us=self._wall_clock_us(),
            method=response.request.method,
            target=target.removeprefix(self._base_path),
            status=response.status_code,
            headers=dict(response.headers),
            body=body,
        )
        self._on_answer(answer)

    def _out_of_time(self, call: "_Call") -> RestError:
        if call.attempts == 0:
            message = f"no turn in the rate limiter's queue within {self.settings.queue_wait_seconds:g} s"
            return RestNoAnswerError(call.request, message, advice=_QUEUE_ADVICE)
        message = f"no complete answer within the deadline of {self.settings.deadline_seconds:g} s"
        return RestNoAnswerError(call.request, message, advice=_SLOW_ADVICE)


@dataclass(slots=True)
class _Call:
    """One call and the state of its attempts."""

    request: RestRequest
    parameters: tuple[tuple[str, str | int], ...]
    limit_class: LimitClass
    priority: Priority
    backoff: Backoff
    give_up_at: float
    """The end of the wait for the first turn; after that turn, the deadline (event loop's clock)."""
    attempts: int = 0
    sent_time_us: int = 0
    failure: RestError | None = None

    def seconds_before_retry(self, failure: RestError, most_attempts: int) -> float | None:
        """Return the delay before the next attempt in seconds, None if there is none."""
        if not failure.retryable or self.attempts >= most_attempts:
            return None
        # After an answer that asks to wait, the limiter delays all calls, including this one.
        delay_seconds = 0.0
        if failure.status is None or not asks_to_wait(failure.status, failure.retry_after_seconds):
            delay_seconds = max(self.backoff.next_delay_seconds(), failure.retry_after_seconds or 0.0)
        has_time = asyncio.get_running_loop().time() + delay_seconds < self.give_up_at
        return delay_seconds if has_time else None


async def _read_body(request: RestRequest, response: httpx.Response, most_bytes: int) -> tuple[bytes, bool]:
    """Read at most `most_bytes` decompressed bytes. Returns them, and whether the body is complete."""
    body = bytearray()
    try:
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > most_bytes:
                return bytes(body[:most_bytes]), False
    except httpx.DecodingError as error:
        message = f"the body does not decompress: {error}"
        raise RestUnusableAnswerError(request, message, status=response.status_code) from error
    return bytes(body), True


def _redirect_error(request: RestRequest, response: httpx.Response) -> RestRedirectError:
    location = response.headers.get("location")
    return RestRedirectError(
        request,
        f"redirected to {location}" if location else "redirected without a location",
        status=response.status_code,
        advice="redirects are not followed: set the REST URL to the API's own address, and check for a captive proxy",
    )
