"""market-producer at full speed: from prepared frames on a socket to records acknowledged by Kafka."""

from dataclasses import dataclass

from benchmarks.frames import MARKETS
from benchmarks.lab import Lab, settle
from benchmarks.numbers import Speed

TOPICS = {"depth": "market.depth", "trade": "market.trade"}
_TIMEOUT_SECONDS = 180.0
_WARM_UP_FRAMES = 20_000


@dataclass(frozen=True, slots=True)
class WayIn:
    """The results, and the problems (empty: every frame is in Kafka, in the right place)."""

    speed: Speed
    peak_mib: float
    problems: tuple[str, ...]


async def measure(lab: Lab, prefix: str, channel: str, frames: int, repetitions: int) -> WayIn:
    """Send `frames` frames `repetitions` times after a warm-up."""
    lab.say(f"market-producer, {channel}: {repetitions} x {frames:,} frames at full speed")
    topic = prefix + TOPICS[channel]
    seconds, cpu_seconds = [], []
    async with lab.source() as source, lab.market_producer(source, prefix, channel) as producer:
        programs = (source.program, producer)
        await source.until_subscribed(producer)
        total = min(_WARM_UP_FRAMES, frames // 2)
        await source.prepare(channel, total)
        await source.go()
        await lab.until_records(topic, total, programs, _TIMEOUT_SECONDS)
        for _ in range(repetitions):
            await source.prepare(channel, frames)
            total += frames
            cpu = producer.cpu_seconds()
            started = await source.go()
            seconds.append(await lab.until_records(topic, total, programs, _TIMEOUT_SECONDS) - started)
            await settle()
            cpu_seconds.append(producer.cpu_seconds() - cpu)
        problems = await _problems(lab, prefix, topic, total)
        peak_mib = producer.peak_mib()
    return WayIn(Speed(frames, tuple(seconds), tuple(cpu_seconds)), peak_mib, problems)


async def _problems(lab: Lab, prefix: str, topic: str, sent: int) -> tuple[str, ...]:
    """Check: every frame once, no dead letter, no gap except those that mark the start of a stream."""
    held = await lab.records(topic)
    letters = await lab.records(prefix + "ops.dead_letter")
    gaps = await lab.records(prefix + "ops.gap")
    checks = {
        f"{held:,} records in Kafka, {sent:,} frames sent": held == sent,
        f"{letters} dead letters": not letters,
        f"{gaps - MARKETS} gaps": gaps == MARKETS,
    }
    return tuple(text for text, is_well in checks.items() if not is_well)
