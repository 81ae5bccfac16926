"""Listening sockets for IPv4 and IPv6, and the host name of such an address in a URL."""

import errno
import socket
from typing import Final

EVERYWHERE: Final = "*"
"""Every address of this machine, IPv4 and IPv6. `::` means the same; `0.0.0.0` means IPv4 only."""
THIS_MACHINE: Final = "localhost"
"""The loopback addresses of IPv4 and IPv6."""

_BACKLOG = 100
_TRIES_FOR_A_FREE_PORT = 20
_LACKING = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})
"""Error numbers of a machine that lacks an address or a whole address family."""


def listening_sockets(host: str, port: int) -> list[socket.socket]:
    """Listen on one port of `host`.

    Args:
        host: an address, a name, several of either separated by commas, `localhost`, or `*`. For `localhost` and `*`, an address
            family that this machine lacks is left out.
        port: 0 takes a port that is free on all addresses.

    Raises:
        OSError: an address cannot be listened on; then no socket stays open.
    """
    tries = _TRIES_FOR_A_FREE_PORT if port == 0 else 1
    while True:
        tries -= 1
        try:
            return _listening(host, port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE or not tries:  # free in one family, maybe not in the other
                raise


def why_not_listening(host: str, port: int, error: OSError | UnicodeError, flags: str, port_0: str) -> str:
    """Return in one line why `listening_sockets` failed, and what to do about it.

    Args:
        host: as it was given to it.
        port: likewise.
        error: what it raised; a UnicodeError is a host name that DNS cannot hold.
        flags: what `host` and `port` begin with on the command line, such as `--metrics-`.
        port_0: what port 0 means there.
    """
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.EADDRINUSE:
        return f"port {port} on {host} is in use; choose another with {flags}port, or 0 for {port_0}"
    if number in (errno.EACCES, errno.EPERM):
        return f"port {port} on {host} is not permitted for this user; choose one above 1023 with {flags}port"
    # Python 3.12 and later raise an OSError without a number if no address of the host could be bound.
    if number in (errno.EADDRNOTAVAIL, None) or isinstance(error, socket.gaierror | UnicodeError):
        return f"{host} is not an address of this machine; choose one with {flags}host, such as localhost, or * for all"
    return f"nothing can listen on {host} port {port}: {error}; see {flags}host and {flags}port"


def url_host(host: str) -> str:
    """Return the first address of `host` as a client on this machine writes it in a URL."""
    first = host.split(",", maxsplit=1)[0].strip()
    if first in (EVERYWHERE, "::"):
        return "127.0.0.1"
    return f"[{first}]" if ":" in first else first


def _listening(host: str, port: int) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    try:
        for name in host.split(","):
            for one_of in _alternatives(name.strip()):
                sockets += _first_that_exists(one_of, port or (sockets[0].getsockname()[1] if sockets else 0))
        if not sockets:
            raise OSError(errno.EADDRNOTAVAIL, "this machine has no such address")
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return sockets


def _alternatives(name: str) -> list[list[tuple[int, str, bool]]]:
    """Return lists of (family, address, may be missing). The caller listens on the first address of each list that exists."""
    if name in (EVERYWHERE, "::"):
        return [[(socket.AF_INET6, "::", True), (socket.AF_INET, "0.0.0.0", False)]]
    if name == THIS_MACHINE:
        return [[(socket.AF_INET, "127.0.0.1", True)], [(socket.AF_INET6, "::1", True)]]
    found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    return [[(family, str(where[0]), False)] for family, _, _, _, where in found]


def _first_that_exists(alternatives: list[tuple[int, str, bool]], port: int) -> list[socket.socket]:
    for family, address, may_be_missing in alternatives:
        try:
            return [_listen(family, address, port)]
        except OSError as error:
            if not may_be_missing or error.errno not in _LACKING:
                raise
    return []


def _listen(family: int, address: str, port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # the socket for every address takes IPv4 as well, no other does
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, address != "::")
        listener.bind((address, port))
        listener.listen(_BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener
