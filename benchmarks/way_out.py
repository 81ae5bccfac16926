"""BookStream at full speed: from records in Kafka to books with best bid and ask read."""

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.lab import Lab
from benchmarks.numbers import Speed

_TIMEOUT_SECONDS = 150.0


@dataclass(frozen=True, slots=True)
class WayOut:
    """The results, and the problems (empty: all deltas read, all books live, no sequence broken)."""

    speed: Speed
    levels_a_book: float
    problems: tuple[str, ...]


async def measure(lab: Lab, prefix: str, mode: str, deltas: int, repetitions: int) -> WayOut:
    """Read all `deltas` of the topic, each time with a new process."""
    lab.say(f"BookStream, {mode}: {repetitions} x {deltas:,} deltas from {prefix}market.depth")
    runs = []
    for _ in range(repetitions):
        arguments = ("--bootstrap", lab.connection.bootstrap_servers, "--prefix", prefix)
        async with lab.run(
            "book-reader", "benchmarks.book_reader", *arguments, "--mode", mode, "--count", deltas
        ) as reader:
            runs.append(await reader.result(_TIMEOUT_SECONDS))
    return WayOut(
        Speed(deltas, tuple(run["seconds"] for run in runs), tuple(run["cpu_seconds"] for run in runs)),
        runs[-1]["levels"] / max(1, runs[-1]["books"]),
        _problems(runs, deltas),
    )


def _problems(runs: Sequence[dict[str, int]], deltas: int) -> tuple[str, ...]:
    problems = []
    for run in runs:
        if run["updates"] != deltas:
            problems.append(f"{run['updates']:,} deltas read of {deltas:,}")
        if run["broken"] or run["not_live"]:
            problems.append(f"{run['not_live']} books not live, {run['broken']} chains broken")
    return tuple(problems)
