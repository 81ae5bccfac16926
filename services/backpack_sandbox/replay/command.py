"""The `replay` command: plays until a signal, or to the end."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from backpack_sandbox.replay.server import Replay
from backpack_sandbox.replay.settings import ReplaySettings

EXIT_DAMAGED = 1


def _say(line: str) -> None:
    """Print at once, also into a file that another program waits on."""
    print(line, flush=True)  # noqa: T201  # what the command says to its user


def _warn(line: str) -> None:
    print(f"backpack-streams replay: {line}", file=sys.stderr, flush=True)  # noqa: T201  # as above


async def run(settings: ReplaySettings, files: Sequence[str], out: Callable[[str], object] = _say) -> int:
    """Listen, print `ready` with both URLs on one line, and play until SIGINT or SIGTERM, or to the end with `exit_when_done`.

    A file that merely ends early is no failure: a killed recorder leaves such files. Damage and an early end are both
    reported, each in a line of its own on stderr.

    Args:
        settings: the addresses, the speed, the start and the end.
        files: paths of the recording's parts, in any order.
        out: takes the line for the user, without a newline; by default it prints and flushes.

    Returns:
        0, or 1 if the end was reached and bytes within a file were damaged.

    Raises:
        PortInUseError: a port is taken.
        UsageError, RecordingError: a file does not exist, or is not a recording.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    try:
        async with Replay(settings, [Path(file) for file in files]) as replay:
            out(f"ready {replay.ws_url} {replay.rest_url}")
            return await _play(replay, stop)
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def _play(replay: Replay, stop: asyncio.Event) -> int:
    playing = asyncio.create_task(replay.player.run(), name="play")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            playing.result()
            for loss in replay.reader.losses:
                _warn(loss.line)
            if not replay.settings.exit_when_done:
                await stopping
            else:
                await replay.drain()
    finally:
        for task in (playing, stopping):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait({task})
    return EXIT_DAMAGED if any(loss.is_damage for loss in replay.reader.losses) else 0
