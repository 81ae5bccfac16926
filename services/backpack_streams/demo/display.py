"""The demo's output: the interface of all displays, and the plain display that prints lines if the output is no terminal."""

import asyncio
import time
from typing import Final, NoReturn, Protocol

from backpack_streams.demo.board import Board
from backpack_streams.demo.place import Place
from backpack_streams.demo.rows import Totals

__all__ = ["Display", "PlainDisplay", "summary_line"]

SUMMARY_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.25


class Display(Protocol):
    """Shows lines and the live state."""

    def say(self, line: str) -> None:
        """Show a line."""

    async def show(self, board: Board, place: Place) -> NoReturn:
        """Show the board until cancelled."""


class PlainDisplay:
    """Prints news as they arrive, and a summary every ten seconds."""

    def say(self, line: str) -> None:
        """Print a line at once.

        Raises:
            OSError: the output's reader is gone.
        """
        print(line, flush=True)  # noqa: T201 - this is the command's output

    async def show(self, board: Board, place: Place) -> NoReturn:
        """Print until cancelled.

        Raises:
            OSError: the output's reader is gone.
        """
        due = time.monotonic() + SUMMARY_SECONDS
        has_told_what_to_try = False
        while True:
            for line in board.news.take():
                self.say(line)
            now = time.monotonic()
            if board.all_live_after_seconds is not None and not has_told_what_to_try:
                has_told_what_to_try = True
                self._say_what_to_try(board, place)
            if now >= due:
                due = now + SUMMARY_SECONDS
                self.say(summary_line(board.totals(now)))
                for service in board.service_rows():
                    if not service.is_ready:
                        self.say(f"{service.name} is not ready: {service.note}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _say_what_to_try(self, board: Board, place: Place) -> None:
        for command in place.commands_to_try(board.expected_symbols):
            self.say(f"try in another terminal: {command}")


def summary_line(totals: Totals) -> str:
    """Return the totals in one line."""
    words = [
        f"up {totals.up_seconds:.0f} s: {totals.live_books} of {totals.expected_books} books LIVE",
        f"{totals.frames_per_second:.0f} frames/s in",
        f"{totals.records_per_second:.0f} records/s in Kafka",
        f"gaps {totals.gaps}",
        f"dead letters {totals.dead_letters}",
        f"seeds {totals.seeds}",
        f"unread {totals.unread_records}",
    ]
    if totals.lag is not None:
        words.append(f"newest update {totals.lag.median_millis:.0f} ms old when read")
    return ", ".join(words)
