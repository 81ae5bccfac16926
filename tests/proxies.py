"""Proxies on loopback that forward every request to one server, for any host name: HTTP with CONNECT, and SOCKS5.

Run as a program, with a port as its argument, it is an HTTP proxy to any port of loopback; it ends with its standard input.
"""

import asyncio
import base64
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from urllib.parse import urlsplit


class LoopbackProxy:
    """The requests to it, and the connection to the server; without `target_port`, to the requested port."""

    def __init__(self, target_port: int | None, login: tuple[str, str] | None) -> None:
        self.asked: list[str] = []
        self.port = 0
        self.failures: list[bytes] = []
        """Answers that it sends, once each, instead of forwarding; then it closes the connection."""
        self._target_port = target_port
        self._login = login

    async def serve_http(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, target, _ = head.split("\r\n")[0].split(" ")
        self.asked.append(f"{method} {target}")
        if self.failures:
            writer.write(self.failures.pop(0))
            await writer.drain()
            writer.close()
            return
        wanted = "Basic " + base64.b64encode(":".join(self._login).encode()).decode() if self._login else ""
        if wanted not in head:
            writer.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
            writer.close()
            return
        url = urlsplit(f"//{target}" if method == "CONNECT" else target)
        if method == "CONNECT" or self._target_port is not None:
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await self._tunnel(reader, writer, url.port)
        else:  # servers have to take absolute URLs (RFC 9112, 3.2.2)
            await self._tunnel(reader, writer, url.port, head.encode())

    async def serve_socks(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        methods = await reader.readexactly((await reader.readexactly(2))[1])
        if self.failures:
            self.asked.append("SOCKS")
            writer.write(self.failures.pop(0))
            await writer.drain()
            writer.close()
            return
        wanted = 2 if self._login else 0
        writer.write(bytes([5, wanted if wanted in methods else 0xFF]))
        if wanted not in methods:
            writer.close()
            return
        if self._login:
            name = await reader.readexactly((await reader.readexactly(2))[1])
            password = await reader.readexactly((await reader.readexactly(1))[0])
            is_right = (name.decode(), password.decode()) == self._login
            writer.write(bytes([1, 0 if is_right else 1]))
            if not is_right:
                writer.close()
                return
        assert (await reader.readexactly(4))[3] == 3, "the name is to be resolved by the proxy"
        host = await reader.readexactly((await reader.readexactly(1))[0])
        port = int.from_bytes(await reader.readexactly(2), "big")
        self.asked.append(f"SOCKS {host.decode()}:{port}")
        writer.write(bytes([5, 0, 0, 1, 127, 0, 0, 1, 0, 0]))
        await self._tunnel(reader, writer, port)

    async def _tunnel(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, port: int | None, first: bytes = b""
    ) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._target_port or port)
        back.write(first)
        await asyncio.gather(_copy(reader, back), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
        writer.close()


@asynccontextmanager
async def http_proxy(
    target_port: int | None,
    login: tuple[str, str] | None = None,
    context: ssl.SSLContext | None = None,
    port: int = 0,
) -> AsyncIterator[LoopbackProxy]:
    """An HTTP proxy, over TLS with `context`."""
    proxy = LoopbackProxy(target_port, login)
    async with _listening(proxy, proxy.serve_http, context, port):
        yield proxy


@asynccontextmanager
async def socks_proxy(target_port: int, login: tuple[str, str] | None = None) -> AsyncIterator[LoopbackProxy]:
    """A SOCKS5 proxy."""
    proxy = LoopbackProxy(target_port, login)
    async with _listening(proxy, proxy.serve_socks, None):
        yield proxy


@asynccontextmanager
async def _listening(
    proxy: LoopbackProxy,
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    context: ssl.SSLContext | None,
    port: int = 0,
) -> AsyncIterator[None]:
    tasks: set[asyncio.Task[None]] = set()

    async def each(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client closed the connection, or the test is over
        finally:
            tasks.discard(task)
            writer.transport.abort()

    server = await asyncio.start_server(each, "127.0.0.1", port, ssl=context)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _serve_until_input_ends(port: int) -> None:
    async with http_proxy(None, port=port):
        await asyncio.to_thread(sys.stdin.buffer.read)


if __name__ == "__main__":
    asyncio.run(_serve_until_input_ends(int(sys.argv[1])))
