"""The demo's output: the interface of all displays, and the plain display that prints lines if the output is no terminal."""

import asyncio
import time
from typing import Final, NoReturn, Protocol

from backpack_streams.demo.board import Board
from backpack_streams.demo.place import Place
from backpack_streams.demo.rows import Totals
from backpack_streams.demo.what_to_try import suggestions
from backpack_streams.screen.figures import count
from backpack_streams.screen.health import messages_per_second

__all__ = ["Display", "PlainDisplay", "summary_line"]

SUMMARY_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 0.25


class Display(Protocol):
    """Shows lines and the live state."""

    def say(self, line: str) -> None:
        """Show a line."""

    async def show(self, board: Board, place: Place) -> NoReturn:
        """Show the board until cancelled.

        Args:
            board: the state, which changes while it is shown.
            place: the demo's addresses and files.
        """


class PlainDisplay:
    """Prints news as it arrives, and a summary every ten seconds."""

    def say(self, line: str) -> None:
        """Print a line at once.

        Raises:
            OSError: the output's reader is gone.
        """
        print(line, flush=True)  # noqa: T201 - this is the command's output

    async def show(self, board: Board, place: Place) -> NoReturn:
        """Print news as it arrives, a summary every ten seconds, and what to try once all books were LIVE; until cancelled.

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
                self.say(summary_line(board.totals(now), messages_per_second(board.look())))
                for service in board.service_rows():
                    if not service.is_ready:
                        self.say(f"{service.name} is not ready: {service.note}")
            await asyncio.sleep(_LOOK_SECONDS)

    def _say_what_to_try(self, board: Board, place: Place) -> None:
        self.say("try this in another terminal:")
        for suggestion in suggestions(place, board.expected_symbols):
            self.say(f"  {suggestion.line}")


def summary_line(totals: Totals, messages: int | None) -> str:
    """Return the totals in one line. Restarts are left out if there are none.

    Args:
        totals: the totals.
        messages: how many messages per second come into Kafka; None if unknown.
    """
    words = [
        f"up {totals.up_seconds:.0f} s: {totals.live_books} of {totals.expected_books} books LIVE",
        f"{totals.frames_per_second:.0f} frames/s in",
        f"{count(messages)} messages/s in Kafka",
        f"gaps {totals.gaps}",
        f"dead letters {totals.dead_letters}",
    ]
    if totals.restarts:
        words.append(f"restarts {totals.restarts}")
    return ", ".join(words)
