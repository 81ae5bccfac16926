"""Finds free TCP ports and checks whether one is taken."""

import errno
import random
import socket
from collections.abc import Collection, Sequence
from contextlib import ExitStack

from backpack_streams.errors import EmbeddedError

__all__ = ["free_ports", "port_is_free", "require_free"]

# The range lies below the one for outgoing connections (from 32768 on Linux, 49152 on macOS): a port in that one
# could be taken by any client's connection between the pick and the broker's start.
_PICK_RANGE = range(20_000, 32_000)
_TRIES = 2_000


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # Like Java's server sockets: lingering connections of an earlier broker must not block a restart.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1)
    except OSError:
        listener.close()
        raise
    return listener


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen on this port now. Binds it for a moment, with SO_REUSEADDR as Java does.

    Args:
        host: IPv4 or IPv6 address, or a name.
        port: the port. One that this user may not bind (EACCES) counts as taken.

    Raises:
        EmbeddedError: `host` is not an address of this machine.
    """
    try:
        _bound(host, port).close()
    except OSError as error:
        if error.errno in (errno.EADDRINUSE, errno.EACCES):
            return False
        raise EmbeddedError(
            f"cannot listen on {host}: {error.strerror or error}; give an address of this machine"
        ) from error
    return True


def require_free(host: str, ports: Sequence[int]) -> None:
    """Check that all ports are free. Only a check: another program may take one of them afterwards.

    Args:
        host: address to listen on.
        ports: the ports, each from 1 to 65535.

    Raises:
        EmbeddedError: a port is taken, not permitted, or not a port number; the message names it. Or `host` is not an
            address of this machine.
    """
    for port in ports:
        if not 0 < port < 65_536:
            raise EmbeddedError(f"port {port} does not exist: choose one from 1 to 65535")
        if not port_is_free(host, port):
            raise EmbeddedError(port_in_use(host, port))


def port_in_use(host: str, port: int) -> str:
    """Return the error text for a port that is taken."""
    return f"port {port} on {host} is in use by another program (or not allowed): stop that, or choose another port with --port"


def free_ports(count: int, host: str, besides: Collection[int] = ()) -> list[int]:
    """Pick ports that are free now, differ from each other, and are not in `besides`.

    The ports are from 20000 to 31999, picked at random, so that two clusters that start at once rarely pick the same.

    Args:
        count: how many.
        host: address to listen on.
        besides: ports to leave out, free or not.

    Raises:
        EmbeddedError: 2,000 random ports did not yield enough.
    """
    picked: list[int] = []
    with ExitStack() as held:
        for port in random.sample(_PICK_RANGE, _TRIES):
            if len(picked) == count:
                return picked
            if port in besides:
                continue
            try:
                held.enter_context(_bound(host, port))
            except OSError:  # taken: try the next
                continue
            picked.append(port)
    raise EmbeddedError(f"no free port found on {host}: give ports that are free")
