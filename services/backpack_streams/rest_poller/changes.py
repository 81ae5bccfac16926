"""Decides what is new in a polled answer: compacted topics get changes and deletions, histories get each settled row once.
Sans I/O.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from backpack_streams.exchange.wire_decoding import parse_keeping_digits
from backpack_streams.exchange.wire_errors import UnreadableMessageError


def told_apart_by(raw: str, moving: Sequence[str] = ()) -> str:
    """Return a normal form of a row's JSON: equal for rows that differ only in `moving` fields, spaces, or the order of
    fields.

    Args:
        raw: the row as sent.
        moving: names of wire fields to ignore.
    """
    try:
        row = parse_keeping_digits(raw.encode("utf-8", "surrogatepass"))
    except UnreadableMessageError:
        return raw
    if isinstance(row, dict):
        row = {name: value for name, value in row.items() if name not in moving}
    return json.dumps(row, sort_keys=True)


class Reference:
    """The rows of one compacted topic as last published, by key, and the time of the newest answer among them."""

    def __init__(self) -> None:
        self._published: dict[str, str] = {}
        self._as_of_us = 0

    def holds(self, key: str, row: str | None) -> None:
        """Note the row that was just published.

        Args:
            key: the Kafka key.
            row: its normal form, None for a deletion.
        """
        if row is None:
            self._published.pop(key, None)
        else:
            self._published[key] = row

    def recalls(self, key: str, row: str | None, as_of_us: int) -> None:
        """Note a row found in the topic.

        Args:
            key: the Kafka key.
            row: its normal form, None for a deletion.
            as_of_us: when the exchange made the answer (µs since the Unix epoch); for a deletion, a lower bound for
                that.
        """
        self.holds(key, row)
        self._as_of_us = max(self._as_of_us, as_of_us)

    def changes(
        self, rows: Mapping[str, str], as_of_us: int, received_us: int, complete: bool
    ) -> tuple[list[str], list[str]]:
        """Return the keys to publish and the keys to delete.

        An answer older than the last one, even from before a restart, changes nothing: the exchange's caches differ.
        The last one counts as no younger than the receipt of this one, in case a clock was wrong then. Nothing is
        deleted unless the answer is complete.

        Args:
            rows: the normal form of each row, by key.
            as_of_us: when the exchange made the answer (µs since the Unix epoch).
            received_us: when it was received (µs since the Unix epoch).
            complete: whether the answer lists everything. One without any row, of other shards either, does not.
        """
        self._as_of_us = min(self._as_of_us, received_us)
        if as_of_us < self._as_of_us:
            return [], []
        self._as_of_us = as_of_us
        changed = [key for key, row in rows.items() if self._published.get(key) != row]
        gone = sorted(self._published.keys() - rows.keys()) if complete else []
        return changed, gone


class Dated(NamedTuple):
    """A row of a history.

    Attributes:
        series: the history that it belongs to.
        time_us: its time (µs since the Unix epoch).
        is_settled: whether it can no longer change.
        row: the row itself.
    """

    series: str
    time_us: int
    is_settled: bool
    row: Any


class History:
    """How far each history is published, so that later answers yield only new rows.

    The rows of a series are published oldest first and without omissions, so the newest published time describes the
    whole state, and an interrupted run continues from there.
    """

    def __init__(self) -> None:
        self._settled_until: dict[str, int] = {}

    def reaches(self, series: str, time_us: int) -> bool:
        """Whether every row of a series up to a time was published.

        Args:
            series: the history.
            time_us: the time (µs since the Unix epoch).
        """
        return time_us <= self._settled_until.get(series, -(2**63))

    def news(self, rows: Iterable[Dated]) -> list[Dated]:
        """Return the new rows, oldest first, each once. Rows that are not settled are always new."""
        once = {(row.time_us, row.series): row for row in rows}
        news = (once[place] for place in sorted(once))
        return [row for row in news if not row.is_settled or not self.reaches(row.series, row.time_us)]

    def said(self, series: str, time_us: int) -> None:
        """Note a settled row that was published or found in the topic.

        Args:
            series: the history that it belongs to.
            time_us: its time (µs since the Unix epoch).
        """
        self._settled_until[series] = max(time_us, self._settled_until.get(series, time_us))


def settled(times_us: Iterable[int], answered_us: int, newest_settles_after_us: int | None) -> dict[int, bool]:
    """Return which times of one series belong to settled rows, for an answer that includes the newest row.

    The newest row belongs to the interval in progress and may still change. It is settled once a later row follows, or
    once `newest_settles_after_us` have passed since its time; the margin allows for a difference between our clock and
    the exchange's.

    Args:
        times_us: the times of the rows (µs since the Unix epoch).
        answered_us: when the exchange made the answer (µs since the Unix epoch).
        newest_settles_after_us: the length of an interval (µs), None if unknown.
    """
    known = set(times_us)
    newest = max(known, default=0)
    found = {time_us: time_us <= answered_us for time_us in known}
    if known:
        found[newest] = newest_settles_after_us is not None and newest <= answered_us - newest_settles_after_us
    return found
