"""Errors that refuse a request before it reaches an endpoint."""

from http import HTTPStatus

from backpack_streams.gateway.errors import RequestError

__all__ = ["KeyRefusedError", "OriginRefusedError", "TooManyRequestsError"]


class KeyRefusedError(RequestError):
    """The key is missing or not valid."""

    status = HTTPStatus.UNAUTHORIZED


class OriginRefusedError(RequestError):
    """A page of another site asks for a stream, and the settings do not allow that site."""

    status = HTTPStatus.FORBIDDEN


class TooManyRequestsError(RequestError):
    """A limit of the key, or of the gateway, is reached."""

    status = HTTPStatus.TOO_MANY_REQUESTS
