"""What the gateway keeps of each market in memory: the newest values, trades and liquidations. Sans I/O."""

from bisect import insort
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from backpack_streams.gateway.answers import Row
from backpack_streams.gateway.rows import as_of_us, liquidation_row, trade_row
from backpack_streams.sequencing.restart import TOLERANCE_MICROSECONDS
from backpack_streams.sequencing.spans import Spans

__all__ = ["Entry", "LiquidationWindow", "NewestValue", "TakenTrade", "TradeWindow", "rows_after"]

_REST_IS_NEWER_MICROS: Final = 2_000_000
"""Sockets and REST are read in parallel: a value from REST counts only if the socket's is older than this (by our clock)."""
LIQUIDATIONS_KEPT: Final = 200
_SPANS_OF_IDS: Final = 1_000
"""Ranges of trade ids to remember of a market: one more for each gap."""


class Entry(NamedTuple):
    """A row with its position.

    Attributes:
        sequence: the offset of its record in Kafka; -1 if it is not from Kafka.
        row: the row as in the REST answer.
    """

    sequence: int
    row: Row
    as_of: int
    """The time that the row describes (µs since the Unix epoch)."""


def rows_after(entries: Iterable[Entry], sequence: int, dropped: int = -1) -> list[Entry] | None:
    """Return the rows that came after a position in the topic, in the topic's order.

    Args:
        entries: the known rows, in any order. Rows that are not from Kafka are left out.
        sequence: the position.
        dropped: the highest sequence of a row that is no longer known; -1 if every row since the first known one is.

    Returns:
        The rows; None if some may be missing, or if the position was not reached yet.
    """
    known = [entry for entry in entries if entry.sequence >= 0]
    later = sorted((entry for entry in known if entry.sequence > sequence), key=lambda entry: entry.sequence)
    begin = dropped if dropped >= 0 else min((entry.sequence for entry in known), default=sequence + 1)
    end = max((entry.sequence for entry in known), default=dropped)
    return later if begin <= sequence <= max(end, dropped) else None


class NewestValue:
    """The newest record of one market on a topic whose records replace each other. Both sockets and the REST poller write it."""

    __slots__ = ("_is_rest", "_received_us", "entry")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self._received_us = 0
        self._is_rest = False

    @property
    def sequence(self) -> int:
        """The offset of the value; -1 if there is none."""
        return -1 if self.entry is None else self.entry.sequence

    def newest(self, limit: int) -> list[Entry]:
        """Return the value, if there is one and `limit` is not 0."""
        return [] if self.entry is None else [self.entry][:limit]

    def after(self, sequence: int) -> list[Entry] | None:
        """Return the value if its offset is higher; None if the offset was not reached yet. Older values do not count."""
        return rows_after([] if self.entry is None else [self.entry], sequence, 0)

    def take(self, record: Mapping[str, Any], row: Row, offset: int) -> bool:
        """Replace the value, unless it is newer than the record.

        A value from a socket is replaced by one from REST only if it was received at least two seconds earlier.

        Args:
            record: the record.
            row: its row.
            offset: the offset of the record.

        Returns:
            Whether the value was replaced.
        """
        is_rest = record["source"] == "REST"
        received_us = record["received_time"] - (record.get("cache_age_seconds") or 0) * 1_000_000
        if self.entry is not None:
            if is_rest and not self._is_rest and received_us < self._received_us + _REST_IS_NEWER_MICROS:
                return False
            if is_rest == self._is_rest and as_of_us(record) < self.entry.as_of:
                return False  # a second producer's copy, or an older answer
        self.entry = Entry(offset, row, as_of_us(record))
        self._received_us, self._is_rest = received_us, is_rest
        return True


class TakenTrade(NamedTuple):
    """A trade that a window took.

    Attributes:
        entry: the trade.
        is_new: whether the window has it now and had it not before. False if REST had brought it before its record came from Kafka,
            and if it is too old for the window.
    """

    entry: Entry
    is_new: bool


class TradeWindow:
    """The newest trades of one market, by id. Trades that arrive late find their place, and duplicates change nothing.

    A trade that REST brought first is taken once more when its record comes from Kafka: only then is it known by its offset.
    """

    __slots__ = (
        "_dropped",
        "_ids",
        "_is_rest_newest",
        "_most",
        "_newest_us",
        "_seen",
        "_trades",
        "changes",
        "sequence",
    )

    def __init__(self, most: int) -> None:
        """Start empty.

        Args:
            most: the number of trades to keep.
        """
        self._most = most
        self._ids: list[int] = []
        self._trades: dict[int, Entry] = {}
        self._seen = Spans(_SPANS_OF_IDS)
        """The ids of all trades from Kafka so far."""
        self._dropped = -1
        """The highest offset of a trade that is not, or no longer, in the window."""
        self._newest_us = 0
        self._is_rest_newest = False
        """Whether `_newest_us` is of REST: whole milliseconds, by the clock of its server."""
        self.sequence = -1
        """The highest offset of the trades so far; -1 if there was none from Kafka."""
        self.changes = 0
        """Number of trades taken so far."""

    def __len__(self) -> int:
        return len(self._ids)

    def take(self, record: Mapping[str, Any], offset: int) -> TakenTrade | None:
        """Add a trade. A lower id with a later time means that the exchange restarted its ids; older trades are dropped then.

        Args:
            record: a Trade record; times are µs since the Unix epoch.
            offset: the offset of the record; -1 if it is not from Kafka.

        Returns:
            The trade, also if it is too old for the window: it is a refill, which nobody has seen. None if it is known already, other than
            from REST, or too old for the window and not from Kafka.
        """
        trade_id = record["trade_id"]
        engine_us = record["engine_time"]
        time_us = engine_us or record["event_time"] or record["received_time"]
        is_rest = engine_us is None or record["source"] == "REST"
        if self._ids and trade_id <= self._ids[-1]:
            tolerance = TOLERANCE_MICROSECONDS if is_rest or self._is_rest_newest else 0
            if time_us > self._newest_us + tolerance:  # the exchange restarted its ids
                self._start_over()
        known = self._trades.get(trade_id)
        if trade_id in self._seen or (known is not None and offset < 0):
            return None
        is_too_old = len(self._ids) >= self._most and trade_id < self._ids[0]
        if is_too_old and offset < 0:
            return None
        entry = Entry(offset, trade_row(record), time_us)
        if offset >= 0:
            self._seen.add(trade_id, trade_id + 1)
            self.sequence = max(self.sequence, offset)
        if is_too_old:
            self._dropped = max(self._dropped, offset)
            return TakenTrade(entry, is_new=False)
        self._keep(trade_id, entry)
        if time_us > self._newest_us:
            self._newest_us, self._is_rest_newest = time_us, is_rest
        return TakenTrade(entry, known is None)

    def _start_over(self) -> None:
        self._ids.clear()
        self._trades.clear()
        self._seen = Spans(_SPANS_OF_IDS)
        self._dropped = self.sequence

    def _keep(self, trade_id: int, entry: Entry) -> None:
        if trade_id not in self._trades:
            insort(self._ids, trade_id)
        self._trades[trade_id] = entry
        self.changes += 1
        if len(self._ids) > self._most:
            self._dropped = max(self._dropped, self._trades.pop(self._ids.pop(0)).sequence)

    def after(self, sequence: int) -> list[Entry] | None:
        """Return the trades with higher offsets, in their order; None if some may be missing, or if the offset was not reached yet."""
        return rows_after(self._trades.values(), sequence, self._dropped)

    def newest(self, limit: int) -> list[Entry]:
        """Return at most `limit` trades, newest first."""
        return [self._trades[each] for each in reversed(self._ids[-limit:])]

    def whole(self, limit: int) -> int:
        """Return how many of the newest `limit` trades have consecutive ids, counted from the newest."""
        newest = self._ids[-limit:]
        for count in range(len(newest), 0, -1):
            if newest[-1] - newest[-count] == count - 1:
                return count
        return 0


class LiquidationWindow:
    """The newest liquidations of one market. They have no ids: two that are equal, times included, are copies."""

    __slots__ = ("_entries", "_seen")

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=LIQUIDATIONS_KEPT)
        self._seen: deque[tuple[Any, ...]] = deque(maxlen=LIQUIDATIONS_KEPT)

    def take(self, record: Mapping[str, Any], offset: int) -> Entry | None:
        """Add a liquidation.

        Args:
            record: a Liquidation record; times are µs since the Unix epoch.
            offset: the offset of the record.

        Returns:
            The liquidation; None if it is a copy.
        """
        identity = tuple(record[name] for name in ("engine_time", "event_time", "side", "price", "quantity"))
        if identity in self._seen:
            return None
        self._seen.append(identity)
        entry = Entry(offset, liquidation_row(record), as_of_us(record))
        self._entries.append(entry)
        return entry

    def newest(self, limit: int) -> list[Entry]:
        """Return at most `limit` liquidations, newest first."""
        return list(self._entries)[-limit:][::-1]

    @property
    def sequence(self) -> int:
        """The highest offset of the liquidations; -1 if there is none."""
        return max((entry.sequence for entry in self._entries), default=-1)

    def after(self, sequence: int) -> list[Entry] | None:
        """Return the liquidations with higher offsets; None if some may be missing, or if the offset was not reached yet."""
        return rows_after(self._entries, sequence)
