"""The demo on a terminal: the view of `top`, with the demo's addresses, programs and news next to it, drawn once a second."""

import asyncio
import time
from contextlib import suppress
from typing import Final, NoReturn

from rich.console import Console
from rich.live import Live

from backpack_streams.demo.board import Board
from backpack_streams.demo.fitting import TRY_LINES_AT_LEAST, commands_that_fit, fit, troubled_first
from backpack_streams.demo.place import Place
from backpack_streams.demo.rows import ServiceRow, Totals
from backpack_streams.demo.what_to_try import suggestions
from backpack_streams.screen.figures import count
from backpack_streams.screen.health import messages_per_second
from backpack_streams.screen.lines import LABEL_WIDTH, Line, Part, Tone, cut, labelled, line
from backpack_streams.screen.market_rows import arranged
from backpack_streams.screen.page import divided, lines_of_all, market_lines, trouble_lines
from backpack_streams.screen.painting import painted
from backpack_streams.screen.view import View

__all__ = ["TerminalDisplay", "screen"]

DRAW_SECONDS: Final = 1.0
_ORDER: Final = "book"


class TerminalDisplay:
    """Prints lines until the screen is opened; from then on the screen shows them as news."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)

    def say(self, line: str) -> None:
        """Print a line.

        Raises:
            OSError: the terminal is gone.
        """
        self._console.print(line, markup=False, soft_wrap=True)

    async def show(self, board: Board, place: Place) -> NoReturn:
        """Draw until cancelled, then restore the terminal.

        Raises:
            OSError: the terminal is gone.
        """
        live = Live(console=self._console, screen=True, auto_refresh=False, transient=True)
        live.start()
        try:
            while True:
                lines = screen(board, place, self._console.width, self._console.height)
                live.update(painted(lines), refresh=True)
                await asyncio.sleep(DRAW_SECONDS)
        finally:
            with suppress(OSError):  # the terminal is gone and cannot be restored
                live.stop()


def screen(board: Board, place: Place, width: int, height: int) -> list[Line]:
    """Return the whole screen: at most `height` lines, none wider than `width`.

    Args:
        board: the state of the demo.
        place: its addresses and files.
        width: characters of a line.
        height: lines of the terminal.
    """
    view, totals = board.look(), board.totals(time.monotonic())
    trouble, commands = trouble_lines(view), _commands(board, place)
    rows = arranged(view.rows, _ORDER)
    lines = fit(
        height - len(trouble),
        plant=lines_of_all(view),
        news=board.news.kept,
        more_tries=max(0, len(commands) - TRY_LINES_AT_LEAST),
    )
    try_lines = TRY_LINES_AT_LEAST + lines.more_tries
    tries = commands_that_fit(commands, try_lines, width - LABEL_WIDTH, str(place.what_to_try))
    health, for_markets = divided(view, len(rows), width, lines.plant)
    parts = [
        *_header(totals, view, place),
        *trouble,
        *_tries(tries, try_lines),
        *health,
        *market_lines(rows, width, for_markets, _ORDER),
        *_status(totals, board.service_rows()),
        *(line(Part(each, Tone.WARN)) for each in board.news.latest(lines.news)),
    ]
    return [cut(each, width) for each in parts][:height]


def _commands(board: Board, place: Place) -> list[str]:
    """Return the commands to try; none before the books are LIVE."""
    if board.all_live_after_seconds is None:
        return []
    return [suggestion.command for suggestion in suggestions(place, board.expected_symbols)]


def _header(totals: Totals, view: View, place: Place) -> list[Line]:
    state = Tone.GOOD if totals.is_all_live and view.is_current else Tone.WARN
    minutes, seconds = divmod(int(totals.up_seconds), 60)
    return [
        line(
            Part("backpack-streams demo", Tone.STRONG),
            "   ",
            Part(f"{totals.live_books} of {totals.expected_books} books LIVE", state),
            f"   {count(messages_per_second(view))} messages/s   up {minutes}:{seconds:02d}   ",
            Part("Ctrl-C ends everything", Tone.DIM),
        ),
        labelled("live page", [place.ports.page_url, Part("   Kafka ", Tone.LABEL), place.ports.bootstrap_servers]),
        labelled("exchange", [place.exchange_in_short]),
        labelled("logs", [place.logs]),
    ]


def _tries(commands: list[str], lines: int) -> list[Line]:
    if not commands:
        commands_follow = Part("commands follow once the books are LIVE", Tone.DIM)
        return [labelled("try", [commands_follow]), *[line()] * (lines - 1)]
    shown = [labelled("" if place else "try", [Part(each, Tone.STRONG)]) for place, each in enumerate(commands)]
    return [*shown, *[line()] * (lines - len(shown))]


def _status(totals: Totals, services: list[ServiceRow]) -> list[Line]:
    programs: list[Part] = []
    for service in troubled_first(services):
        restarts = f" (restarted {service.restarts} x)" if service.restarts else ""
        state = f"ready{restarts}" if service.is_ready else f"not ready{restarts}: {service.note}"
        programs.append(Part(f"{service.name} {state}  ", Tone.GOOD if service.is_ready else Tone.WARN))
    return [
        labelled(
            "traffic",
            [
                f"{totals.frames_per_second:.0f} frames/s in, {count(totals.waiting_bytes)} bytes wait for Kafka, ",
                Part(f"dead letters {totals.dead_letters}", Tone.BAD if totals.dead_letters else Tone.GOOD),
            ],
        ),
        labelled("programs", programs),
    ]
