"""The start of a reader: from no state to all books live, with longer and longer histories in Kafka."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from statistics import median
from typing import Any

from benchmarks.frames import FIRST_ID, MARKETS
from benchmarks.history import History
from benchmarks.lab import Lab

_TIMEOUT_SECONDS = 150.0
_SAMPLE_RECORDS = 500_000


@dataclass(frozen=True, slots=True)
class ColdStart:
    """Starts with one history. `replay_seconds`: the time to read all of it at a plain consumer's rate, nothing decoded."""

    history: int
    seconds: tuple[float, ...]
    joined_seconds: float
    caught_up_with: int
    replay_seconds: float
    problems: tuple[str, ...]

    def figures(self) -> dict[str, Any]:
        """Return the figures for programs."""
        return {
            "history": self.history,
            "seconds_median": median(self.seconds),
            "seconds_worst": max(self.seconds),
            "joined_seconds": self.joined_seconds,
            "caught_up_with": self.caught_up_with,
            "replay_seconds": self.replay_seconds,
            "problems": self.problems,
        }


async def measure(lab: Lab, prefix: str, histories: Sequence[int], repetitions: int) -> list[ColdStart]:
    """Grow one topic to each of these numbers of updates, and start readers."""
    history = History(lab, prefix)
    await history.begin()
    found = []
    for updates in histories:
        begun = time.monotonic()
        await history.grow(updates)
        lab.say(f"{history.updates:,} updates of history are in Kafka, after {time.monotonic() - begun:.0f} s")
        async with history.vouched():
            runs = [await _read(lab, prefix, "books", MARKETS) for _ in range(repetitions)]
        sample = await _read(lab, prefix, "records", min(_SAMPLE_RECORDS, history.updates))
        found.append(
            ColdStart(
                history.updates,
                tuple(run["seconds"] for run in runs),
                median(run["joined_seconds"] for run in runs),
                runs[-1]["updates"],
                sample["seconds"] / sample["records"] * history.updates,
                tuple(problem for run in runs for problem in _problems(run, history)),
            )
        )
    return found


async def _read(lab: Lab, prefix: str, mode: str, count: int) -> dict[str, Any]:
    arguments = ("--bootstrap", lab.connection.bootstrap_servers, "--prefix", prefix, "--mode", mode, "--count", count)
    async with lab.run("cold-reader", "benchmarks.cold_reader", *arguments) as reader:
        found: dict[str, Any] = await reader.result(_TIMEOUT_SECONDS)
        return found


def _problems(run: dict[str, Any], history: History) -> list[str]:
    """Check that each live book is the right one."""
    problems = []
    if run["books"] != MARKETS or run["newest_ids"] != [FIRST_ID + history.rounds - 1]:
        problems.append(f"{run['books']} books at {run['newest_ids']}")
    if {Decimal(touch or 0) for touch in run["touches"]} != {Decimal(history.quantity())}:
        problems.append(f"best bids of {run['touches']}, not {history.quantity()}")
    return problems
