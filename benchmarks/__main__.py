"""`python -m benchmarks`: measures and prints; stops everything it started."""

import argparse
import asyncio
import json
import logging
import os
import platform
import signal
import sys
import tempfile
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from backpack_streams.bus.quick_depth import compiled
from backpack_streams.errors import BackpackStreamsError
from backpack_streams.runtime.loop import loop_factory
from benchmarks.lab import Lab, event_loop_name
from benchmarks.numbers import pace_ns
from benchmarks.report import show
from benchmarks.run import FULL, PARTS, QUICK, run
from embedded_kafka import EmbeddedKafka

_PACKAGES = ("aiokafka", "picows", "msgspec", "cavro", "fastavro", "ccxt")

_JVM = ("-XX:+IgnoreUnrecognizedVMOptions", "-XX:+UseShenandoahGC", "-XX:TieredStopAtLevel=1")
"""Kafka collects garbage while it works (JEP 379). With other collectors it pauses for 20 to 60 ms beside a load on its processor, which
would count as the age of what readers have."""


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="benchmarks", description="Speed and latency, side by side with ccxt.pro and aiokafka, from one run."
    )
    parser.add_argument("--quick", action="store_true", help="well under a minute, rougher figures")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE too")
    parser.add_argument("--only", metavar="PART,...", help=f"some of {','.join(PARTS)}; out needs in")
    arguments = parser.parse_args()
    arguments.parts = PARTS if arguments.only is None else tuple(arguments.only.split(","))
    for part in arguments.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part!r}; the parts are {', '.join(PARTS)}")
    if "out" in arguments.parts and "in" not in arguments.parts:
        parser.error("the part out reads what the part in has put into Kafka: name both")
    return arguments


def _surroundings() -> dict[str, Any]:
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {
        "python": platform.python_version(),
        "event_loop": event_loop_name(),
        "depth_updates": "pure Python" if compiled is None else "compiled",
        "cores": os.cpu_count(),
        "load_average_at_start": os.getloadavg(),
        "pace_ns_at_start": pace_ns(),
        "packages": packages,
    }


def _print_surroundings(about: dict[str, Any]) -> None:
    load = " ".join(f"{value:.2f}" for value in about["load_average_at_start"])
    print(
        f"Python {about['python']}, {about['event_loop']}, depth updates {about['depth_updates']}, "
        + ", ".join(f"{n} {v}" for n, v in about["packages"].items())
    )
    show(
        f"{about['cores']} cores, load average {load} before the start, {about['pace_ns_at_start']:.0f} ns a turn of a fixed loop."
    )
    show("All figures depend on what else the machine does: compare those of one run, and run it on a quiet machine.")
    print(
        "Depth frames: 200 bytes, two levels, 91 markets in turn, ids without gaps, quantities that hardly ever repeat."
    )


async def _measure(arguments: argparse.Namespace) -> dict[str, Any]:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    begun = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - begun:5.1f} s] {text}", file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory(prefix="backpack-streams-bench-") as folder:
        async with EmbeddedKafka(Path(folder) / "kafka", port=0, announce=say, jvm=_JVM) as kafka:
            lab = Lab(kafka.bootstrap_servers, Path(folder), say)
            figures = await run(lab, QUICK if arguments.quick else FULL, arguments.parts)
    figures["pace_ns_at_end"] = pace_ns()
    show(
        f"\nTook {time.monotonic() - begun:.0f} s; {figures['pace_ns_at_end']:.0f} ns a turn of the fixed loop at the end."
    )
    return figures


def main() -> int:
    """Return the exit code of the process."""
    arguments = _arguments()
    logging.getLogger("aiokafka").setLevel(logging.ERROR)  # it warns about topics that were just created
    about = _surroundings()
    _print_surroundings(about)
    try:
        with asyncio.Runner(loop_factory=loop_factory()) as runner:
            figures = runner.run(_measure(arguments))
    except BackpackStreamsError as error:
        print(f"benchmarks: error: {error}", file=sys.stderr)
        return error.exit_code
    except asyncio.CancelledError:
        return 128 + signal.SIGINT
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(about | figures, indent=2, default=str) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
