"""Statistics of measurements: medians, percentiles, rates, and the current speed of this machine."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

MICROS = 1_000_000
_PACE_REPETITIONS = 5
_PACE_TURNS = 100_000


@dataclass(frozen=True, slots=True)
class Speed:
    """Repetitions of one measurement: number of items, seconds and CPU time."""

    items: int
    seconds: tuple[float, ...]
    cpu_seconds: tuple[float, ...]

    @property
    def rate(self) -> float:
        """Items per second, median."""
        return self.items / median(self.seconds)

    @property
    def best_rate(self) -> float:
        """Items per second, best repetition."""
        return self.items / min(self.seconds)

    @property
    def cpu_us(self) -> float:
        """CPU µs per item, median."""
        return median(self.cpu_seconds) / self.items * MICROS

    @property
    def best_cpu_us(self) -> float:
        """CPU µs per item, best repetition."""
        return min(self.cpu_seconds) / self.items * MICROS

    def figures(self) -> dict[str, float]:
        """Return the figures for the JSON file."""
        return {
            "rate_median": self.rate,
            "rate_best": self.best_rate,
            "cpu_us_median": self.cpu_us,
            "cpu_us_best": self.best_cpu_us,
            "repetitions": len(self.seconds),
            "items_a_repetition": self.items,
        }


def latencies_ms(ages_us: Sequence[int]) -> dict[str, float]:
    """Percentiles of ages in µs, as milliseconds; empty without ages."""
    if not ages_us:
        return {}
    ordered = sorted(ages_us)
    shares = {"p50": 0.5, "p99": 0.99, "p99_9": 0.999}
    found = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] / 1000 for name, share in shares.items()}
    return found | {"max": ordered[-1] / 1000}


def pace_ns() -> float:
    """CPU ns of one iteration of a fixed piece of Python, best of a few: shows runs on a busy machine."""
    best = float("inf")
    for _ in range(_PACE_REPETITIONS):
        table: dict[int, bytes] = {}
        start = time.process_time()
        for number in range(_PACE_TURNS):
            table[number & 1023] = b"%d" % number
        best = min(best, time.process_time() - start)
    return best / _PACE_TURNS * 1e9
