"""Settings of the REST client, with defaults for the real exchange."""

import re
from dataclasses import dataclass, field
from typing import Final

import httpx

from backpack_streams.errors import UsageError
from backpack_streams.exchange.limits import LimitSettings
from backpack_streams.exchange.network_settings import NetworkSettings

DEFAULT_BASE_URL: Final = "https://api.backpack.exchange"

_HOST = re.compile(rb"[A-Za-z0-9._:-]+")


@dataclass(frozen=True, slots=True)
class RestSettings:
    """How the REST client behaves.

    Attributes:
        base_url: the exchange's base URL, `http` or `https`.
        connect_timeout_seconds: for a new connection, TLS included.
        read_timeout_seconds: between two pieces of an answer.
        write_timeout_seconds: between two pieces of a request.
        pool_timeout_seconds: for a free connection of the pool.
        deadline_seconds: for a whole call from its first turn on, all its attempts and the waits in between included.
        queue_wait_seconds: for its first turn in the rate limiter's queue.
        most_attempts: how often one call is sent at most.
        retry_base_seconds: the first bound of the wait before a retry.
        retry_cap_seconds: the last bound of the wait before a retry.
        largest_answer_bytes: a security limit on a body, counted after decompression.
        network: the proxy, and the trusted certificates.
        limits: the share of the rate limits in use, and the bounds of the queue.
    """

    base_url: str = DEFAULT_BASE_URL
    connect_timeout_seconds: float = 5.0
    read_timeout_seconds: float = 10.0
    write_timeout_seconds: float = 10.0
    pool_timeout_seconds: float = 10.0
    deadline_seconds: float = 30.0
    queue_wait_seconds: float = 300.0
    most_attempts: int = 4
    retry_base_seconds: float = 0.25
    retry_cap_seconds: float = 5.0
    largest_answer_bytes: int = 32 * 1024 * 1024
    network: NetworkSettings = field(default_factory=NetworkSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)

    def url(self) -> httpx.URL:
        """Return the base URL.

        Raises:
            UsageError: not an http or https URL, or it has more than a host and a path.
        """
        try:
            url = httpx.URL(self.base_url)
        except httpx.InvalidURL as error:
            raise UsageError(
                f"the REST URL {self.base_url!r} is not a URL ({error}); set one such as {DEFAULT_BASE_URL}"
            ) from error
        if url.userinfo:  # not repeated in the message, because it may contain a password
            raise UsageError(
                f"the REST URL must not contain a user name or password; set one such as {DEFAULT_BASE_URL}"
            )
        if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.raw_host) or url.query or url.fragment:
            raise UsageError(
                f"the REST URL {self.base_url!r} must be http or https with a host and at most a path; "
                f"set one such as {DEFAULT_BASE_URL}"
            )
        return url
