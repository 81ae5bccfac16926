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
    """The log. A position is the number of rows that were appended before it; it is negative in front of rows put before those.

    Of a ticker or a mark price, only the newest row is sent, and of candles the newest row of each candle.
    """

    def __init__(self, channel: str, symbol: str, rows: Iterable[tuple[int, Row]] = (), reached: int = -1) -> None:
        """Begin with the rows that are known.

        Args:
            channel: the channel; not `book`.
            symbol: the market.
            rows: sequences with rows, in any order. A row that is not from Kafka (sequence below 0) is left out.
            reached: the highest sequence of the channel so far: every later row will be appended. -1 if there was none.
        """
        self._channel = channel
        self._symbol = symbol
        self._is_replaced = channel in (TICKER, MARK_PRICE)
        self._most = 1 if self._is_replaced else ROWS_KEPT
        self._entries: deque[_Entry] = deque()
        self.end = 0
        self._sequence = self._complete_after = reached
        for sequence, row in sorted(rows, key=lambda each: each[0]):
            if sequence >= 0:
                self.append(sequence, row)

    @property
    def begin(self) -> int:
        """Position of the oldest row in the log."""
        return self.end - len(self._entries)

    @property
    def sequence(self) -> int | None:
        """Highest sequence so far; None if there was no row."""
        return None if self._sequence < 0 else self._sequence

    def append(self, sequence: int, row: Row) -> None:
        """Add a new row.

        Args:
            sequence: the offset of its record in Kafka.
            row: the row as in the REST answer.
        """
        if self._complete_after < 0:
            self._complete_after = sequence
        self._entries.append(_Entry(sequence, row))
        self._sequence = max(self._sequence, sequence)
        self.end += 1
        if len(self._entries) > self._most:
            dropped = self._entries.popleft()
            if not self._is_replaced:  # otherwise the new row is all that the dropped one was
                self._complete_after = max(self._complete_after, dropped.sequence)

    def lacks_rows_after(self, sequence: int) -> bool:
        """Return whether rows between this sequence and the oldest row may be missing from the log."""
        is_newest_here = self._is_replaced and self._entries
        return sequence < self._complete_after and not is_newest_here

    def reach_back(self, sequence: int, rows: Iterable[tuple[int, Row]]) -> None:
        """Put older rows before those of the log, unless they are too many.

        Args:
            sequence: where they begin.
            rows: sequences with all rows after it, in order, those in the log included.
        """
        older = [_Entry(*each) for each in rows if each[0] <= self._complete_after]
        if len(older) + len(self._entries) <= self._most:
            self._entries.extendleft(reversed(older))
            self._complete_after = sequence

    def position_after(self, sequence: int) -> int | None:
        """Return the position after a row.

        Args:
            sequence: the sequence of the row.

        Returns:
            The position. None if rows after it may be missing from the log, or if the log has not reached the sequence.
        """
        if sequence > self._sequence or self.lacks_rows_after(sequence):
            return None
        return self.end - sum(entry.sequence > sequence for entry in self._entries)

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
