"""The age of an update on arrival at a consumer under the exchange's average load, and the producer's CPU use."""

from dataclasses import dataclass

from benchmarks import snapshots
from benchmarks.lab import Lab
from benchmarks.way_in import TOPICS

FRAMES_A_SECOND = 3_000
"""The average load of all perpetuals of the exchange."""
FIRST_FRAMES = 910
"""These wait in the producer until it knows the end offsets of the topics."""
WARM_UP_SECONDS = 1.0
_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds from the source's write to the consumer (p50, p99, p99_9, max) and shares of one core."""

    milliseconds: dict[str, float]
    producer_share: float
    consumer_share: float
    problems: tuple[str, ...]


async def measure(lab: Lab, prefix: str, seconds: float) -> Latency:
    """Run source, market-producer, Kafka and BookStream at FRAMES_A_SECOND."""
    lab.say(f"end to end: {FRAMES_A_SECOND:,} frames/s for {seconds:g} s")
    total_seconds = WARM_UP_SECONDS + seconds
    skip = FIRST_FRAMES + int(WARM_UP_SECONDS * FRAMES_A_SECOND)
    count = FIRST_FRAMES + int(total_seconds * FRAMES_A_SECOND)
    await snapshots.publish(lab, prefix, snapshots.empty_books())
    arguments = ("--bootstrap", lab.connection.bootstrap_servers, "--prefix", prefix, "--mode", "latency")
    async with (
        lab.source() as source,
        lab.market_producer(source, prefix, "depth") as producer,
        lab.run("book-reader", "benchmarks.book_reader", *arguments, "--count", count - skip, "--skip", skip) as reader,
    ):
        await source.until_subscribed(producer)
        await reader.until_says("reading")
        await source.prepare("depth", FIRST_FRAMES)
        await source.go()
        await lab.until_records(prefix + TOPICS["depth"], FIRST_FRAMES, [producer], _TIMEOUT_SECONDS)
        cpu = producer.cpu_seconds()
        started = await source.go(channel="depth", rate=FRAMES_A_SECOND, count=count - FIRST_FRAMES)
        finished = await source.until_written()
        producer_share = (producer.cpu_seconds() - cpu) / (finished - started)
        found = await reader.result(_TIMEOUT_SECONDS)
    problems = [] if found["received"] == count else [f"{found['received']:,} updates arrived of {count:,}"]
    if found["broken"]:
        problems.append(f"{found['broken']} chains broken")
    return Latency(found["latency_ms"], producer_share, found["cpu_seconds"] / found["seconds"], tuple(problems))
