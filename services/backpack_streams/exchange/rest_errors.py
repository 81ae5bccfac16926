"""The errors of REST calls; each names the request, the answer and what to do."""

import msgspec

from backpack_streams.errors import ExchangeError
from backpack_streams.shown_text import one_line

_SHOWN_TEXT_CHARACTERS = 300

_ADVICE_BY_STATUS = {
    400: "check the symbol and the parameters; the same request will be refused again",
    401: "the call needs a signature, or a proxy in between requires credentials",
    403: "the CDN refuses the address: check region and proxy, and send fewer requests",
    418: "the exchange has banned the address for too many requests: lower the share of the rate limit in use",
    404: "the market is closed or the path is unknown: read the market list again",
    429: "lower the share of the rate limit in use: other programs may use the same address",
    451: "the exchange does not serve this region: run from another one",
}
_ADVICE_ON_SERVER_ERROR = "the exchange has a fault: the request may be repeated later"


class RestRequest(msgspec.Struct, frozen=True):
    """The request that an error or a log line is about."""

    method: str
    path: str
    symbol: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}" + (f" for {self.symbol}" if self.symbol else "")


class RestError(ExchangeError):
    """A REST call brought no usable answer.

    Attributes:
        request: the method, path and symbol of the request.
        status: the HTTP status; None if no answer came.
        code: the exchange's own error code (such as `RESOURCE_NOT_FOUND`); None for plain-text errors.
        message: what the exchange said, or what happened on the way; at most 300 characters.
        advice: what to do about it.
        retryable: whether an idempotent request may be sent again.
        retry_after_seconds: the time in the `Retry-After` header; None without one.
        attempts: how often the request was sent.
    """

    def __init__(
        self,
        request: RestRequest,
        message: str,
        *,
        advice: str,
        status: int | None = None,
        code: str | None = None,
        retryable: bool = False,
        retry_after_seconds: float | None = None,
    ) -> None:
        self.request = request
        self.status = status
        self.code = code
        self.message = one_line(message, _SHOWN_TEXT_CHARACTERS) or "no message"
        self.advice = advice
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds
        self.attempts = 1
        super().__init__(self.message)

    def __str__(self) -> str:
        outcome = " ".join(str(part) for part in (self.status, self.code) if part is not None)
        attempts = f" ({self.attempts} attempts)" if self.attempts > 1 else ""
        return f"{self.request}: {outcome + ': ' if outcome else ''}{self.message}{attempts}; {self.advice}"


class RestNoAnswerError(RestError):
    """No answer came: no connection, a connection cut during the request, a timeout, or no turn in the queue."""


class RestRedirectError(RestError):
    """The answer was a redirect. Redirects are not followed: the exchange's API has no reason to send one."""


class RestUnusableAnswerError(RestError):
    """An answer came with a good status, but its body is not what the call promises.

    Attributes:
        body: the bytes received, for a dead letter; empty if they were too many to keep.
    """

    def __init__(self, request: RestRequest, message: str, *, status: int, body: bytes = b"") -> None:
        self.body = body
        advice = "the exchange changed its format, or a server in between answered; check the body"
        super().__init__(request, message, advice=advice, status=status)


def error_from_answer(
    request: RestRequest, status: int, body: bytes, retry_after_seconds: float | None = None
) -> RestError:
    """Return the error for an answer of status 4xx or 5xx, whose body is JSON `{"code", "message"}` or plain text.

    Args:
        request: the request.
        status: the HTTP status.
        body: the body, complete or truncated.
        retry_after_seconds: the value of `Retry-After`, None without one.
    """
    code, message = _code_and_message(body)
    is_server_error = status >= 500
    advice = _ADVICE_ON_SERVER_ERROR if is_server_error else "the request was refused; check its parameters"
    return RestError(
        request,
        message,
        status=status,
        code=code,
        advice=_ADVICE_BY_STATUS.get(status, advice),
        retryable=is_server_error or asks_to_wait(status, retry_after_seconds),
        retry_after_seconds=retry_after_seconds,
    )


def asks_to_wait(status: int, retry_after_seconds: float | None) -> bool:
    """Whether an answer asks this address to send less, and is not about its request: a rate limit, or a temporary ban by the CDN.

    A 403 without `Retry-After` may be about one path.
    """
    return status in (418, 429) or (status == 403 and retry_after_seconds is not None)


def _code_and_message(body: bytes) -> tuple[str | None, str]:
    try:
        decoded = msgspec.json.decode(body)
    except (
        msgspec.DecodeError,
        UnicodeDecodeError,
        RecursionError,
    ):  # plain text or malicious input: shown as text below
        decoded = None
    if isinstance(decoded, dict) and ("code" in decoded or "message" in decoded):
        code, message = decoded.get("code"), decoded.get("message")
        return (None if code is None else one_line(code, _SHOWN_TEXT_CHARACTERS)), (
            "" if message is None else str(message)
        )
    return None, body[: 8 * _SHOWN_TEXT_CHARACTERS].decode("utf-8", errors="replace")
