"""Finds books that need a snapshot as proof because the coverage of their stream restarted. Sans I/O.

After a break of coverage, a book is unproven until an update follows in sequence or a snapshot confirms it. In a quiet
market only a snapshot comes. It proves the book only if it was requested so long after the new coverage was recorded
that the exchange's answer, which may be old, cannot predate it.
"""

from collections.abc import Mapping
from typing import Any

from backpack_streams.exchange.streams import split_stream
from backpack_streams.sequencing.runs import watermarks_to_outlast_an_answer
from backpack_streams.sequencing.watermarks import Instance, Instances

ALIVE_SECONDS = 5.0
"""An instance whose watermarks have not advanced for this long does not count as covering a stream."""
FORGET_SECONDS = 3600.0


class NewCoverage:
    """Takes watermarks in the order of their topic. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._instances = Instances()
        self._since: dict[str, dict[str, int]] = {}
        """By instance and symbol, the start of the newest coverage interval."""
        self._advanced: dict[str, tuple[int, float]] = {}
        self._young: dict[str, dict[str, int]] = {}
        """By instance and symbol, the sequence number of the watermark from which an answer proves the book."""

    def take(self, record: Mapping[str, Any], now: float) -> list[str]:
        """Take a watermark. Returns the markets that are due for a proof.

        A market is due if the coverage of its realtime depth stream restarted, no other instance covered it without
        interruption, and enough time has passed.

        Args:
            record: the Watermark record.
            now: the time (monotonic seconds).
        """
        instance = self._instances.take(record)
        if instance is None:
            return []
        known = self._advanced.get(instance.instance)
        if known is None or known[0] != instance.complete_through:
            self._advanced[instance.instance] = instance.complete_through, now
        self._forget(now)
        if record["coverage"] is not None and instance.coverage is not None:
            self._take_statement(instance, now)
        young = self._young.get(instance.instance, {})
        due = [symbol for symbol, sequence in young.items() if instance.sequence >= sequence]
        for symbol in due:
            del young[symbol]
        return due

    def _take_statement(self, instance: Instance, now: float) -> None:
        before = self._since.get(instance.instance, {})
        after = self._since[instance.instance] = dict(_books(instance))
        young = self._young.setdefault(instance.instance, {})
        for symbol in young.keys() - after.keys():
            del young[symbol]
        is_old_at = instance.sequence + watermarks_to_outlast_an_answer(instance.interval_ms)
        for symbol, since in after.items():
            if before.get(symbol) != since and not self._is_covered_by_another(symbol, instance, now):
                young[symbol] = is_old_at

    def _is_covered_by_another(self, symbol: str, instance: Instance, now: float) -> bool:
        return any(
            other is not instance
            and not other.is_final
            and symbol in self._since.get(other.instance, {})
            and now - self._advanced[other.instance][1] < ALIVE_SECONDS
            for other in self._instances.by_id.values()
        )

    def _forget(self, now: float) -> None:
        for name in [name for name, (_, at) in self._advanced.items() if now - at > FORGET_SECONDS]:
            self._instances.forget(name)
            self._since.pop(name, None)
            self._young.pop(name, None)
            del self._advanced[name]


def _books(instance: Instance) -> list[tuple[str, int]]:
    found = []
    for stream, interval in (instance.coverage or {}).items():
        if interval.since is None or interval.until is not None:
            continue
        kind, symbol = split_stream(stream)
        if kind.channel == "depth" and kind.parameter is None and symbol:
            found.append((symbol, interval.since))
    return found
