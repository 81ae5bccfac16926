"""From when to when a stream was listened to, for streams where nothing else tells what was missed. Sans I/O.

An account may be quiet for days: neither ids nor the next message say whether something happened while no subscription stood. So what
is put on record is the time for which none did.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from backpack_streams.feed import reports


@dataclass(frozen=True, slots=True)
class Blind:
    """A time, in microseconds since the Unix epoch by our clock, in which what a stream said was not heard."""

    stream: str
    reason: str
    detail: str
    since_us: int
    until_us: int


_DETAILS = {
    reports.RESTART: "the producer was away; what the stream said meanwhile is not known",
    reports.DISCONNECTED: "no subscription stood; what the stream said meanwhile is not known",
    reports.SUBSCRIPTION_REFUSED: "the exchange refused the subscription; what the stream said meanwhile is not known",
}


@dataclass(slots=True)
class _Listening:
    since_us: int | None = None
    """Since when nothing is heard; None while a subscription stands, and before the first."""
    reason: str = reports.RESTART
    heard_us: int = 0
    begins_us: int | None = None
    """What lies before this was not heard by this run, nor told by it; None before the first subscription."""


class Coverage:
    """Told again and again which subscriptions stand; gives the times for which one did not, once it does again."""

    def __init__(self, streams: Collection[str], now_us: int) -> None:
        """Start with no subscription, and nothing known of an earlier run."""
        self._began_us = now_us
        self._listening = {name: _Listening() for name in streams}

    def resume(self, received: Mapping[str, int]) -> list[Blind]:
        """When an earlier run last received something of a stream, which may become known after subscriptions have come and gone."""
        found = []
        for stream, received_us in received.items():
            listening = self._listening.get(stream)
            if listening is None:
                continue
            if listening.begins_us is not None:
                restart = reports.RESTART
                found.append(Blind(stream, restart, _DETAILS[restart], received_us, listening.begins_us))
            elif listening.since_us is None or received_us < listening.since_us:
                listening.since_us = received_us
        return found

    def refused(self, stream: str) -> None:
        """The exchange did not take the subscription of a stream."""
        listening = self._listening.get(stream)
        if listening is None:
            return
        if listening.since_us is None:
            listening.since_us = listening.heard_us or self._began_us
        listening.reason = reports.SUBSCRIPTION_REFUSED

    def observe(self, confirmed: Collection[str], heard_us: int, now_us: int) -> list[Blind]:
        """What became known: `confirmed` subscriptions stand, and something was last received from a socket at `heard_us`."""
        found = []
        for stream, listening in self._listening.items():
            if stream not in confirmed:
                if listening.since_us is None and listening.heard_us:
                    listening.since_us, listening.reason = listening.heard_us, reports.DISCONNECTED
                continue
            if listening.begins_us is None:
                listening.begins_us = now_us if listening.since_us is None else listening.since_us
            if listening.since_us is not None:
                found.append(Blind(stream, listening.reason, _DETAILS[listening.reason], listening.since_us, now_us))
                listening.since_us = None
            listening.heard_us = max(listening.heard_us, heard_us)
        return found
