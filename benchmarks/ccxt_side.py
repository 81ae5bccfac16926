"""The ccxt.pro + aiokafka loop under the same load: how much of it arrives, how old, and at what cost."""

import signal
from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.frames import FIRST_ID, MARKETS
from benchmarks.lab import Lab, Program, SourceClient
from benchmarks.latency import FRAMES_A_SECOND
from benchmarks.numbers import MICROS

CHANNELS = {"trades": "trade", "books": "depth"}
_WARM_UP_FRAMES_A_MARKET = 15
"""ccxt asks REST for a book once eleven deltas of it have come."""
_LAST_FRAMES_A_MARKET = 3
"""ccxt gives out what has gathered when the next message of that market comes: without these its last items would count as lost."""
_SLOW_FRAMES_A_SECOND = 500
_TIMEOUT_SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class CcxtRun:
    """One load on the loop: `lost_share` of the frames sent never became a record of their own."""

    frames: int
    distinct: int
    seconds: float
    cpu_seconds: float
    latency_ms: dict[str, float]

    @property
    def rate(self) -> float:
        """Frames worked off a second, those lost included."""
        return self.frames / self.seconds

    @property
    def cpu_us(self) -> float:
        """CPU µs a frame sent to it."""
        return self.cpu_seconds / self.frames * MICROS

    @property
    def lost_share(self) -> float:
        """Share of frames that no record in Kafka tells of."""
        return 1 - self.distinct / self.frames

    def figures(self) -> dict[str, object]:
        """For the JSON file."""
        return {
            "frames": self.frames,
            "distinct_records": self.distinct,
            "rate": self.rate,
            "cpu_us": self.cpu_us,
            "lost_share": self.lost_share,
            "latency_ms": self.latency_ms,
        }


def is_installed() -> bool:
    """Whether ccxt is there to be measured."""
    return find_spec("ccxt") is not None


async def at_full_speed(lab: Lab, what: str, frames: int) -> CcxtRun:
    """All frames at once; TCP holds them back until the loop takes them."""
    lab.say(f"ccxt.pro + aiokafka, {what}: {frames:,} frames at full speed")
    return await _measure(lab, what, f"ccxt.{what}.full", frames, None)


async def at_average_load(lab: Lab, what: str, seconds: float) -> CcxtRun:
    """The exchange's average load."""
    lab.say(f"ccxt.pro + aiokafka, {what}: {FRAMES_A_SECOND:,} frames/s for {seconds:g} s")
    return await _measure(lab, what, f"ccxt.{what}.average", int(FRAMES_A_SECOND * seconds), seconds)


async def _measure(lab: Lab, what: str, topic: str, frames: int, seconds: float | None) -> CcxtRun:
    channel, kafka = CHANNELS[what], lab.connection.bootstrap_servers
    frames -= frames % MARKETS
    await lab.make_plain_topic(topic)
    async with lab.source() as source:
        words = (what, "--topic", topic, "--bootstrap", kafka, "--rest-url", source.rest_url, "--ws-url", source.ws_url)
        async with lab.run("ccxt", "benchmarks.ccxt_loop", *words) as loop:
            await source.until_subscribed(loop)
            await _slowly(lab, source, loop, topic, channel, _WARM_UP_FRAMES_A_MARKET)
            ids = ("--first-id", FIRST_ID + _WARM_UP_FRAMES_A_MARKET, "--ids", frames // MARKETS)
            reader_words = ("--topic", topic, "--bootstrap", kafka, *ids)
            async with lab.run("json-reader", "benchmarks.json_reader", *reader_words) as reader:
                await reader.until_says("reading")
                if seconds is None:
                    await source.prepare(channel, frames)
                cpu = loop.cpu_seconds()
                query = {} if seconds is None else {"channel": channel, "rate": FRAMES_A_SECOND, "count": frames}
                started = await source.go(**query)
                await source.until_written(_TIMEOUT_SECONDS)
                ended = await lab.until_idle(topic, loop)
                cpu_seconds = loop.cpu_seconds() - cpu
                await _slowly(lab, source, loop, topic, channel, _LAST_FRAMES_A_MARKET)
                reader.child.send_signal(signal.SIGTERM)
                found = await reader.result(_TIMEOUT_SECONDS)
    return CcxtRun(frames, found["distinct"], ended - started, cpu_seconds, found["latency_ms"])


async def _slowly(
    lab: Lab, source: SourceClient, loop: Program, topic: str, channel: str, frames_a_market: int
) -> None:
    """So few frames a second that nothing is lost of them: every task runs and, for books, every snapshot is fetched."""
    await source.go(channel=channel, rate=_SLOW_FRAMES_A_SECOND, count=frames_a_market * MARKETS)
    await source.until_written()
    await lab.until_idle(topic, loop)
