"""Decides which web pages of other sites may use the gateway (CORS): none, unless the settings name them. Sans I/O."""

from collections.abc import Iterable
from typing import Final

from backpack_streams.gateway.access_errors import OriginRefusedError

__all__ = ["CrossOrigin"]

ANY: Final = "*"
_MAX_AGE_SECONDS: Final = b"600"
_EXPOSED: Final = b"ETag, Retry-After, X-Request-ID"
_ALLOWED: Final = b"X-API-Key, x-oanor-key, If-None-Match, Last-Event-ID"

Header = tuple[bytes, bytes]


class CrossOrigin:
    """Decides by the Origin header of requests."""

    def __init__(self, origins: Iterable[str]) -> None:
        """Prepare.

        Args:
            origins: the allowed sites, such as `https://desk.example`, or `*` for all.
        """
        self._origins = frozenset(origins)

    def response_headers(self, origin: bytes) -> list[Header]:
        """Return the CORS headers of an answer; only `Vary` if the origin is not allowed, none if no site is.

        Args:
            origin: the value of the Origin header; empty if the request is not from a page.
        """
        if not self._origins:
            return []
        if not origin or not self._is_named(origin):
            return [(b"vary", b"Origin")]
        return [
            (b"access-control-allow-origin", b"*" if ANY in self._origins else origin),
            (b"access-control-expose-headers", _EXPOSED),
            (b"vary", b"Origin"),
        ]

    def preflight_headers(self, origin: bytes) -> list[Header]:
        """Return the headers that answer a browser's preflight request (Fetch, 3.2.2).

        Args:
            origin: the value of the Origin header.
        """
        headers = self.response_headers(origin)
        if len(headers) > 1:
            headers += [
                (b"access-control-allow-methods", b"GET, HEAD"),
                (b"access-control-allow-headers", _ALLOWED),
                (b"access-control-max-age", _MAX_AGE_SECONDS),
            ]
        return headers

    def check_socket(self, origin: bytes, host: bytes) -> None:
        """Check the origin of a WebSocket. Browsers do not apply CORS to them, so any page could open one (RFC 6455, 10.2).

        Args:
            origin: the value of the Origin header; empty if the client is not a browser.
            host: the value of the Host header.

        Raises:
            OriginRefusedError: the page is from another site, which the settings do not allow.
        """
        if origin and origin.partition(b"://")[2] != host and not self._is_named(origin):
            raise OriginRefusedError("pages of this site may not open a stream; name the site with --cors-origins")

    def _is_named(self, origin: bytes) -> bool:
        return ANY in self._origins or origin.decode("latin-1") in self._origins
