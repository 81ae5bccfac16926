"""Why a WebSocket did not open, in one line with advice."""

import re
import socket
import ssl
from http import HTTPStatus

from picows import WSError, WSHandshakeError
from python_socks import ProxyError

from backpack_streams.exchange.proxies import Proxy
from backpack_streams.shown_text import one_line

_ADVICE_BY_STATUS = {
    401: "something between wants credentials",
    403: "this address is refused: check region and proxy",
    404: "check the path of the URL",
    429: "connect less often",
    451: "the exchange does not serve this region",
}

_WANTS_LOGIN = re.compile(r"407|[Aa]uthentication|No acceptable")


def reason_of(error: Exception, proxy: Proxy | None = None) -> str:
    """Describe the failure, through `proxy` if there is one, and what to do about it; the text holds no line break."""
    if proxy is None:
        return one_line(_reason(error))
    if isinstance(error, ProxyError):
        advice = (
            "give its user and password" if _WANTS_LOGIN.search(str(error)) else "check that it may reach the exchange"
        )
        return one_line(f"the proxy {proxy.address} says: {error}; {advice} ({proxy.named_by})")
    return one_line(f"by the proxy {proxy.address} of {proxy.named_by}: {_reason(error)}")


def _reason(error: Exception) -> str:
    if isinstance(error, WSHandshakeError):
        return _handshake_reason(error)
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
    if isinstance(error, WSError):
        return str(error)
    return f"{type(error).__name__}: {error}"


def _handshake_reason(error: WSHandshakeError) -> str:
    response = error.response
    if response is None or response.status == HTTPStatus.SWITCHING_PROTOCOLS:
        return f"the answer is no WebSocket handshake ({error}); check the URL"
    status = int(response.status)
    if 300 <= status < 400:
        target = response.headers.get("Location", "nowhere")
        return f"HTTP {status} redirects to {target[:200]}, which is not followed; give the final URL"
    fallback = "the server has trouble: wait" if status >= 500 else "check the URL"
    return f"HTTP {status} {response.status.phrase}; {_ADVICE_BY_STATUS.get(status, fallback)}"
