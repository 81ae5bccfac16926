"""A stable address in front of a service that moves, like a load balancer; and an address that accepts connections and never answers."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self


class Forwarder:
    """Passes bytes between clients of `port` and `target`, a port on this machine. None: it accepts, and never answers.

    With several targets, each connection gets the next one that accepts it. Use as an async context manager. `port` 0: a free one.
    """

    def __init__(self, target: int | Sequence[int] | None = None, port: int = 0) -> None:
        self.target = target
        self.port = port
        self.taken = 0
        """Number of connections so far."""
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.taken += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if self.target is None:
                await asyncio.Event().wait()
            elif isinstance(self.target, int):
                await _pass(reader, writer, self.target)
            else:
                await self._pass_to_next(reader, writer, self.target)
        finally:
            writer.close()

    async def _pass_to_next(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, targets: Sequence[int]
    ) -> None:
        turn = self.taken % len(targets)
        for target in (*targets[turn:], *targets[:turn]):
            if await _pass(reader, writer, target):
                return


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, target: int) -> bool:
    """Pass bytes until either side ends; False if nothing listens there."""
    try:
        there, back = await asyncio.open_connection("127.0.0.1", target)
    except OSError:
        return False
    await asyncio.gather(_copy(reader, back), _copy(there, writer))
    return True


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await reader.read(65536):
            writer.write(piece)
            await writer.drain()
    writer.close()
