"""What of a polled answer is news: compacted topics get changes and deletions, others each row but the ones said before. Sans I/O."""

from collections.abc import Iterable, Mapping
from typing import Any


class Reference:
    """The rows of one compacted topic as they were last published, by key."""

    def __init__(self) -> None:
        self._published: dict[str, str] = {}
        self._as_of_us = 0

    def holds(self, key: str, raw: str | None) -> None:
        """What the topic holds of a key: found there, or published just now; None for a deletion."""
        if raw is None:
            self._published.pop(key, None)
        else:
            self._published[key] = raw

    def changes(self, rows: Mapping[str, str], as_of_us: int, complete: bool) -> tuple[list[str], list[str]]:
        """Keys to publish and keys to delete, for the rows (raw, by key) of an answer made at `as_of_us`.

        An answer older than the last one says nothing new: the exchange's caches do not all hold the same. Nothing is deleted
        unless the answer is `complete` and holds any row at all.
        """
        if as_of_us < self._as_of_us:
            return [], []
        self._as_of_us = as_of_us
        changed = [key for key, raw in rows.items() if self._published.get(key) != raw]
        gone = sorted(self._published.keys() - rows.keys()) if complete and rows else []
        return changed, gone


class Said:
    """Settled rows that were published already, so that polling a history again says only what is new."""

    def __init__(self) -> None:
        self._settled_until: dict[str, int] = {}

    def news(self, rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The rows (FundingRate records) that are new, oldest first; the interval in progress always is."""
        news = []
        for row in sorted(rows, key=lambda row: row["interval_end_time"]):
            if not row["is_settled"] or row["interval_end_time"] > self._settled_until.get(row["symbol"], 0):
                news.append(row)
        return news

    def said(self, row: dict[str, Any]) -> None:
        """The row was published."""
        if row["is_settled"]:
            self._settled_until[row["symbol"]] = max(
                row["interval_end_time"], self._settled_until.get(row["symbol"], 0)
            )
