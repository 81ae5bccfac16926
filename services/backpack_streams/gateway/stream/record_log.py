"""The newest rows of one channel of one market; each subscriber reads them from its own position. Sans I/O."""

from collections import deque
from collections.abc import Iterable
from itertools import islice
from typing import Any, Final, NamedTuple

from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.changes import CANDLES, MARK_PRICE, TICKER
from backpack_streams.gateway.json_text import Decimals
from backpack_streams.gateway.stream.messages import Message, row_update

__all__ = ["RecordLog", "Unread"]

ROWS_KEPT: Final = 500
"""A client that falls further behind loses rows and gets a `conflated` message."""


class _Entry:
    """A row with its encoded messages."""

    __slots__ = ("messages", "row", "sequence")

    def __init__(self, sequence: int, row: Row) -> None:
        self.sequence = sequence
        self.row = row
        self.messages: dict[Decimals, Message] = {}


class Unread(NamedTuple):
    """What a client does not have yet.

    Attributes:
        updates: the messages, oldest first.
        dropped: how many rows before them are lost to the client.
    """

    updates: list[Message]
    dropped: int


class RecordLog:
    """The log. A position is the number of rows that were appended before it.

    Of a ticker or a mark price, only the newest row is sent, and of candles the newest row of each candle.
    """

    def __init__(self, channel: str, symbol: str, rows: Iterable[tuple[int, Row]] = ()) -> None:
        """Begin with the rows that are known.

        Args:
            channel: the channel; not `book`.
            symbol: the market.
            rows: sequences with rows, in any order. A row that is not from Kafka (sequence below 0) is left out.
        """
        self._channel = channel
        self._symbol = symbol
        self._is_replaced = channel in (TICKER, MARK_PRICE)
        self._entries: deque[_Entry] = deque(maxlen=1 if self._is_replaced else ROWS_KEPT)
        self.end = 0
        for sequence, row in sorted(rows, key=lambda each: each[0]):
            if sequence >= 0:
                self.append(sequence, row)

    @property
    def begin(self) -> int:
        """Position of the oldest row in the log."""
        return self.end - len(self._entries)

    @property
    def sequence(self) -> int | None:
        """Highest sequence of the rows in the log; None if it is empty."""
        return max((entry.sequence for entry in self._entries), default=None)

    def append(self, sequence: int, row: Row) -> None:
        """Add a new row.

        Args:
            sequence: the offset of its record in Kafka.
            row: the row as in the REST answer.
        """
        self._entries.append(_Entry(sequence, row))
        self.end += 1

    def position_after(self, sequence: int) -> int | None:
        """Return the position after a row.

        Args:
            sequence: the sequence of the row.

        Returns:
            The position. None if rows after it may be missing from the log, or if the log has not reached the sequence.
        """
        newest = self.sequence
        if newest is None or sequence > newest:
            return None
        position = self.end
        for entry in reversed(self._entries):
            if entry.sequence <= sequence:
                return position
            position -= 1
        return position if self._is_replaced else None

    def since(self, position: int, decimals: Decimals) -> Unread:
        """Return what a client at a position does not have yet.

        Args:
            position: the client's position.
            decimals: how prices and quantities are written.
        """
        begin = max(position, self.begin)
        entries = list(islice(self._entries, begin - self.begin, None))
        dropped = 0 if self._is_replaced else begin - position
        return Unread([self._message(entry, decimals) for entry in self._newest_of_each(entries)], dropped)

    def _newest_of_each(self, entries: list[_Entry]) -> list[_Entry]:
        if not self._channel.startswith(CANDLES):
            return entries
        newest: dict[Any, _Entry] = {}
        for entry in entries:
            newest.pop(entry.row["start"], None)  # so that it takes its new place in the order
            newest[entry.row["start"]] = entry
        return list(newest.values())

    def _message(self, entry: _Entry, decimals: Decimals) -> Message:
        message = entry.messages.get(decimals)
        if message is None:
            message = row_update(self._channel, self._symbol, entry.sequence, entry.row, decimals)
            entry.messages[decimals] = message
        return message
