"""A small HTTP server in place of the exchange's, with answers written by the test, and a REST client for it."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from urllib.parse import parse_qsl, urlsplit

from backpack_streams.exchange.limits import LimitSettings
from backpack_streams.exchange.rest import RestClient, RestSettings

DEPTH = b'{"asks":[["1.10","2"]],"bids":[["1.0","3"]],"lastUpdateId":"7","timestamp":1790134357267074}'
JSON = "application/json; charset=utf-8"


@dataclass
class Request:
    path: str
    parameters: list[tuple[str, str]]
    headers: dict[str, str]
    writer: asyncio.StreamWriter

    async def answer(
        self, status: int = 200, body: bytes = b"", content_type: str = JSON, headers: dict[str, str] | None = None
    ) -> None:
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {content_type}"]
        if status != 204:
            lines.append(f"Content-Length: {len(body)}")
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        await self.writer.drain()

    def cut(self) -> None:
        self.writer.transport.abort()


Handler = Callable[[Request], Awaitable[None]]


@dataclass
class StandIn:
    """A tiny HTTP server with answers written by the test, byte for byte if needed."""

    handler: Handler
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    connections: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                first, *lines = head.decode().split("\r\n")
                target = urlsplit(first.split(" ")[1])
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines if line)}
                request = Request(target.path, parse_qsl(target.query), headers, writer)
                self.requests.append(request)
                await self.handler(request)
        except (asyncio.IncompleteReadError, ConnectionError):  # the client closed the connection, as a test may want
            pass
        except asyncio.CancelledError:  # the test is over
            pass
        finally:
            self.tasks.discard(task)
            writer.transport.abort()


@asynccontextmanager
async def stand_in(handler: Handler) -> AsyncIterator[StandIn]:
    here = StandIn(handler)
    server = await asyncio.start_server(here.serve, "127.0.0.1", 0)
    here.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield here
    finally:
        server.close()
        ending = list(here.tasks)
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending)


PATIENT = RestSettings(
    deadline_seconds=20,
    retry_base_seconds=0.01,
    retry_cap_seconds=0.05,
    limits=LimitSettings(share=1.0, general_per_minute=60_000, historical_per_minute=60_000),
)


@asynccontextmanager
async def client_of(url: str, settings: RestSettings = PATIENT) -> AsyncIterator[RestClient]:
    async with RestClient(replace(settings, base_url=url), rng=random.Random(1)) as client:
        yield client


def in_turn(*handlers: Handler) -> Handler:
    """Answer each request with the next handler, then repeat the last one."""
    remaining = list(handlers)

    async def handle(request: Request) -> None:
        await (remaining.pop(0) if len(remaining) > 1 else remaining[0])(request)

    return handle


def always(
    status: int = 200, body: bytes = b"", content_type: str = JSON, headers: dict[str, str] | None = None
) -> Handler:
    return lambda request: request.answer(status, body, content_type, headers)


async def silence(_request: Request) -> None:
    await asyncio.sleep(60)
