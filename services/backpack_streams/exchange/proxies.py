"""Chooses the proxy for the exchange: one rule for the WebSocket and REST, from a setting or from the environment."""

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from backpack_streams.errors import UsageError
from backpack_streams.shown_text import hide_credentials_in_url

DIRECT: Final = "none"
"""The setting for a direct connection, regardless of the environment."""

_PORT_BY_SCHEME = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_PORT_OF_TARGET = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_SECURE = frozenset({"https", "wss"})
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: `http` or `https` (both by CONNECT), or `socks5`, which resolves host names itself.
        host: the name or address, without brackets.
        port: the port.
        username: the user as plain text, None for no login.
        password: the password as plain text, None for none.
        named_by: the setting or variable that names the proxy, for messages.
    """

    scheme: str
    host: str
    port: int
    username: str | None = None
    password: str | None = None
    named_by: str = "--exchange-proxy"

    @property
    def is_socks(self) -> bool:
        """Whether the proxy speaks SOCKS rather than HTTP."""
        return self.scheme == "socks5"

    @property
    def address(self) -> str:
        """Scheme, host and port, without credentials."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def url(self) -> str:
        """The complete URL with percent-encoded credentials. Never log or show it."""
        if self.username is None:
            return self.address
        login = f"{quote(self.username, safe='')}:{quote(self.password or '', safe='')}"
        return self.address.replace("://", f"://{login}@", 1)

    def check_installed(self, package: str) -> None:
        """Check that the package for SOCKS is installed, if this is a SOCKS proxy.

        Raises:
            UsageError: `package` is not installed; the message says what to install.
        """
        if self.is_socks and find_spec(package) is None:
            raise UsageError(
                f"{self.named_by} names a SOCKS proxy, which needs the package {package}: "
                "pip install 'backpack-streams[socks]', or give an HTTP proxy with --exchange-proxy"
            )

    def __repr__(self) -> str:
        return f"Proxy({self.address})"


def proxy_for(url: str, setting: str | None, environment: Mapping[str, str]) -> Proxy | None:
    """Return the proxy for a URL, None for a direct connection.

    Args:
        url: an `http`, `https`, `ws` or `wss` URL.
        setting: the URL of a proxy for every target, `DIRECT`, or None to follow the environment.
        environment: `HTTPS_PROXY` applies to `https` and `wss`, `HTTP_PROXY` to `http` and `ws`, `ALL_PROXY` to all,
            unless `NO_PROXY` names the target. Lower case takes precedence.

    Raises:
        UsageError: not a proxy's URL; the message names its origin and hides the credentials.
    """
    if setting is not None:
        return None if setting.strip().lower() == DIRECT else _parsed(setting, "--exchange-proxy")
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    if _is_loopback(host) or _is_named(host, parts.port or _PORT_OF_TARGET[parts.scheme], environment):
        return None
    for name in ("HTTPS_PROXY" if parts.scheme in _SECURE else "HTTP_PROXY", "ALL_PROXY"):
        for spelling in (name.lower(), name):
            value = environment.get(spelling, "").strip()
            # CGI servers derive HTTP_PROXY from a request header, so its upper-case form is ignored there.
            if value and not (spelling == "HTTP_PROXY" and "REQUEST_METHOD" in environment):
                return _parsed(value, spelling)
    return None


def _parsed(text: str, named_by: str) -> Proxy:
    value = text.strip()
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        port = parts.port or _PORT_BY_SCHEME[parts.scheme]
        is_usable = bool(parts.hostname) and not any(each.isspace() for each in value) and not parts.query
        is_usable = is_usable and parts.path in ("", "/") and "@" not in parts.fragment
    except (
        ValueError,
        KeyError,
    ):  # an invalid port, unbalanced brackets, an unknown scheme
        is_usable = False
    if not is_usable:
        advice = "; percent-encode / @ : # ? in a user name or password" if "@" in value else ""
        raise UsageError(
            f"{named_by}: {hide_credentials_in_url(value)!r} is not a proxy of the form "
            f"http://[USER:PASSWORD@]HOST:PORT, https://… or socks5://…{advice}"
        )
    return Proxy(
        "socks5" if parts.scheme == "socks5h" else parts.scheme,
        parts.hostname or "",
        port,
        None if parts.username is None else unquote(parts.username),
        None if parts.password is None else unquote(parts.password),
        named_by,
    )


def _is_loopback(host: str) -> bool:
    address = _address(host)
    if address is not None:
        return address.is_loopback
    return host == "localhost" or host.endswith(".localhost")


def _is_named(host: str, port: int, environment: Mapping[str, str]) -> bool:
    """Whether `NO_PROXY` names the target: by name, parent domain, address, address range, or `*`; each may have a port."""
    no_proxy = environment.get("no_proxy") or environment.get("NO_PROXY") or ""
    address = _address(host)
    for entry in no_proxy.replace(",", " ").split():
        if entry == "*":
            return True
        for name, wanted_port in _host_and_port(entry):
            if wanted_port in (None, port) and _matches(host, address, name):
                return True
    return False


def _host_and_port(entry: str) -> Iterator[tuple[str, int | None]]:
    """Yield a host, address or range with its port: None without one. `::1` is an address, `[::1]:80` and `a:80` have ports."""
    entry = entry.rpartition("://")[2]
    if entry.startswith("["):
        inside, _, after = entry[1:].partition("]")
        length, _, port = after.partition(":")  # the prefix length follows the brackets in [fd00::]/8
        yield inside + length, int(port) if port.isdecimal() else None
        return
    name, colon, port = entry.partition(":")
    if colon and port.isdecimal():
        yield name, int(port)
    else:
        yield entry, None


def _matches(host: str, address: _Address | None, name: str) -> bool:
    if address is not None:
        try:
            network = ipaddress.ip_network(name, strict=False)
        except ValueError:  # a name or an invalid entry never matches an address
            return False
        return address.version == network.version and address in network
    domain = name.lstrip("*").strip(".").lower()
    return bool(domain) and (host.lower() == domain or host.lower().endswith(f".{domain}"))


def _address(host: str) -> _Address | None:
    try:
        address = ipaddress.ip_address(host.partition("%")[0])  # without the zone of a socket-local address
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
