"""Explains in one line why a WebSocket did not open, with advice."""

import re
import socket
import ssl
from http import HTTPStatus

from python_socks import ProxyError

from backpack_streams.errors import ExchangeError
from backpack_streams.exchange.proxies import Proxy
from backpack_streams.shown_text import one_line

_ADVICE_BY_STATUS = {
    401: "a server in between requires credentials",
    403: "the address is refused: check region and proxy",
    404: "check the path of the URL",
    429: "connect less often",
    451: "the exchange does not serve this region",
}

_KNOWN_STATUSES = frozenset(HTTPStatus)
_WANTS_LOGIN = re.compile(r"407|[Aa]uthentication|No acceptable")


class HandshakeError(ExchangeError):
    """The server did not accept the WebSocket. The text is one line with advice."""


def handshake_error(text: str, status: int | None = None, location: str | None = None) -> HandshakeError:
    """Describe a failed handshake.

    Args:
        text: what the WebSocket library says of it.
        status: the HTTP status, None if the answer was not HTTP.
        location: the target of a redirect.
    """
    if status is None or status not in _KNOWN_STATUSES or status == HTTPStatus.SWITCHING_PROTOCOLS:
        return HandshakeError(f"the answer is not a WebSocket handshake ({text}); check the URL")
    if 300 <= status < 400:
        target = (location or "nowhere")[:200]
        return HandshakeError(f"HTTP {status} redirects to {target}, which is not followed; set the final URL")
    fallback = "the server has a fault: wait" if status >= 500 else "check the URL"
    return HandshakeError(f"HTTP {status} {HTTPStatus(status).phrase}; {_ADVICE_BY_STATUS.get(status, fallback)}")


def reason_of(error: Exception, proxy: Proxy | None = None) -> str:
    """Describe why a socket did not open, and what to do about it. The text is one line.

    Args:
        error: the failure.
        proxy: the proxy in use, None for a direct connection.
    """
    if proxy is None:
        return one_line(_reason(error))
    if isinstance(error, ProxyError):
        advice = (
            "set its user and password" if _WANTS_LOGIN.search(str(error)) else "check that it can reach the exchange"
        )
        return one_line(f"the proxy {proxy.address} answers: {error}; {advice} ({proxy.named_by})")
    return one_line(f"through the proxy {proxy.address} of {proxy.named_by}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, HandshakeError):
        return str(error)
    if isinstance(error, socket.gaierror):
        return f"the host name does not resolve ({error.strerror}); check the URL and the DNS"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the certificate is not trusted ({error.verify_message}); check the URL, the clock and the CA bundle"
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or error}); check that the URL names a TLS port"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused; check host and port, or wait for the server"
    if isinstance(error, TimeoutError):
        return "no TCP connection in time; check network and firewall"
    if isinstance(error, OSError):
        return f"{error.strerror or error or type(error).__name__}; check the network"
    return f"{type(error).__name__}: {error}"
