"""The gateway's speed while the market moves, compared with a FastAPI facade over REST and an empty Starlette answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx

from benchmarks.frames import markets
from benchmarks.kafka_times import behind_kafka_us, make_stamped_topic
from benchmarks.lab import Lab, Program, SourceClient, until
from benchmarks.latency import FIRST_FRAMES, FRAMES_A_SECOND
from benchmarks.numbers import latencies_ms
from benchmarks.processors import alone
from benchmarks.report import one, table, two, whole
from benchmarks.way_in import TOPICS
from embedded_kafka.ports import free_ports

REQUESTS_A_SECOND = 2_000
FEW_A_SECOND = 200
"""A rate at which the load leaves Kafka, which shares its processor, time to deliver."""
SUBSCRIBERS = 1_000
_HOST = "127.0.0.1"
_TIMEOUT_SECONDS = 60.0
_ORDERBOOK = "/v1/orderbook?symbol=SYMBOL&depth=25"
_POLLER = ("ticker", "ticker-1w", "mark-price", "open-interest", "catalogue", "history", "lending", "funding-rate")


@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one server: at full speed, and at a fixed rate."""

    name: str
    a_second: float
    cpu_us: float
    latency_ms: dict[str, float]
    behind_ms: dict[str, float]
    behind_kafka_ms: dict[int, dict[str, float]]
    """By requests per second."""
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class GatewayFigures:
    """The figures of all servers and of the gateway's subscribers."""

    answers: list[Answers] = field(default_factory=list)
    stream: dict[str, Any] = field(default_factory=dict)
    resident_mib: float = 0.0
    """Memory of the gateway, with its subscribers."""

    def figures(self) -> dict[str, Any]:
        """Return the figures as JSON."""
        return asdict(self)

    def tables(self) -> str:
        """Return tables for people."""
        rows = [
            [
                each.name,
                whole(each.a_second),
                one(each.cpu_us),
                *(two(each.latency_ms[name]) for name in ("p50", "p99")),
                *(one(each.behind_ms[name]) if each.behind_ms else "-" for name in ("p50", "p99")),
                "; ".join(each.problems) or "yes",
            ]
            for each in self.answers
        ]
        heads = (
            *("32 connections", "answers/s", "CPU us each", f"p50 ms at {REQUESTS_A_SECOND:,}/s", "p99 ms"),
            *("behind ms, p50", "p99", "all 200"),
        )
        title = f"Books over HTTP at {FRAMES_A_SECOND:,} depth frames/s (at full speed, then at {REQUESTS_A_SECOND:,} requests/s)"
        behind = (
            "Each server has one processor to itself; source, producer, Kafka, the other servers and the load share the others.\n"
            "Behind: how long before the request the oldest update had left the source that the answer lacked."
        )
        kafka_rows = [
            [f"{each.name}, {rate:,} requests/s", *(one(ages[name]) for name in ("p50", "p99", "p99_9", "max"))]
            for each in self.answers
            for rate, ages in each.behind_kafka_ms.items()
        ]
        kafka_heads = ("answers", "p50 ms", "p99 ms", "p99.9 ms", "max ms")
        kafka = table(
            "How long before the request Kafka had appended the oldest update that the answer lacked",
            kafka_heads,
            kafka_rows,
        )
        stream = [
            f"{self.stream['subscribers']:,} subscribers of one book",
            whole(self.stream["updates_a_second"]),
            *(one(self.stream["age_ms"][name]) for name in ("p50", "p99", "max")),
            whole(self.resident_mib),
        ]
        way = (
            "source -> Kafka -> gateway -> WebSocket",
            "updates/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "gateway's peak MiB",
        )
        streams = table("Streams, from the source's write to each subscriber", way, [stream])
        return "\n".join([table(title, heads, rows), behind, kafka, streams])


@dataclass(frozen=True, slots=True)
class Writing:
    """When the source writes; see `http_load`."""

    started: float
    first: int
    frames_a_second: int

    def flags(self) -> tuple[str, ...]:
        """The flags for the load processes."""
        pairs = {"--started": self.started, "--first": self.first, "--frame-rate": self.frames_a_second}
        return tuple(str(word) for pair in pairs.items() for word in pair)


@dataclass(frozen=True, slots=True)
class Plant:
    """A gateway whose books are all LIVE and moving."""

    gateway: Program
    port: int
    rest_url: str
    writing: Writing


@asynccontextmanager
async def plant(lab: Lab, prefix: str, frames_a_second: int) -> AsyncIterator[Plant]:
    """Run source, producer, poller and gateway, with so many depth frames per second, within the context."""
    await make_stamped_topic(lab, prefix)
    async with (
        lab.source() as source,
        lab.market_producer(source, prefix, "depth") as producer,
        _poller(lab, source, prefix),
        _served(lab, "gateway", *_gateway_flags(lab, source, prefix)) as (gateway, port),
    ):
        await source.until_subscribed(producer)
        await source.prepare("depth", FIRST_FRAMES)
        await source.go()
        await lab.until_records(prefix + TOPICS["depth"], FIRST_FRAMES, [producer], _TIMEOUT_SECONDS)
        started = await source.go(channel="depth", rate=frames_a_second, count=100_000_000)
        await _until_live(port, gateway)
        yield Plant(gateway, port, source.rest_url, Writing(started, FIRST_FRAMES, frames_a_second))


async def measure(lab: Lab, prefix: str, seconds: float) -> GatewayFigures:
    """Start the plant at FRAMES_A_SECOND; then put one load after another on it and on what it is compared with."""
    figures = GatewayFigures()
    async with (
        plant(lab, prefix, FRAMES_A_SECOND) as served,
        _served(lab, "facade", "--rest-url", served.rest_url) as (facade, facade_port),
        _served(lab, "empty", "--empty") as (empty, empty_port),
    ):
        gateway, port, writing = served.gateway, served.port, served.writing
        for name, program, at, target, flags in (
            ("gateway, /v1/orderbook", gateway, port, _ORDERBOOK, writing.flags()),
            ("FastAPI over REST, cache of 1 s", facade, facade_port, _ORDERBOOK, writing.flags()),
            ("empty Starlette answer", empty, empty_port, "/", ()),
        ):
            with alone(program.child.pid):
                figures.answers.append(await _asked(lab, name, program, at, target, seconds, flags, prefix))
        lab.say(f"{SUBSCRIBERS:,} subscribers of one book")
        words = ("--port", port, "--subscribers", SUBSCRIBERS, "--seconds", seconds, *writing.flags())
        async with lab.run("subscribers", "benchmarks.stream_load", *words) as load:
            cpu = gateway.cpu_seconds()
            figures.stream = await load.result(_TIMEOUT_SECONDS + seconds)
            figures.stream["cpu_seconds"] = gateway.cpu_seconds() - cpu
        figures.resident_mib = gateway.peak_mib()
    return figures


def _gateway_flags(lab: Lab, source: SourceClient, prefix: str) -> tuple[str, ...]:
    kafka = ("--bootstrap-servers", lab.connection.bootstrap_servers, "--topic-prefix", prefix)
    return ("gateway", *kafka, "--rest-url", source.rest_url, "--metrics-port", "0", "--no-access-log")


@asynccontextmanager
async def _served(lab: Lab, name: str, *flags: str) -> AsyncIterator[tuple[Program, int]]:
    port = free_ports(1, _HOST)[0]
    module = "backpack_streams.cli.main" if name == "gateway" else "benchmarks.facade"
    async with lab.run(name, module, *flags, "--port", port) as program:
        yield program, port


@asynccontextmanager
async def _poller(lab: Lab, source: SourceClient, prefix: str) -> AsyncIterator[Program]:
    """It lists the markets, gets each book's snapshot, and is then nearly idle."""
    refreshes = (word for name in _POLLER for word in (f"--{name}-refresh", "0"))
    kafka = ("--bootstrap-servers", lab.connection.bootstrap_servers, "--topic-prefix", prefix)
    words = ("rest-poller", *kafka, "--rest-url", source.rest_url, "--metrics-port", "0", *refreshes)
    async with lab.run("rest-poller", "backpack_streams.cli.main", *words) as program:
        yield program


async def _until_live(port: int, gateway: Program) -> None:
    async with httpx.AsyncClient(base_url=f"http://{_HOST}:{port}", trust_env=False) as client:

        async def are_live() -> bool:
            try:
                answers = [await client.get("/v1/orderbook", params={"symbol": market.symbol}) for market in markets()]
            except httpx.TransportError:
                return False
            return all(answer.status_code == httpx.codes.OK for answer in answers)

        await until(are_live, "all books of the gateway to be LIVE", [gateway], _TIMEOUT_SECONDS)


async def _asked(
    lab: Lab, name: str, program: Program, port: int, target: str, seconds: float, flags: tuple[str, ...], prefix: str
) -> Answers:
    """First at full speed, then at a fixed rate."""
    lab.say(f"{name}: full speed, then {REQUESTS_A_SECOND:,} requests/s")
    words: tuple[Any, ...] = ("--port", port, "--target", target, "--seconds", seconds)
    cpu = program.cpu_seconds()
    async with lab.run("load", "benchmarks.http_load", *words) as load:
        fast = await load.result(_TIMEOUT_SECONDS + seconds)
    cpu = program.cpu_seconds() - cpu
    words = (*words, *flags)
    paced, behind_kafka = await _paced(lab, prefix, words, REQUESTS_A_SECOND, seconds)
    behind_kafka_ms = {}
    if behind_kafka:
        behind_kafka_ms[REQUESTS_A_SECOND] = behind_kafka
        _, behind_kafka_ms[FEW_A_SECOND] = await _paced(lab, prefix, words, FEW_A_SECOND, seconds)
    problems = []
    if refused := fast["refused"] + paced["refused"]:
        problems.append(f"{refused} answers were not 200")
    if paced["answers"] < 0.99 * REQUESTS_A_SECOND * seconds:
        problems.append(f"only {paced['a_second']:,.0f} answers/s of {REQUESTS_A_SECOND:,}")
    return Answers(
        name,
        fast["a_second"],
        cpu / max(1, fast["answers"]) * 1e6,
        paced["latency_ms"],
        paced["behind_ms"],
        behind_kafka_ms,
        tuple(problems),
    )


async def _paced(
    lab: Lab, prefix: str, words: tuple[Any, ...], rate: int, seconds: float
) -> tuple[dict[str, Any], dict[str, float]]:
    """Ask `rate` times per second. Returns what the load measured, and how far behind Kafka the books were; empty if they have no ids."""
    with TemporaryDirectory(prefix="backpack-books-") as folder:
        books = Path(folder, "books")
        async with lab.run("load", "benchmarks.http_load", *words, "--rate", rate, "--books", books) as load:
            found = await load.result(_TIMEOUT_SECONDS + seconds)
        behind_us = await behind_kafka_us(lab, prefix, _content(books)) if found["behind_ms"] else []
    return found, latencies_ms(behind_us)


def _content(file: Path) -> bytes:
    return file.read_bytes()
