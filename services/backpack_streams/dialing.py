"""Opens a TCP connection to a name: addresses of both families are raced (Happy Eyeballs, RFC 8305), so dead ones cost no time."""

import asyncio
import socket
from collections import deque
from collections.abc import Sequence
from itertools import chain, zip_longest
from typing import Any

Address = tuple[int, int, int, str, Any]
"""As `getaddrinfo` gives it: family, kind, protocol, canonical name, socket address."""


async def dial(host: str, port: int, delay_seconds: float) -> socket.socket:
    """A connected socket to the first address of `host` that answers.

    The next address is tried when the last try has failed, or has taken `delay_seconds`; earlier tries go on meanwhile.

    Raises:
        OSError: the name does not resolve, or no address answers.
    """
    loop = asyncio.get_running_loop()
    return await race(interleaved(await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)), delay_seconds)


def interleaved(addresses: Sequence[Address]) -> list[Address]:
    """The families take turns, in the order in which the resolver prefers them (RFC 8305, section 4)."""
    by_family: dict[int, list[Address]] = {}
    for address in addresses:
        by_family.setdefault(address[0], []).append(address)
    return [each for each in chain.from_iterable(zip_longest(*by_family.values())) if each is not None]


async def race(addresses: Sequence[Address], delay_seconds: float) -> socket.socket:
    """The first socket that connects; all others are closed.

    Raises:
        OSError: none did: a refusal, if there was one, else the last failure.
    """
    untried = deque(addresses)
    tries: set[asyncio.Task[socket.socket]] = set()
    failures: list[OSError] = []
    try:
        while untried or tries:
            if untried:
                tries.add(asyncio.create_task(_connect(untried.popleft()), name="dial"))
            done, _ = await asyncio.wait(
                tries, timeout=delay_seconds if untried else None, return_when=asyncio.FIRST_COMPLETED
            )
            for each in done:
                tries.discard(each)
                try:
                    winner = each.result()
                except OSError as failure:
                    failures.append(failure)
                else:
                    tries.update(done)  # another one may have connected in the same moment
                    tries.discard(each)
                    return winner
    finally:
        await _end(tries)
    refusals = [each for each in failures if isinstance(each, ConnectionRefusedError)]
    raise next(iter(refusals), failures[-1] if failures else OSError("the name has no address"))


async def _connect(address: Address) -> socket.socket:
    family, kind, protocol, _, where = address
    connecting = socket.socket(family, kind, protocol)  # an OSError where the system lacks the family
    try:
        connecting.setblocking(False)
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await asyncio.get_running_loop().sock_connect(connecting, where)
    except BaseException:
        connecting.close()
        raise
    return connecting


async def _end(tries: set[asyncio.Task[socket.socket]]) -> None:
    for each in tries:
        each.cancel()
    if tries:
        await asyncio.wait(tries)
    for each in tries:
        if not each.cancelled() and each.exception() is None:
            each.result().close()
