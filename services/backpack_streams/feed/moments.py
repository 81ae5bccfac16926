"""Moments by both clocks, and the times between them in which a stream was not covered."""

from dataclasses import dataclass
from typing import NamedTuple


class Moment(NamedTuple):
    """A moment in seconds of the monotonic clock, for comparisons, and in microseconds of the wall clock, for records."""

    seconds: float
    us: int

    def at(self, seconds: float) -> "Moment":
        """Return another moment, with the wall clock as it is set at this one.

        Args:
            seconds: the other moment (monotonic seconds).
        """
        return Moment(seconds, self.us - round((self.seconds - seconds) * 1_000_000))

    def bounds(self, later: "Moment") -> tuple[int, int]:
        """Return bounds (µs since the Unix epoch) of the time from this moment to `later`.

        If the wall clock was set in between, they hold by both settings.
        """
        passed_us = round((later.seconds - self.seconds) * 1_000_000)
        return min(self.us, later.us - passed_us), max(later.us, self.us + passed_us)


class Clock(NamedTuple):
    """The wall clock as it was set at two moments, one before the other."""

    before: Moment
    now: Moment

    def at(self, seconds: float) -> Moment:
        """Return a moment that is not later than `now`, by the setting of the wall clock that makes it earlier.

        While a host is suspended, the wall clock goes on and the monotonic one stands still. What came before that is earlier than `now`
        makes it seem.

        Args:
            seconds: the moment (monotonic seconds).
        """
        return min(self.before.at(seconds), self.now.at(seconds))


@dataclass(frozen=True, slots=True)
class Break:
    """A time without coverage of a stream, in microseconds since the Unix epoch.

    `since_us` is None if the beginning is unknown. From `until_us` on, the socket `socket_id` covers the stream. `is_new_socket`: that
    socket never covered the stream before, so every message that it brought belongs to this subscription.
    """

    stream: str
    reason: str
    detail: str
    since_us: int | None
    until_us: int
    socket_id: int
    is_new_socket: bool = True
