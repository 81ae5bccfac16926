"""Admits requests: reads the key of a request, finds its caller and counts the request against the caller's quota."""

from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from backpack_streams.gateway.api_keys import KEY_PATTERN
from backpack_streams.gateway.errors import BadRequestError
from backpack_streams.gateway.key_ring import Caller, KeyRing
from backpack_streams.gateway.parameters import KEY_IN_URL, NAMES_OF_KEYS

__all__ = ["KEY_HEADERS", "Gate"]

KEY_HEADERS: Final = (b"x-api-key", b"x-oanor-key")
"""Headers that may contain a key, in lower case, as ASGI passes them."""


class Gate:
    """Admits or refuses requests by their API keys."""

    def __init__(self, ring: KeyRing) -> None:
        """Prepare.

        Args:
            ring: the valid keys.
        """
        self._ring = ring

    @property
    def is_open(self) -> bool:
        """Whether requests need no key, because no file of keys is set."""
        return self._ring.is_open

    async def admit(self, headers: Iterable[tuple[bytes, bytes]], query: bytes) -> Caller:
        """Count a request and return its caller.

        Args:
            headers: the headers of the request, with names in lower case.
            query: the part of the URL after `?`, as sent.

        Raises:
            BadRequestError: the URL contains a key, or the headers contain two different ones.
            KeyRefusedError: there is no valid key.
            TooManyRequestsError: the quota of the key is used up.
        """
        check_url(query)
        return await self.admit_key(key_of(headers))

    async def admit_key(self, key: str | None) -> Caller:
        """Count a request whose key did not come in a header, such as the first message of a WebSocket, and return its caller.

        Args:
            key: the key; None if the request has none.

        Raises:
            KeyRefusedError: there is no valid key.
            TooManyRequestsError: the quota of the key is used up.
        """
        caller = self._ring.known(key) or await self._ring.caller(key)
        caller.admit()
        return caller


def key_of(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the key in the headers; None if there is none.

    Args:
        headers: the headers of the request, with names in lower case.

    Raises:
        BadRequestError: there are two different keys.
    """
    keys = {value for name, value in headers if name in KEY_HEADERS}
    if len(keys) > 1:
        raise BadRequestError("two different keys are given; send one, in the header X-API-Key")
    return next(iter(keys)).decode("latin-1") if keys else None


def check_url(query: bytes) -> None:
    """Check that the URL contains no key: proxies and logs keep URLs.

    Args:
        query: the part of the URL after `?`, as sent. Its names are percent-decoded, and their case does not matter.

    Raises:
        BadRequestError: a parameter has one of `NAMES_OF_KEYS`, or what looks like a key is anywhere else in it.
    """
    if KEY_PATTERN.search(unquote_to_bytes(query).decode("latin-1")):
        raise BadRequestError(KEY_IN_URL)
    for part in query.split(b"&") if query else ():
        name = unquote_to_bytes(part.partition(b"=")[0]).decode("utf-8", "replace").lower()
        if name in NAMES_OF_KEYS:
            raise BadRequestError(KEY_IN_URL)
