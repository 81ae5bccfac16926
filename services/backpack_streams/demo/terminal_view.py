"""The demo on a terminal: one screen of books, rates, gaps and lag, drawn once a second. The only module that uses rich."""

import asyncio
import time
from contextlib import suppress
from typing import Final, NoReturn

from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.table import Table
from rich.text import Text

from backpack_streams.demo.board import Board
from backpack_streams.demo.fitting import HEADER_LINES, STATUS_LINES, busiest, fit, most_telling
from backpack_streams.demo.place import Place
from backpack_streams.demo.rows import BookRow, ServiceRow, TopicRow, Totals

__all__ = ["TerminalDisplay"]

DRAW_SECONDS: Final = 1.0
_TOPIC_COLUMN_WIDTH: Final = 38
_WIDTH_FOR_UPDATE_IDS: Final = 90
_STATUS_STYLE: Final = {"LIVE": "green", "SYNCING": "yellow", "STALE": "bold red", "CLOSED": "dim"}
_LABEL: Final = "cyan"


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
                live.update(screen(board, place, self._console.width, self._console.height), refresh=True)
                await asyncio.sleep(DRAW_SECONDS)
        finally:
            with suppress(OSError):  # the terminal is gone and cannot be restored
                live.stop()


def screen(board: Board, place: Place, width: int, height: int) -> RenderableType:
    """Return the whole screen, fitted to `width` columns and `height` lines."""
    now = time.monotonic()
    totals, services = board.totals(now), board.service_rows()
    books, topics = board.book_rows(time.time_ns() // 1000), board.topic_rows()
    topic_columns = max(1, width // _TOPIC_COLUMN_WIDTH)
    lines = fit(height, books=len(books), topics=-(-len(topics) // topic_columns), news=len(board.news.latest))
    news = list(board.news.latest)[-lines.news :] if lines.news else []
    layout = Layout()
    layout.split_column(
        Layout(_header(totals, place, [row.symbol for row in books]), size=HEADER_LINES),
        Layout(_books(books, lines.books, width), ratio=1),
        Layout(_status(totals, services), size=STATUS_LINES),
        Layout(_topics(busiest(topics, lines.topics * topic_columns), topic_columns), size=lines.topics),
        Layout(Group(*(Text(line, style="yellow", no_wrap=True) for line in news)), size=max(1, lines.news)),
    )
    return layout


def _header(totals: Totals, place: Place, symbols: list[str]) -> RenderableType:
    state = "bold green" if totals.is_all_live else "bold yellow"
    first, second = place.commands_to_try(symbols)
    minutes, seconds = divmod(int(totals.up_seconds), 60)
    top = Text.assemble(
        ("backpack-streams demo", "bold"),
        "   ",
        (f"{totals.live_books} of {totals.expected_books} books LIVE", state),
        f"   up {minutes}:{seconds:02d}   ",
        ("Ctrl-C ends everything", "dim"),
    )
    lines = [
        top,
        Text.assemble(("Kafka     ", _LABEL), place.ports.bootstrap_servers),
        Text.assemble(("exchange  ", _LABEL), place.exchange_in_short),
        Text.assemble(("logs      ", _LABEL), place.logs),
        Text.assemble(("try       ", _LABEL), (first, "bold"), ("   in another terminal", "dim")),
        Text.assemble(("          ", _LABEL), (second, "bold")),
    ]
    return _unwrapped(*lines)


def _books(rows: list[BookRow], lines: int, width: int) -> RenderableType:
    if not rows:
        return Text("waiting for the exchange's list of markets", style="yellow")
    table = Table(box=None, padding=(0, 1, 0, 0), expand=False, header_style=_LABEL)
    table.add_column("book", no_wrap=True)
    table.add_column("status", no_wrap=True)
    headings = ["bid size", "bid", "ask", "ask size", *(["update id"] if width >= _WIDTH_FOR_UPDATE_IDS else [])]
    for heading in (*headings, "age", "upd/s"):
        table.add_column(heading, no_wrap=True, justify="left" if heading in ("ask", "ask size") else "right")
    shown = most_telling(rows, lines)
    for row in shown:
        table.add_row(*_book_cells(row, len(table.columns)))
    if len(shown) < len(rows):
        live = sum(1 for row in rows if row.is_live) - sum(1 for row in shown if row.is_live)
        hidden = len(rows) - len(shown)
        return Group(table, Text(f"and {hidden} more, {live} of them LIVE", style="dim"))
    return table


def _book_cells(row: BookRow, columns: int) -> list[RenderableType]:
    bid_price, bid_size = row.bid or ("", "")
    ask_price, ask_size = row.ask or ("", "")
    style = "" if row.is_live else "dim"
    cells: list[RenderableType] = [row.symbol, Text(row.status.value, style=_STATUS_STYLE[row.status.value])]
    cells += [Text(text, style=style) for text in (bid_size, bid_price, ask_price, ask_size)]
    if columns > len(cells) + 2:
        cells.append("" if row.last_update_id is None else str(row.last_update_id))
    return [*cells, _age(row.age_seconds), f"{row.updates_per_second:.1f}"]


def _age(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.0f} s"


def _status(totals: Totals, services: list[ServiceRow]) -> RenderableType:
    lag = f"{totals.lag.median_millis:.0f} ms (worst {totals.lag.worst_millis:.0f} ms), " if totals.lag else ""
    states = Text.assemble(("services  ", _LABEL))
    for service in services:
        states.append(f"{service.name} ")
        states.append(
            "ready  " if service.is_ready else f"not ready: {service.note}  ", "green" if service.is_ready else "yellow"
        )
    return _unwrapped(
        Text(""),
        Text.assemble(
            ("rates     ", _LABEL),
            f"{totals.frames_per_second:.0f} frames/s in, {totals.records_per_second:.0f} records/s in Kafka",
        ),
        Text.assemble(
            ("lag       ", _LABEL),
            f"{lag}{totals.unread_records} records unread here, {totals.waiting_bytes} bytes wait for Kafka",
        ),
        Text.assemble(
            ("losses    ", _LABEL),
            (f"gaps {totals.gaps}", _loss_style(totals.gaps)),
            f" ({totals.streams_begun} streams begun), ",
            (f"dead letters {totals.dead_letters}", _loss_style(totals.dead_letters)),
            f", seeds {totals.seeds}",
        ),
        states,
    )


def _loss_style(count: int) -> str:
    return "bold red" if count else "green"


def _topics(rows: list[TopicRow], columns: int) -> RenderableType:
    grid = Table.grid(padding=(0, 2, 0, 0))
    for _ in range(columns):
        grid.add_column(no_wrap=True)
        grid.add_column(no_wrap=True, justify="right", style="dim")
    cells = [cell for row in rows for cell in (row.topic, f"{row.records_per_second:.1f}/s")]
    for start in range(0, len(cells), 2 * columns):
        grid.add_row(*cells[start : start + 2 * columns])
    return grid


def _unwrapped(*lines: Text) -> RenderableType:
    for line in lines:
        line.no_wrap = True
        line.overflow = "ellipsis"
    return Group(*lines)
