"""Which of our streams other producer instances have covered until we did, as their watermarks tell. Sans I/O.

An instance covers a stream past our own start if we read two watermarks of it that were written after our subscriptions were confirmed, and
the second is complete through the moment at which the first was made: both moments are by its clock, so no two clocks are compared.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from backpack_streams.sequencing.watermarks import Instance, Instances, Interval

_INTERVALS_TO_WAIT = 2.5
_LEAST_WAIT_SECONDS = 2.5
_LONGEST_WAIT_SECONDS = 15.0
"""However often it writes and however slow Kafka is: one that goes on writing but does not come past our start covers nothing."""


class Handover:
    """What others have covered of `streams`. `take` their watermarks in the order of the topic, `begin` once ours are confirmed."""

    def __init__(self, streams: Iterable[str]) -> None:
        self._streams = frozenset(streams)
        self._instances = Instances()
        self._first: dict[str, tuple[int, Mapping[str, Interval]]] = {}
        """Of each instance heard since the beginning: when its first watermark was made, and what it covered then."""
        self._proved: dict[str, Instance] = {}
        self._clocks = _Clocks()
        self._began: float | None = None

    def take(self, record: Mapping[str, Any]) -> None:
        """A watermark of any instance of any service, oldest first."""
        found = self._instances.take(record)
        if found is None:
            return
        self._clocks.published(found.instance, found.published_time)
        if not self._is_of_use(found):
            return
        if self._began is None or found.instance in self._proved:
            return
        first = self._first.get(found.instance)
        if first is None:
            self._first[found.instance] = found.published_time, dict(found.coverage or {})
        elif found.complete_through >= first[0]:
            self._proved[found.instance] = found

    def begin(self, now: float) -> None:
        """What was written to the topic until now has been taken; `now` is in monotonic seconds."""
        self._began = now

    def waits(self, now: float) -> bool:
        """Whether an instance that may be alive has yet to tell."""
        if self._began is None:
            return True
        passed = now - self._began
        return passed < _LONGEST_WAIT_SECONDS and any(
            each.instance in self._first or passed < patience_seconds(each)
            for each in self._instances.by_id.values()
            if self._may_be_alive(each) and each.instance not in self._proved
        )

    def covered(self, is_ours: Callable[[str], bool]) -> dict[str, int | None]:
        """Until when each stream was covered (microseconds), None where an instance covers it past our own coverage.

        Streams that nobody has covered are left out. `is_ours`: whether we had covered a stream when `begin` was called; of others
        nothing is past our start.
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
        """Streams that we serve and want no more, since their market is gone: until when earlier instances covered each (microseconds).

        None that an instance may still cover.
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
        """The ids of the instances that cover streams of ours past our start."""
        return frozenset(
            each.instance
            for each in self._proved.values()
            if any(self._covers_on(each, stream) for stream in self._streams)
        )

    def _until(self, instance: Instance, stream: str) -> int | None:
        """Until when it covered the stream, by the clock of the others if its own is ahead of theirs: too early rather than too late."""
        until = instance.covered_until(stream)
        return None if until is None else until - self._clocks.ahead(instance.instance)

    def _covers_on(self, instance: Instance, stream: str) -> bool:
        before = self._first[instance.instance][1].get(stream)
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
        """Whether it covers some of our streams, as far as is known."""
        coverage = instance.coverage
        return coverage is None or any(coverage[name].is_open for name in self._streams & coverage.keys())


class _Clocks:
    """Which instances' clocks are ahead of others', by the order of their watermarks and what each says of its time (µs)."""

    def __init__(self) -> None:
        self._newest: dict[str, int] = {}
        """By instance, the oldest written last."""
        self._since: dict[str, int] = {}
        """When another instance published the watermark before its newest one."""
        self._ahead: dict[str, int] = {}

    def published(self, instance: str, at_us: int) -> None:
        """The next watermark of the topic."""
        self._newest.pop(instance, None)
        self._ahead.pop(instance, None)
        self._since[instance] = next(reversed(self._newest.values()), at_us)
        for other, newest in self._newest.items():
            if newest > at_us:
                self._ahead.setdefault(other, newest - min(self._since[other], at_us))
        self._newest[instance] = at_us

    def ahead(self, instance: str) -> int:
        """By how much an instance's clock is ahead at the most, if another one's later watermark shows that it is; else 0."""
        return self._ahead.get(instance, 0)


def patience_seconds(instance: Instance | None) -> float:
    """How long an instance may write nothing before it is taken to be gone; None: it has not written yet."""
    interval_ms = 0 if instance is None else instance.interval_ms
    return max(_LEAST_WAIT_SECONDS, _INTERVALS_TO_WAIT * interval_ms / 1000)
