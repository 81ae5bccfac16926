"""The command `backpack-streams demo`: runs the demo until Ctrl-C, SIGTERM or the end of its terminal."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from backpack_streams.demo.command_lines import log_format
from backpack_streams.demo.demo import Demo
from backpack_streams.demo.display import Display, PlainDisplay
from backpack_streams.demo.folder import DemoFolder
from backpack_streams.demo.ports import claim_ports
from backpack_streams.demo.settings import DemoSettings
from backpack_streams.demo.terminal_view import TerminalDisplay
from backpack_streams.runtime.logging import configure_logging
from backpack_streams.runtime.settings import LogSettings

__all__ = ["run"]

logger = logging.getLogger(__name__)

EXIT_KILLED: Final = 128 + signal.SIGINT
_STOP_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_END_AFTER_KILL_SECONDS: Final = 5.0


async def run(settings: DemoSettings) -> int:
    """Run until a signal; a second signal kills everything at once.

    SIGINT, SIGTERM and SIGHUP count alike. The log goes to `demo.log` in the folder, because the display owns the
    terminal.

    Args:
        settings: the ports, the folder, and the exchange or its stand-in.

    Returns:
        0 after one signal, because Ctrl-C is the normal end of a demo; 130 after a second one.

    Raises:
        UsageError: a port is in use.
        BackpackStreamsError: a program could not be started, or ended unexpectedly.
        BrokenPipeError: the reader of the output closed the pipe.
    """
    ports = claim_ports(settings)
    folder = DemoFolder.open(settings.data_dir)
    # The display owns the terminal.
    log = (folder.logs / "demo.log").open("a", encoding="utf-8")
    configure_logging(LogSettings(log_level=settings.log_level, log_format=log_format(settings)), log)
    demo = Demo(settings, ports, folder, _display())
    running = asyncio.create_task(demo.run(), name="demo")
    ended_well = False
    try:
        with _stopping_on_signals(demo, running) as signals_seen:
            await asyncio.wait({running})
        ended_well = running.cancelled()
        if not ended_well:
            ended_well = isinstance(running.exception(), BrokenPipeError)  # as with `| head`
            running.result()
        return EXIT_KILLED if len(signals_seen) > 1 else 0
    finally:
        folder.close(keep_logs=not ended_well)


def _display() -> Display:
    is_screen = sys.stdout.isatty() and os.environ.get("TERM", "dumb") not in ("dumb", "unknown")
    return TerminalDisplay() if is_screen else PlainDisplay()


@contextmanager
def _stopping_on_signals(demo: Demo, running: "asyncio.Task[None]") -> Iterator[list[int]]:
    loop = asyncio.get_running_loop()
    seen: list[int] = []

    def on_signal(number: int) -> None:
        seen.append(number)
        logger.info("signal received", extra={"signal": signal.Signals(number).name, "times": len(seen)})
        if len(seen) == 1 and not demo.is_stopping:
            running.cancel()
            return
        demo.kill()
        # All programs are dead by then; only our own shutdown could still hang.
        loop.call_later(_END_AFTER_KILL_SECONDS, os._exit, EXIT_KILLED)

    for number in _STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield seen
    finally:
        # Everything has stopped. The loop still has to shut down, and that may wait for a thread, so a further signal does not wait.
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, os._exit, EXIT_KILLED)
