"""The HTTP client of REST calls. All limits, timeouts, the proxy and the trusted certificates come from this project's settings."""

import ssl
from importlib import import_module
from importlib.util import find_spec

import httpx

from backpack_streams import __version__
from backpack_streams.exchange.proxies import Proxy
from backpack_streams.exchange.rest_settings import RestSettings

_KEEPALIVE_SECONDS = 15.0


def _failures_on_the_way() -> tuple[type[Exception], ...]:
    """Return the errors with which a request may fail before its answer is complete.

    httpx passes on some errors of its dependencies: TLS that fails while an answer is read, a SOCKS proxy that hangs
    up.
    """
    failures: tuple[type[Exception], ...] = httpx.TransportError, ssl.SSLError
    if find_spec("socksio") is None:
        return failures
    return *failures, import_module("socksio").SOCKSError


FAILURES_ON_THE_WAY = _failures_on_the_way()


def http_client(base_url: httpx.URL, settings: RestSettings, ssl_context: ssl.SSLContext | None) -> httpx.AsyncClient:
    """Return a client for one base URL. Connections to several addresses of a name are raced by its network library (RFC
    8305).

    Args:
        base_url: the base URL.
        settings: timeouts, limits and the network path.
        ssl_context: for `https`, None for the one of the settings.

    Raises:
        UsageError: the proxy's URL is invalid, or a SOCKS proxy needs a package that is not installed.
    """
    context = ssl_context or settings.network.ssl_context()
    connections = settings.limits.most_in_flight
    return httpx.AsyncClient(
        base_url=base_url,
        headers={"User-Agent": f"backpack-streams/{__version__}", "Accept": "application/json, text/plain"},
        timeout=httpx.Timeout(
            connect=settings.connect_timeout_seconds,
            read=settings.read_timeout_seconds,
            write=settings.write_timeout_seconds,
            pool=settings.pool_timeout_seconds,
        ),
        limits=httpx.Limits(
            max_connections=connections,
            max_keepalive_connections=connections,
            keepalive_expiry=_KEEPALIVE_SECONDS,
        ),
        follow_redirects=False,
        verify=context,
        proxy=_httpx_proxy(settings.network.proxy_for(settings.base_url), context),
        trust_env=False,  # httpx fails on brackets and ranges in NO_PROXY, and differs from the WebSocket
    )


def _httpx_proxy(proxy: Proxy | None, context: ssl.SSLContext) -> httpx.Proxy | None:
    if proxy is None:
        return None
    proxy.check_installed("socksio")
    auth = None if proxy.username is None else (proxy.username, proxy.password or "")
    return httpx.Proxy(proxy.address, auth=auth, ssl_context=context if proxy.scheme == "https" else None)
