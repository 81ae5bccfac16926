"""The lab: an embedded Kafka, programs as child processes, and measurements of both from outside."""

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.publisher import Publisher
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topics import Topic, topic
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.runtime.loop import loop_factory
from benchmarks.frames import MARKETS
from embedded_kafka.child import Child
from embedded_kafka.ports import free_ports

_TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_HOST = "127.0.0.1"
_POLL_SECONDS = 0.05
_START_SECONDS = 60.0
_SETTLE_SECONDS = 0.15
"""After the last record is in Kafka, the producer still has to read the acknowledgement."""
_LOG_LINES_SHOWN = 8
_IDLE_SECONDS = 0.7
_BUSY_SHARE = 0.5
PLAIN_PARTITIONS = 8
"""As many as our depth topic has."""


class BenchmarkError(BackpackStreamsError):
    """A measurement failed; the message says which one and why."""


@dataclass(frozen=True, slots=True)
class Program:
    """A measured child process."""

    name: str
    child: Child
    log: Path

    def cpu_seconds(self) -> float:
        """User and system time of all its threads so far."""
        return cpu_seconds(self.child.pid)

    def peak_mib(self) -> float:
        """Its peak memory in MiB."""
        for line in Path(f"/proc/{self.child.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise BenchmarkError(f"{self.name} has no VmHWM in /proc: run the benchmark on Linux")

    def check(self) -> None:
        """Raise BenchmarkError, with the end of its log, if it has ended."""
        if self.child.returncode is not None:
            tail = " | ".join(self.log.read_text(errors="replace").splitlines()[-_LOG_LINES_SHOWN:])
            raise BenchmarkError(f"{self.name} ended with exit code {self.child.returncode}: {tail}")

    async def until_says(self, word: str) -> None:
        """Wait until its output contains `word`."""

        async def has_said() -> bool:
            return word in self.log.read_text(errors="replace")

        await until(has_said, f"{self.name} to say {word!r}", [self])

    async def result(self, timeout_seconds: float) -> Any:
        """Return the JSON on the last line of its output, once it has ended."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self.child.wait()
        except TimeoutError:
            raise BenchmarkError(f"{self.name} did not end within {timeout_seconds:.0f} s") from None
        if self.child.returncode:
            self.check()
        return json.loads(self.log.read_text().splitlines()[-1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, with the resolution of a clock tick (10 ms)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except OSError as error:
        raise BenchmarkError(
            f"the CPU time of process {pid} cannot be read ({error}): it needs Linux's /proc"
        ) from None
    return (int(fields[11]) + int(fields[12])) / _TICKS_A_SECOND


class SourceClient:
    """Controls a frame source."""

    def __init__(self, port: int, program: Program) -> None:
        self.program = program
        self.port = port
        self.ws_url = f"ws://{_HOST}:{port}"
        self.rest_url = f"http://{_HOST}:{port}"
        self._http = httpx.AsyncClient(base_url=self.rest_url, timeout=60.0, trust_env=False)

    async def _get(self, path: str, **query: Any) -> Any:
        return (await self._http.get(f"/control/{path}", params=query)).raise_for_status().json()

    async def until_up(self) -> None:
        """Wait until it listens."""

        async def is_up() -> bool:
            try:
                await self._get("state")
            except httpx.TransportError:
                return False
            return True

        await until(is_up, "the frame source to listen", [self.program])

    async def until_subscribed(self, client: Program, streams: int = MARKETS) -> None:
        """Wait until a client has subscribed to so many streams."""

        async def is_subscribed() -> bool:
            return bool((await self._get("state"))["subscribed"] >= streams)

        await until(is_subscribed, f"{client.name} to subscribe", [self.program, client])

    async def prepare(self, channel: str, count: int) -> None:
        """Render frames for `go`."""
        await self._get("prepare", channel=channel, count=count)

    async def go(self, **query: Any) -> float:
        """Start writing; return the start time (wall clock, seconds)."""
        return float((await self._get("go", **query))["started"])

    async def until_written(self, timeout_seconds: float = 120.0) -> float:
        """Wait until the last byte went to the socket; return that time (wall clock, seconds)."""

        async def is_written() -> bool:
            return bool((await self._get("state"))["finished"])

        await until(is_written, "all frames to be written", [self.program], timeout_seconds)
        return float((await self._get("state"))["finished"])

    async def close(self) -> None:
        """Close the control connection."""
        await self._http.aclose()


class Lab:
    """Kafka, and the programs that run against it."""

    def __init__(self, bootstrap_servers: str, folder: Path, say: Callable[[str], None]) -> None:
        self.connection = KafkaConnection(bootstrap_servers)
        self.codec = Codec()
        self.say = say
        self._folder = folder
        self._started = 0

    @asynccontextmanager
    async def run(self, name: str, module: str, *arguments: object) -> AsyncIterator[Program]:
        """Run `python -m module arguments` within the context."""
        self._started += 1
        log = self._folder / f"{self._started:02d}-{name}.log"
        child = await Child.start([sys.executable, "-m", module, *map(str, arguments)], log_path=log)
        try:
            yield Program(name, child, log)
        finally:
            if child.returncode is None:
                await child.stop()

    @asynccontextmanager
    async def source(self) -> AsyncIterator[SourceClient]:
        """Start a frame source, all ids at their start."""
        port = free_ports(1, _HOST)[0]
        async with self.run("source", "benchmarks.source", "--port", port) as program:
            client = SourceClient(port, program)
            try:
                await client.until_up()
                yield client
            finally:
                await client.close()

    @asynccontextmanager
    async def market_producer(self, source: SourceClient, prefix: str, streams: str) -> AsyncIterator[Program]:
        """Start the service as users run it."""
        arguments = {
            "--bootstrap-servers": self.connection.bootstrap_servers,
            "--ws-url": source.ws_url,
            "--rest-url": source.rest_url,
            "--topic-prefix": prefix,
            "--streams": streams,
            "--metrics-port": 0,
        }
        words = [word for pair in arguments.items() for word in pair]
        async with self.run("market-producer", "backpack_streams.cli.main", "market-producer", *words) as program:
            yield program

    async def make_topics(self, prefix: str, names: Iterable[str]) -> None:
        """Create topics of the plant, named without the prefix."""
        await TopicAdmin(self.connection, prefix).apply([topic(name) for name in names], create_only=True)

    async def make_plain_topic(self, name: str) -> None:
        """Create a topic for other records."""
        await TopicAdmin(self.connection, "").apply([Topic(name, "", PLAIN_PARTITIONS)], create_only=True)

    async def records(self, *topics: str) -> int:
        """Number of records in all these topics: the sum of their end offsets, because nothing is ever deleted here."""
        async with Reader(self.connection) as reader:
            return await _count(reader, topics)

    async def until_records(self, name: str, count: int, programs: Iterable[Program], timeout_seconds: float) -> float:
        """Wait until the topic holds `count` records; return that time (wall clock, seconds)."""
        async with Reader(self.connection) as reader:
            topic_partitions = await reader.topic_partitions(name)

            async def are_there() -> bool:
                return sum((await reader.ends(topic_partitions)).values()) >= count

            await until(are_there, f"{count} records in {name}", programs, timeout_seconds)
        return time.time()

    async def until_idle(self, name: str, program: Program) -> float:
        """Wait until the topic has stopped growing and the program is idle.

        Return the time of the last record (wall clock, seconds).
        """
        async with Reader(self.connection) as reader:
            count, grew, cpu, busy = -1, time.time(), program.cpu_seconds(), time.time()
            while time.time() - max(grew, busy) < _IDLE_SECONDS:
                await asyncio.sleep(_POLL_SECONDS)
                program.check()
                before, count = count, await _count(reader, [name])
                if count != before:
                    grew = time.time()
                cpu_before, cpu = cpu, program.cpu_seconds()
                if cpu - cpu_before > _POLL_SECONDS * _BUSY_SHARE:
                    busy = time.time()
        return grew

    async def publish(self, name: str, records: Iterable[tuple[bytes, bytes, int]]) -> None:
        """Write records (key, value, timestamp in ms) to a topic."""
        publisher = Publisher(self.connection)
        await publisher.start()
        try:
            await publisher.open([name])
            for key, value, timestamp_ms in records:
                publisher.partition_queue(name, key).append(key, value, timestamp_ms)
        finally:
            late = await publisher.close()
        if late:
            raise BenchmarkError(f"Kafka did not take the records for {name}")


async def _count(reader: Reader, topics: Iterable[str]) -> int:
    topic_partitions = [each for name in topics for each in await reader.topic_partitions(name)]
    return sum((await reader.ends(topic_partitions)).values())


async def until(
    condition: Callable[[], Any], what: str, programs: Iterable[Program], timeout_seconds: float = _START_SECONDS
) -> None:
    """Wait for an asynchronous condition.

    Raises:
        BenchmarkError: it did not hold in time, or a required program has ended.
    """
    watched = list(programs)
    deadline = time.monotonic() + timeout_seconds
    while not await condition():
        for program in watched:
            program.check()
        if time.monotonic() > deadline:
            raise BenchmarkError(f"waited {timeout_seconds:.0f} s in vain for {what}")
        await asyncio.sleep(_POLL_SECONDS)


async def settle() -> None:
    """Wait for the last acknowledgements before a CPU time is read."""
    await asyncio.sleep(_SETTLE_SECONDS)


def event_loop_name() -> str:
    """The event loop of our processes."""
    return loop_factory().__module__.partition(".")[0]
