"""The progress of a backfill: shown to the user, and kept in Kafka so that the next run continues from there."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from aiokafka.structs import ConsumerRecord

from backpack_streams.bus.reader import Reader
from backpack_streams.errors import BusError
from backpack_streams.publishing.publishing import Publishing, now_us
from backpack_streams.rest_poller.recall import decoded, read_records

STATUS_TOPIC = "ops.stream_status"
RUNNING, DONE = "BACKFILLING", "BACKFILLED"
_LINE_SECONDS = 2.0

Shown = Callable[[float, str], None]
"""Shows a share from 0 to 1 and the position, in words."""


class Reached(NamedTuple):
    """Where an earlier run ended: Kafka has acknowledged all before it, except what is `missing`.

    Attributes:
        last_id: id of the last trade; None for other streams.
        until_us: the end of what was published, µs since the Unix epoch.
        missing: descriptions of unavailable parts.
    """

    last_id: int | None
    until_us: int
    missing: tuple[str, ...] = ()


class Bookmark:
    """The position of one backfill, a record in the compacted topic of stream states. It is written after the data it covers.

    Args:
        publishing: the connection to Kafka.
        stream: for example `trade.SOL_USDC`.
        symbol: the market.
        from_time: start of the history; together with the stream it identifies the backfill.
    """

    def __init__(self, publishing: Publishing, stream: str, symbol: str, from_time: datetime) -> None:
        self._publishing = publishing
        self._symbol = symbol
        self._name = f"backfill {stream} from {from_time.isoformat()}"

    async def read(self) -> Reached | None:
        """Return where the last run ended; None if there was none.

        Raises:
            BusError: Kafka cannot be reached.
        """
        found: list[Reached] = []

        def take(record: ConsumerRecord) -> None:
            if record.key == self._name.encode() and record.value is not None:
                status = decoded(self._publishing, STATUS_TOPIC, record.value)
                missing = tuple(status.get("missing", ()))
                found.append(Reached(status["last_id"], status["last_received_time"] or 0, missing))

        async with Reader(self._publishing.connection, self._publishing.codec) as reader:
            topic_partitions = await reader.topic_partitions(self._publishing.prefix + STATUS_TOPIC)
            await read_records(
                reader, await reader.beginnings(topic_partitions), await reader.ends(topic_partitions), take
            )
        return found[-1] if found else None

    async def write(self, reached: Reached, *, is_done: bool = False) -> None:
        """Record that everything before `reached` is in Kafka and acknowledged.

        Args:
            reached: where the backfill is.
            is_done: whether the backfill has come to its end.

        Raises:
            BusError: Kafka refuses the record for good, or the publisher has failed.
        """
        self._publishing.reporter.status(
            stream=self._name,
            symbol=self._symbol,
            status=DONE if is_done else RUNNING,
            detail=f"published until {shown_time(reached.until_us)}",
            changed_us=now_us(),
            last_id=reached.last_id,
            last_received_us=reached.until_us,
            missing=reached.missing,
        )
        if await self._publishing.reported():
            raise BusError(
                f"Kafka refuses the record of how far {self._name} has come; what was published stays, and the next run repeats it"
            )


def shown_time(at_us: int) -> str:
    """Return a time as text, such as `2026-01-05 12:00:00`: UTC, cut to the second.

    Args:
        at_us: µs since the Unix epoch.
    """
    return datetime.fromtimestamp(at_us // 1_000_000, UTC).strftime("%Y-%m-%d %H:%M:%S")


@contextlib.contextmanager
def shown_progress(title: str) -> Iterator[Shown]:
    """Show progress on stderr, because it is not the result: a bar on a terminal, lines elsewhere.

    A line comes at most every two seconds, and at the end. Without rich there are lines on a terminal too.

    Args:
        title: what is in progress.

    Yields:
        The function to call with each share (0 to 1) and position.
    """
    try:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
    except ModuleNotFoundError:  # rich is not part of the base install
        is_bar = False
    else:
        is_bar = sys.stderr.isatty()
    if not is_bar:
        yield _Lines(title).show
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[where]}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(title, total=1.0, where="")
        yield lambda share, where: progress.update(task, completed=share, where=where)


class _Lines:
    """Prints a line from time to time, and one at the end."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._shown_at = float("-inf")

    def show(self, share: float, where: str) -> None:
        """Print a line unless the last one is too recent."""
        if share < 1 and time.monotonic() - self._shown_at < _LINE_SECONDS:
            return
        self._shown_at = time.monotonic()
        print(f"{self._title}: {share:.0%} {where}", file=sys.stderr, flush=True)  # what the command shows
