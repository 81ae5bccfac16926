"""`top` on a terminal: the page drawn again and again, and at once when a key is pressed or the size changes."""

import asyncio
import io
import logging
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final

from rich.console import Console
from rich.live import Live

from backpack_streams.commands.top.choices import Choices, keys_of
from backpack_streams.commands.top.keyboard import typed_keys
from backpack_streams.runtime.logging import configure_logging
from backpack_streams.runtime.settings import LogSettings
from backpack_streams.screen.lines import Line, Part, Tone, cut, line
from backpack_streams.screen.page import divided, headline, market_lines, trouble_lines
from backpack_streams.screen.painting import painted
from backpack_streams.screen.reading import PlantReading
from backpack_streams.screen.view import View

__all__ = ["page", "show"]

TITLE: Final = "backpack-streams top"
EXIT_HANGUP: Final = 128 + signal.SIGHUP
_BESIDE_ROWS: Final = 2
"""Lines of the list that are no rows: its heading, and the count of rows that are not shown."""
_LOG_SECONDS: Final = 10.0
"""How long a line of the log stays on the page."""


async def show(reading: PlantReading, choices: Choices, interval: float, logs: LogSettings) -> int:
    """Draw until `q` is pressed or the terminal hangs up; the terminal is restored in any case.

    Args:
        reading: reads Kafka; it must be running in another task.
        choices: order, search and position in the list; keys change them.
        interval: seconds between two pictures. A key or a new size draws at once.
        logs: settings of the log, which is on the page meanwhile and restored afterwards.

    Returns:
        The exit code: 0, or 129 after SIGHUP.

    Raises:
        OSError: the terminal is gone.
    """
    changed, hung_up = asyncio.Event(), asyncio.Event()

    def take(typed: bytes) -> None:
        for key in keys_of(typed):
            choices.press(key)
        changed.set()

    def hang_up() -> None:
        hung_up.set()
        changed.set()

    console = Console(highlight=False)
    handlers = {signal.SIGWINCH: changed.set, signal.SIGHUP: hang_up}
    with (
        _signals(handlers),
        _log_on_page(logs) as log,
        typed_keys(take),
        Live(console=console, screen=True, auto_refresh=False) as live,
    ):
        while not (choices.has_quit or hung_up.is_set()):
            changed.clear()
            lines = page(reading.view(), choices, console.width, console.height, log.latest())
            live.update(painted(lines), refresh=True)
            with suppress(TimeoutError):
                async with asyncio.timeout(interval):
                    await changed.wait()
    return EXIT_HANGUP if hung_up.is_set() else 0


def page(view: View, choices: Choices, width: int, height: int, log: str = "") -> list[Line]:
    """Return the lines of one picture: at most `height`, none wider than `width`.

    Args:
        view: markets and health.
        choices: the order, the search and the first row; takes the number of rows that fit.
        width: characters of a line.
        height: lines of the terminal.
        log: the latest line of the log; empty for none.
    """
    top = [headline(TITLE, view), *trouble_lines(view)]
    bottom = [*([line(Part(log, Tone.WARN))] if log else []), choices.footer()]
    room = max(0, height - len(top) - len(bottom))
    rows = choices.rows(view.rows)
    health, lines = divided(view, len(rows), width, room)
    choices.turn_page_by(lines - _BESIDE_ROWS)
    markets = market_lines(rows, width, lines, choices.order, choices.first, is_search=bool(view.rows))
    middle = [*health, *markets]
    blank = [line()] * (room - len(middle))
    return [cut(each, width) for each in (*top, *middle, *blank, *bottom)][:height]


@contextmanager
def _signals(handlers: Mapping[signal.Signals, Callable[[], None]]) -> Iterator[None]:
    loop = asyncio.get_running_loop()
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)


class _LatestLine(io.StringIO):
    """Takes what is logged, and keeps the last line for a while."""

    def __init__(self) -> None:
        super().__init__()
        self._line = ""
        self._at = 0.0

    def write(self, text: str) -> int:
        if text.strip():
            self._line, self._at = text.strip().splitlines()[-1], time.monotonic()
        return len(text)

    def latest(self) -> str:
        return self._line if time.monotonic() - self._at < _LOG_SECONDS else ""


@contextmanager
def _log_on_page(settings: LogSettings) -> Iterator[_LatestLine]:
    """Keep the log off the page if both go to a terminal; warnings have a line there."""
    latest = _LatestLine()
    if not sys.stderr.isatty():
        yield latest
        return
    configure_logging(settings.model_copy(update={"log_format": "text"}), latest)
    logging.getLogger().setLevel(max(logging.WARNING, logging.getLogger().level))
    try:
        yield latest
    finally:
        configure_logging(settings)
