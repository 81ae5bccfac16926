"""What of a polled answer is news: compacted topics get changes and deletions, histories each settled row once. Sans I/O."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from backpack_streams.exchange.rest_fields import FieldError, decode_exact


def told_apart_by(raw: str, moving: Sequence[str] = ()) -> str:
    """What two rows must have in common to say the same: all but the `moving` fields; spaces and the order of fields say nothing."""
    try:
        row = decode_exact(raw.encode("utf-8", "surrogatepass"))
    except FieldError:
        return raw
    if isinstance(row, dict):
        row = {name: value for name, value in row.items() if name not in moving}
    return msgspec.json.encode(row, order="deterministic").decode()


class Reference:
    """The rows of one compacted topic as they were last published, by key, and when the newest answer was made that they are of."""

    def __init__(self) -> None:
        self._published: dict[str, str] = {}
        self._as_of_us = 0

    def holds(self, key: str, row: str | None) -> None:
        """What the topic holds of a key since it was published just now; None for a deletion."""
        if row is None:
            self._published.pop(key, None)
        else:
            self._published[key] = row

    def recalls(self, key: str, row: str | None, as_of_us: int) -> None:
        """What was found in the topic: `as_of_us` is when the answer was made that said so, or for a deletion no earlier than that."""
        self.holds(key, row)
        self._as_of_us = max(self._as_of_us, as_of_us)

    def changes(
        self, rows: Mapping[str, str], as_of_us: int, received_us: int, complete: bool
    ) -> tuple[list[str], list[str]]:
        """Keys to publish and keys to delete, for the rows (what tells them apart, by key) of an answer made at `as_of_us`.

        An answer older than the last one says nothing new, be it the last one before a restart: the exchange's caches do not all
        hold the same. The last one is no younger than this one's receipt, whatever the clock said then. Nothing is deleted unless
        the answer is `complete` and holds any row at all.
        """
        self._as_of_us = min(self._as_of_us, received_us)
        if as_of_us < self._as_of_us:
            return [], []
        self._as_of_us = as_of_us
        changed = [key for key, row in rows.items() if self._published.get(key) != row]
        gone = sorted(self._published.keys() - rows.keys()) if complete and rows else []
        return changed, gone


class Dated(NamedTuple):
    """A row of a history: the series it belongs to, its time (microseconds), whether it will not move any more."""

    series: str
    time_us: int
    is_settled: bool
    row: Any


class History:
    """Settled rows that were published already, so that polling a history again says only what is new.

    Rows of a series are published oldest first and without leaving one out, so the newest that was published says it all:
    whoever was stopped in the middle goes on from there.
    """

    def __init__(self) -> None:
        self._settled_until: dict[str, int] = {}

    def reaches(self, series: str, time_us: int) -> bool:
        """Whether all was published that is as old as `time_us`, or older."""
        return time_us <= self._settled_until.get(series, -(2**63))

    def news(self, rows: Iterable[Dated]) -> list[Dated]:
        """The rows that are new, oldest first and each once; what is not settled always is."""
        once = {(row.time_us, row.series): row for row in rows}
        news = (once[place] for place in sorted(once))
        return [row for row in news if not row.is_settled or not self.reaches(row.series, row.time_us)]

    def said(self, series: str, time_us: int) -> None:
        """A settled row was published, or found in the topic."""
        self._settled_until[series] = max(time_us, self._settled_until.get(series, time_us))


def settled(times_us: Iterable[int], answered_us: int, newest_settles_after_us: int | None) -> dict[int, bool]:
    """Which times of one series are of settled rows, for an answer made at `answered_us` that holds the newest row there is.

    That one is of the interval in progress and may still move. It is settled once a later one follows or, where
    `newest_settles_after_us` says how long an interval is, so long after its time: our clock is not the exchange's.
    """
    known = set(times_us)
    newest = max(known, default=0)
    found = {time_us: time_us <= answered_us for time_us in known}
    if known:
        found[newest] = newest_settles_after_us is not None and newest <= answered_us - newest_settles_after_us
    return found
