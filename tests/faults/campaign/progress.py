"""Whether a service goes on: from what it says of its own work, look by look. One that does not, long after its trouble ended, is stuck."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from faults.campaign.schedule import GATEWAY, SECOND, Fault

STUCK_SECONDS = 120.0
"""No service makes no progress for longer after the cause of its trouble ended."""

_EFFECT_SECONDS = 6.0
"""A fault that begins so shortly after progress was last seen may be what ended it: looks are seconds apart."""
_STRIKES_PRODUCERS = frozenset({"kill-and-silence"})
_PRODUCERS = frozenset({"market-producer", SECOND})


class Look(NamedTuple):
    """What was seen of a service at a moment, in seconds as the schedule counts.

    `process`: which one it was, 0 if there was none. `done`: numbers that all grow while the service works; empty if it did not answer.
    """

    at: float
    process: int
    done: tuple[float, ...] = ()


class Happened(NamedTuple):
    """A fault, and when it was really over: a broker takes its time to start."""

    fault: Fault
    over_at: float


class Stuck(NamedTuple):
    """A service made no progress from `since`, when nothing kept it from it any more, until it went on or was looked at last."""

    service: str
    since: float
    until: float

    def __str__(self) -> str:
        return f"{self.service} made no progress from +{self.since:.1f} s to +{self.until:.1f} s, and nothing was the matter any more"


class _Stretch(NamedTuple):
    """From one progress to the next. `gone_at`: when its process was first found gone; None if it was the same all along."""

    since: float
    until: float
    gone_at: float | None


class Progress:
    """Follows one service. It has made progress once each of its numbers is larger than when it last had."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.last_at = 0.0
        """When it had last made progress."""
        self._last = Look(0.0, 0)
        self._gone_at: float | None = 0.0
        self._stretches: list[_Stretch] = []
        self._seen_at = 0.0

    def look(self, look: Look) -> None:
        """Takes in one look; they come in the order of time."""
        self._seen_at = look.at
        if look.process != self._last.process and self._gone_at is None:
            self._gone_at = look.at
        if not look.done or any(map(math.isnan, look.done)):  # it does not answer, or has nothing to say yet
            return
        if look.process != self._last.process:  # it counts from nothing; where it stands shows no work yet
            self._last = look
        elif all(now > before for now, before in zip(look.done, self._last.done, strict=True)):
            self._stretches.append(_Stretch(self.last_at, look.at, self._gone_at))
            self._last, self.last_at, self._gone_at = look, look.at, None

    def stuck(self, happened: Sequence[Happened], bound_seconds: float = STUCK_SECONDS) -> list[Stuck]:
        """Each time that it made no progress for longer than the bound though nothing kept it from it."""
        found = []
        for stretch in (*self._stretches, _Stretch(self.last_at, self._seen_at, self._gone_at)):
            since = max(stretch.since, *(each.over_at for each in happened if self._may_hinder(each, stretch)), 0.0)
            if stretch.until - since > bound_seconds:
                found.append(Stuck(self.service, since, stretch.until))
        return found

    def _may_hinder(self, happened: Happened, stretch: _Stretch) -> bool:
        """Whatever began before or with the trouble. Later, of a process that runs only what strikes it, of one that starts anything."""
        fault = happened.fault
        if fault.at <= stretch.since + _EFFECT_SECONDS:
            return True
        if fault.at > stretch.until:
            return False
        is_struck = fault.options.get("service") == self.service or (
            fault.kind in _STRIKES_PRODUCERS and self.service in _PRODUCERS
        )
        return is_struck or (stretch.gone_at is not None and happened.over_at >= stretch.gone_at)


Numbers = Mapping[str, float]

_OWED = "publish_unacknowledged_seconds"
_UPDATES, _TOPS = "builder_updates_total", "book_tops_total"
_POLLS, _FAILED_POLLS = "rest_polls_total", "rest_poll_failures_total"
_WATERMARK_AGE = "watermark_age_seconds"
_RECORDS_READ = "gateway_records_total"

METRICS = (_OWED, _POLLS, _FAILED_POLLS, _WATERMARK_AGE, _UPDATES, _TOPS, _RECORDS_READ)
"""What has to be asked for."""


def work_of(service: str, metrics: Numbers, now: float) -> tuple[float, ...]:
    """What a service has done by a moment, by its metrics: up to when it vouches for its streams, or what it read, asked and published."""
    if service == "rest-poller":
        return metrics[_POLLS] - metrics[_FAILED_POLLS], now - metrics[_OWED]
    if service == "book-builder":
        return metrics[_UPDATES], metrics[_TOPS], now - metrics[_OWED]
    if service == GATEWAY:
        return (metrics[_RECORDS_READ],)
    return (now - metrics[_WATERMARK_AGE],)
