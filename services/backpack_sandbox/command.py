"""The `sandbox` command: runs the stand-in until a signal."""

import asyncio
import signal
from collections.abc import Callable

from backpack_sandbox.server import Sandbox
from backpack_sandbox.settings import SandboxSettings


def _say(line: str) -> None:
    """Print at once, also into a file that another program waits on."""
    print(line, flush=True)  # noqa: T201  # what the command says to its user


async def run_sandbox(settings: SandboxSettings, out: Callable[[str], object] = _say) -> None:
    """Start a sandbox, print `ready` with its three URLs on one line, and run until SIGINT or SIGTERM.

    Args:
        settings: the ports, the flow and its faults.
        out: takes the line for the user, without a newline; by default it prints and flushes.

    Raises:
        PortInUseError: a port is taken.
        UsageError: a fault or a key is invalid, or the recording does not exist.
        RecordingError: the recording cannot be read.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Sandbox(settings) as sandbox:
            out(f"ready {sandbox.ws_url} {sandbox.rest_url} control {sandbox.control_url}")
            await stop.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
