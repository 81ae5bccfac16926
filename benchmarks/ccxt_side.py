"""The ccxt.pro + aiokafka loop under the same load: the share that arrives, its age, and the cost."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.frames import FIRST_ID, MARKETS
from benchmarks.lab import Lab, Program, SourceClient
from benchmarks.latency import FRAMES_A_SECOND
from benchmarks.numbers import MICROS

CHANNELS = {"trades": "trade", "all_trades": "trade", "books": "depth"}
_WARM_UP_FRAMES_A_MARKET = 15
"""ccxt requests a book from REST after eleven deltas."""
_LAST_FRAMES_A_MARKET = 3
"""ccxt returns collected items with the next message of that market: without these frames its last items would count as lost."""
_SLOW_FRAMES_A_SECOND = 1_000
_TIMEOUT_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class CcxtRun:
    """One load on the loop: `lost_share` of the frames sent did not become records."""

    frames: int
    distinct: int
    seconds: float
    cpu_seconds: float
    latency_ms: dict[str, float]

    @property
    def rate(self) -> float:
        """Frames processed per second, including the lost ones."""
        return self.frames / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU µs per frame sent."""
        return self.cpu_seconds / self.frames * MICROS

    @property
    def lost_share(self) -> float:
        """Share of frames without a record in Kafka."""
        return 1 - self.distinct / self.frames

    def figures(self) -> dict[str, object]:
        """Return the figures for the JSON file."""
        return {
            "frames": self.frames,
            "distinct_records": self.distinct,
            "rate": self.rate,
            "cpu_us": self.cpu_us,
            "lost_share": self.lost_share,
            "latency_ms": self.latency_ms,
        }


def is_installed() -> bool:
    """Whether ccxt is installed."""
    return find_spec("ccxt") is not None


@dataclass(frozen=True, slots=True)
class Load:
    """A number of frames (rounded to a multiple of the markets), at once or at the exchange's average rate."""

    name: str
    frames: int
    is_at_once: bool


async def measure(lab: Lab, what: str, loads: Sequence[Load]) -> dict[str, CcxtRun]:
    """Put one load after another on the loop (`trades`, `all_trades` or `books`); TCP holds back what it does not read."""
    channel, topic = CHANNELS[what], f"ccxt.{what}"
    runs = {}
    await lab.make_plain_topic(topic)
    async with lab.source() as source:
        kafka = ("--topic", topic, "--bootstrap", lab.connection.bootstrap_servers)
        words = (what, *kafka, "--rest-url", source.rest_url, "--ws-url", source.ws_url)
        async with lab.run("ccxt", "benchmarks.ccxt_loop", *words) as loop:
            await source.until_subscribed(loop)
            side = _Side(lab, source, loop, topic, channel)
            await side.slowly(_WARM_UP_FRAMES_A_MARKET)
            for load in loads:
                lab.say(f"ccxt.pro + aiokafka, {what}: {load.name}, {load.frames:,} frames")
                runs[load.name] = await side.under(load, kafka)
    return runs


@dataclass(slots=True)
class _Side:
    """The running loop and its source."""

    lab: Lab
    source: SourceClient
    loop: Program
    topic: str
    channel: str
    ids_sent: int = 0
    """Number of ids of every market so far."""

    async def under(self, load: Load, kafka: Sequence[str]) -> CcxtRun:
        """Measure one load, with its own reader."""
        ids = load.frames // MARKETS
        frames = ids * MARKETS
        wanted = ("--first-id", FIRST_ID + self.ids_sent, "--ids", ids)
        async with self.lab.run("json-reader", "benchmarks.json_reader", *kafka, *wanted) as reader:
            await reader.until_says("reading")
            if load.is_at_once:
                await self.source.prepare(self.channel, frames)
            cpu = self.loop.cpu_seconds()
            started = await (
                self.source.go()
                if load.is_at_once
                else self.source.go(channel=self.channel, rate=FRAMES_A_SECOND, count=frames)
            )
            self.ids_sent += ids
            await self.source.until_written(_TIMEOUT_SECONDS)
            ended = await self.lab.until_idle(self.topic, self.loop)
            cpu_seconds = self.loop.cpu_seconds() - cpu
            await self.slowly(_LAST_FRAMES_A_MARKET)
            reader.child.send_signal(signal.SIGTERM)
            found = await reader.result(_TIMEOUT_SECONDS)
        return CcxtRun(frames, found["distinct"], ended - started, cpu_seconds, found["latency_ms"])

    async def slowly(self, ids: int) -> None:
        """Send so slowly that no frame is lost, until every task runs and, for books, every snapshot is fetched."""
        await self.source.go(channel=self.channel, rate=_SLOW_FRAMES_A_SECOND, count=ids * MARKETS)
        self.ids_sent += ids
        await self.source.until_written()
        await self.lab.until_idle(self.topic, self.loop)
