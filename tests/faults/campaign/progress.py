"""The progress of a service, by the metrics of repeated looks. A service without progress long after its trouble ended is stuck."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from faults.campaign.schedule import GATEWAY, SECOND, Fault

STUCK_SECONDS = 120.0
"""The maximum time without progress after the cause of the trouble ended."""

_EFFECT_SECONDS = 6.0
"""A fault that begins so shortly after the last progress may have ended it: looks are seconds apart."""
_STRIKES_PRODUCERS = frozenset({"kill-and-silence"})
_PRODUCERS = frozenset({"market-producer", SECOND})


class Look(NamedTuple):
    """The state of a service at a moment, in seconds of the schedule.

    `process`: its process id, 0 if there was none. `done`: numbers that all grow while the service works; empty if it did not answer.
    """

    at: float
    process: int
    done: tuple[float, ...] = ()


class Happened(NamedTuple):
    """A fault, and its actual end: a broker takes time to start."""

    fault: Fault
    over_at: float


class Stuck(NamedTuple):
    """A service without progress from `since`, when no fault hindered it any more, until its next progress or the last look."""

    service: str
    since: float
    until: float

    def __str__(self) -> str:
        return f"{self.service} made no progress from +{self.since:.1f} s to +{self.until:.1f} s, and nothing was the matter any more"


class _Stretch(NamedTuple):
    """From one progress to the next. `gone_at`: when its process was first found gone; None if the process stayed the same."""

    since: float
    until: float
    gone_at: float | None


class Progress:
    """Follows one service. Progress means that each of its numbers is larger than at its last progress."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.last_at = 0.0
        """The time of its last progress."""
        self._last = Look(0.0, 0)
        self._gone_at: float | None = 0.0
        self._stretches: list[_Stretch] = []
        self._seen_at = 0.0

    def look(self, look: Look) -> None:
        """Record one look; looks come in the order of time."""
        self._seen_at = look.at
        if look.process != self._last.process and self._gone_at is None:
            self._gone_at = look.at
        if not look.done or any(map(math.isnan, look.done)):  # it does not answer, or has no numbers yet
            return
        if look.process != self._last.process:  # a new process counts from zero; its first numbers show no work yet
            self._last = look
        elif all(now > before for now, before in zip(look.done, self._last.done, strict=True)):
            self._stretches.append(_Stretch(self.last_at, look.at, self._gone_at))
            self._last, self.last_at, self._gone_at = look, look.at, None

    def stuck(self, happened: Sequence[Happened], bound_seconds: float = STUCK_SECONDS) -> list[Stuck]:
        """Each time without progress for longer than the bound although no fault hindered it."""
        found = []
        for stretch in (*self._stretches, _Stretch(self.last_at, self._seen_at, self._gone_at)):
            since = max(stretch.since, *(each.over_at for each in happened if self._may_hinder(each, stretch)), 0.0)
            if stretch.until - since > bound_seconds:
                found.append(Stuck(self.service, since, stretch.until))
        return found

    def _may_hinder(self, happened: Happened, stretch: _Stretch) -> bool:
        """Faults that began before or with the stretch. Later ones if they strike this service, or if its process was gone by their end."""
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
"""The metrics to request."""


def work_of(service: str, metrics: Numbers, now: float) -> tuple[float, ...]:
    """The work of a service by a moment, from its metrics: the time up to which it vouches, or what it read, requested and published."""
    if service == "rest-poller":
        return metrics[_POLLS] - metrics[_FAILED_POLLS], now - metrics[_OWED]
    if service == "book-builder":
        return metrics[_UPDATES], metrics[_TOPS], now - metrics[_OWED]
    if service == GATEWAY:
        return (metrics[_RECORDS_READ],)
    return (now - metrics[_WATERMARK_AGE],)
