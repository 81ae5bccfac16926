"""Which of our streams other producer instances covered up to our start, from their watermarks. Sans I/O.

An instance covers a stream past our start if its watermarks show that it is complete past one of them that was written after our
subscriptions were confirmed (`sequencing/knowledge.py`). That a watermark was written later does not show that it was made later: Kafka
may have held it up.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from backpack_streams.sequencing.knowledge import Knowledge
from backpack_streams.sequencing.watermarks import Instance, Instances, Interval
from backpack_streams.topic_partition import TopicPartition

_INTERVALS_TO_WAIT = 2.5
_LEAST_WAIT_SECONDS = 2.5
_LONGEST_WAIT_SECONDS = 15.0
"""The limit for any interval and any delay of Kafka: an instance that writes on but does not pass our start covers nothing."""


class Handover:
    """What others covered of `streams`.

    `take` their watermarks in the order of the topic, and call `begin` once our subscriptions are confirmed.
    """

    def __init__(self, streams: Iterable[str], topic_partition: TopicPartition) -> None:
        """Prepare without any watermark.

        Args:
            streams: the names of the streams that this instance wants.
            topic_partition: topic and partition of the watermarks.
        """
        self._streams = frozenset(streams)
        self._topic_partition = topic_partition
        self._instances = Instances()
        self._knowledge: dict[str, Knowledge] = {}
        self._first: dict[str, Mapping[str, Interval]] = {}
        """By instance heard since `begin`: its coverage when its first watermark was made."""
        self._proved: dict[str, Instance] = {}
        self._clocks = _Clocks()
        self._began: float | None = None
        self._end = 0

    def take(self, record: Mapping[str, Any]) -> None:
        """Take a watermark of any instance of any service, oldest first.

        Args:
            record: the decoded Watermark record; its times are in µs since the Unix epoch, by its instance's clock.
        """
        found = self._instances.take(record)
        if found is None:
            return
        self._clocks.published(found.instance, found.published_time)
        knowledge = self._knowledge.setdefault(found.instance, Knowledge())
        knowledge.learn(found, self._topic_partition)
        if self._began is None or found.instance in self._proved or not self._is_of_use(found):
            return
        self._first.setdefault(found.instance, dict(found.coverage or {}))
        if knowledge.knows > self._end:
            self._proved[found.instance] = found

    def begin(self, now: float, end: int) -> None:
        """Record that our subscriptions are confirmed, and that everything written to the topic until then has been taken.

        Args:
            now: present time (monotonic seconds).
            end: the end offset of the topic, read after our subscriptions were confirmed.
        """
        self._began, self._end = now, end

    def waits(self, now: float) -> bool:
        """Return whether to wait for an instance that may be alive and has not yet shown whether it covers our start."""
        if self._began is None:
            return True
        passed = now - self._began
        return passed < _LONGEST_WAIT_SECONDS and any(
            each.instance in self._first or passed < patience_seconds(each)
            for each in self._instances.by_id.values()
            if self._may_be_alive(each) and each.instance not in self._proved
        )

    def covered(self, is_ours: Callable[[str], bool]) -> dict[str, int | None]:
        """Return until when each stream was covered by others.

        Args:
            is_ours: returns whether we covered a stream when `begin` was called; for any other stream, no coverage
                counts as past our start.

        Returns:
            By stream, µs since the Unix epoch; None if an instance covers it past the beginning of our own coverage.
            Streams that were never covered are absent.
        """
        found: dict[str, int | None] = {}
        for stream in self._streams:
            if is_ours(stream) and any(self._covers_on(each, stream) for each in self._proved.values()):
                found[stream] = None
                continue
            ends = [
                until for each in self._instances.by_id.values() if (until := self._until(each, stream)) is not None
            ]
            if ends:
                found[stream] = max(ends)
        return found

    def abandoned(self, serves: Callable[[str], bool]) -> dict[str, int]:
        """Return until when earlier instances covered streams that we serve but no longer want, since their market is gone.

        Args:
            serves: returns whether this service carries a stream.

        Returns:
            By stream, µs since the Unix epoch. Streams that an instance may still cover are left out.
        """
        found: dict[str, int] = {}
        for each in self._instances.by_id.values():
            for stream in (each.coverage or {}).keys() - self._streams:
                until = self._until(each, stream)
                if until is not None and serves(stream):
                    found[stream] = max(until, found.get(stream, until))
        on = {name for each in self._proved.values() for name in each.coverage or {} if each.covers(name)}
        return {stream: until for stream, until in found.items() if stream not in on}

    def others(self) -> frozenset[str]:
        """Return the ids of the instances that cover streams of ours past our start."""
        return frozenset(
            each.instance
            for each in self._proved.values()
            if any(self._covers_on(each, stream) for stream in self._streams)
        )

    def _until(self, instance: Instance, stream: str) -> int | None:
        """Return until when it covered the stream, corrected if its clock is ahead of the others': too early rather than too late."""
        until = instance.covered_until(stream)
        return None if until is None else until - self._clocks.ahead(instance.instance)

    def _covers_on(self, instance: Instance, stream: str) -> bool:
        before = self._first[instance.instance].get(stream)
        after = (instance.coverage or {}).get(stream)
        return (
            before is not None
            and after is not None
            and after.is_open
            and after.is_settled
            and after.since == before.since
        )

    def _may_be_alive(self, instance: Instance) -> bool:
        return not instance.is_final and self._is_of_use(instance)

    def _is_of_use(self, instance: Instance) -> bool:
        """Return whether it may cover some of our streams."""
        coverage = instance.coverage
        return coverage is None or any(coverage[name].is_open for name in self._streams & coverage.keys())


class _Clocks:
    """Finds instances whose clocks are ahead of others, from the order and the times of their watermarks (µs)."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        """Time of each instance's newest watermark; the one written longest ago comes first."""
        self._since: dict[str, int] = {}
        """By instance: the time of the newest watermark of another instance before its own newest one."""
        self._ahead: dict[str, int] = {}

    def published(self, instance: str, at_us: int) -> None:
        """Take the next watermark of the topic."""
        self._newest.pop(instance, None)
        self._ahead.pop(instance, None)
        self._since[instance] = next(reversed(self._newest.values()), at_us)
        for other, newest in self._newest.items():
            if newest > at_us:
                self._ahead.setdefault(other, newest - min(self._since[other], at_us))
        self._newest[instance] = at_us

    def ahead(self, instance: str) -> int:
        """Return the most by which an instance's clock is ahead (µs), if a later watermark of another one shows that it is; else 0."""
        return self._ahead.get(instance, 0)


def patience_seconds(instance: Instance | None) -> float:
    """Return how long an instance may write nothing before it counts as gone, in seconds: 2.5 of its intervals, and at least 2.5 s.

    Args:
        instance: its newest statement; None if it has not written yet.
    """
    interval_ms = 0 if instance is None else instance.interval_ms
    return max(_LEAST_WAIT_SECONDS, _INTERVALS_TO_WAIT * interval_ms / 1000)
