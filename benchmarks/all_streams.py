"""The cost of all streams of all markets at the exchange's average load, with the services as users run them.

The frames come from the sandbox, which is a slow source: this measures the processor time of the producers, not their limits.
"""

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass

from backpack_streams.bus.topics import TOPICS
from benchmarks.lab import Lab, Program, until
from benchmarks.latency import FRAMES_A_SECOND
from embedded_kafka.ports import free_ports

MARKETS = 143
"""91 perpetuals and 52 spot markets were open when the exchange's load was measured."""
PRODUCERS = ("market-producer", "perp-producer")
_SETTLE_SECONDS = 4.0
_HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Load:
    """Records per second in Kafka, and each producer's share of one core."""

    linger_ms: int
    records_a_second: float
    shares: dict[str, float]


async def measure(lab: Lab, prefix: str, seconds: float, linger_ms: int) -> Load:
    """Measure the sandbox, market-producer and perp-producer with their default streams."""
    lab.say(
        f"all streams of {MARKETS} markets, {FRAMES_A_SECOND:,} depth frames/s for {seconds:g} s, linger {linger_ms} ms"
    )
    ws, rest, control = free_ports(3, _HOST)
    ports = ("--ws-port", ws, "--rest-port", rest, "--control-port", control)
    topics = [topic.full_name(prefix) for topic in TOPICS if topic.name.startswith(("market.", "perp."))]
    kafka = ("--bootstrap-servers", lab.connection.bootstrap_servers, "--topic-prefix", prefix)
    urls = ("--ws-url", f"ws://{_HOST}:{ws}", "--rest-url", f"http://{_HOST}:{rest}")
    await lab.make_topics(prefix, [topic.name for topic in TOPICS])
    async with AsyncExitStack() as stack:

        async def run(*arguments: object) -> Program:
            return await stack.enter_async_context(lab.run(str(arguments[0]), "backpack_streams.cli.main", *arguments))

        sandbox = await run("sandbox", *ports, "--symbols", MARKETS, "--rate", FRAMES_A_SECOND)
        options = (*urls, *kafka, "--metrics-port", 0, "--linger-ms", linger_ms)
        producers = [await run(name, *options) for name in PRODUCERS]

        async def flows() -> bool:
            return await lab.records(*topics) > FRAMES_A_SECOND

        await until(flows, "the streams to flow", [sandbox, *producers])
        await asyncio.sleep(_SETTLE_SECONDS)
        cpu, held, start = [each.cpu_seconds() for each in producers], await lab.records(*topics), time.monotonic()
        await asyncio.sleep(seconds)
        spent = [each.cpu_seconds() - before for each, before in zip(producers, cpu, strict=True)]
        passed = time.monotonic() - start
        records = await lab.records(*topics) - held
    shares = {each.name: used / passed for each, used in zip(producers, spent, strict=True)}
    return Load(linger_ms, records / passed, shares)
