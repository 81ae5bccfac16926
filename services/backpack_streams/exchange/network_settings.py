"""How the exchange is reached, by the WebSocket and by REST alike."""

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from backpack_streams.credentials import RenewedContext
from backpack_streams.errors import UsageError
from backpack_streams.exchange.proxies import Proxy, proxy_for


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """The way to the exchange.

    Attributes:
        proxy: URL of the proxy; `none` for none; None for what `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY` say.
        ca_file: certificates (PEM) that are trusted besides the system's.
    """

    proxy: str | None = None
    ca_file: Path | None = None

    def proxy_for(self, url: str, environment: Mapping[str, str] | None = None) -> Proxy | None:
        """The proxy to reach `url` through, by this process's environment unless one is given.

        Raises:
            UsageError: what names the proxy is no URL of one.
        """
        return proxy_for(url, self.proxy, os.environ if environment is None else environment)

    def ssl_context(self) -> ssl.SSLContext:
        """Whom to trust: the system's authorities (OpenSSL's `SSL_CERT_FILE` counts), and those of `ca_file` as it is at each connection.

        Raises:
            UsageError: the file cannot be read, or holds no certificate.
        """
        if self.ca_file is None:
            return ssl.create_default_context()
        return RenewedContext([self.ca_file.expanduser()], partial(_trusting, self.ca_file.expanduser()))


def _trusting(ca_file: Path) -> ssl.SSLContext:
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(ca_file)
    except OSError as error:  # ssl's errors are OSErrors
        reason = "it holds no certificate (PEM)" if isinstance(error, ssl.SSLError) else error.strerror
        raise UsageError(f"--exchange-ca-file: {str(ca_file)!r} cannot be used: {reason}") from None
    return context
