"""How the exchange is reached, for the WebSocket and for REST."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backpack_streams.credentials import RenewedContext
from backpack_streams.errors import UsageError
from backpack_streams.exchange.proxies import Proxy, proxy_for
from backpack_streams.expanded_path import expanded


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The network path to the exchange.

    Attributes:
        proxy: the URL of the proxy; `none` for a direct connection; None to follow `HTTPS_PROXY`, `ALL_PROXY` and
            `NO_PROXY`.
        ca_file: certificates (PEM) to trust in addition to the system's.
    """

    proxy: str | None = None
    ca_file: Path | None = None

    def proxy_for(self, url: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
        """Return the proxy for `url`, None for a direct connection.

        Args:
            url: an `http`, `https`, `ws` or `wss` URL.
            environment: the variables to follow, None for this process's.

        Raises:
            UsageError: the setting or variable is not the URL of a proxy.
        """
        return proxy_for(url, self.proxy, os.environ if environment is None else environment)

    def ssl_context(self) -> ssl.SSLContext:
        """Return the TLS context: the system's authorities (including OpenSSL's `SSL_CERT_FILE`), plus `ca_file`, which is
        read again for each connection.

        Raises:
            UsageError: the file is unreadable, or contains no certificate.
        """
        if self.ca_file is None:
            return ssl.create_default_context()
        return RenewedContext([expanded(self.ca_file)], partial(_trusting, expanded(self.ca_file)))


def _trusting(ca_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # ssl's errors are OSErrors
        reason = "it contains no certificate (PEM)" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"--exchange-ca-file: {str(ca_file)!r} is unusable: {reason}") from None
    return context
