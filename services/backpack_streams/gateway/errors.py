"""Errors of requests that cannot be answered. Each class has its HTTP status."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, ClassVar

from backpack_streams.errors import BackpackStreamsError

__all__ = ["BadRequestError", "RequestError", "UnavailableError", "UnknownSymbolError"]


class RequestError(BackpackStreamsError):
    """A request that cannot be answered. The message says what to do about it.

    Attributes:
        status: the HTTP status of the answer.
        meta: what the answer's `meta` holds besides timestamp and request id.
        retry_after_seconds: after how long another attempt makes sense; None if unknown.
    """

    status: ClassVar[HTTPStatus] = HTTPStatus.INTERNAL_SERVER_ERROR

    def __init__(
        self, message: str, *, meta: Mapping[str, Any] | None = None, retry_after_seconds: int | None = None
    ) -> None:
        """Describe the error.

        Args:
            message: what is wrong and what to do about it, for the client.
            meta: further fields of the answer's `meta`.
            retry_after_seconds: seconds after which another attempt makes sense; None if unknown.
        """
        super().__init__(message)
        self.meta: Mapping[str, Any] = meta or {}
        self.retry_after_seconds = retry_after_seconds


class BadRequestError(RequestError):
    """A parameter is missing, of the wrong type or out of range."""

    status = HTTPStatus.BAD_REQUEST


class UnknownSymbolError(RequestError):
    """There is no such market."""

    status = HTTPStatus.NOT_FOUND


class UnavailableError(RequestError):
    """The data is not available now: the book is not LIVE, Kafka does not answer, or a service has not filled the topic yet."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
