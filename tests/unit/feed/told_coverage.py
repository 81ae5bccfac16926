"""Coverage of streams on a clock that a test moves; the test says what its sockets deliver."""

from backpack_streams.exchange.session_actions import CoverageEvent, SocketProven, StreamsActive, StreamsInactive
from backpack_streams.feed.coverage import Coverage
from backpack_streams.feed.moments import Break, Moment
from backpack_streams.sequencing.watermarks import Interval

S = "depth.X"
SECOND = 1_000_000


def us(seconds: float) -> int:
    return round(seconds * SECOND)


class Told:
    """Coverage of one stream (and one more), fed second by second; the wall clock follows the monotonic one."""

    def __init__(self, *streams: str, earlier: dict[str, int | None] | None = None) -> None:
        self.coverage = Coverage()
        self.coverage.want(streams or (S,))
        self.now = 0.0
        if earlier is not None:
            self.coverage.resume(earlier)

    @property
    def moment(self) -> Moment:
        return Moment(self.now, us(self.now))

    def take(self, event: CoverageEvent, now: float) -> list[Break]:
        self.now = max(now, self.now)
        return self.coverage.take(event, self.moment)

    def active(self, socket: int, at: float, *streams: str) -> list[Break]:
        return self.take(StreamsActive(streams or (S,), socket, at), at)

    def inactive(
        self, socket: int, through: float, *streams: str, cause: str = "DISCONNECTED", now: float = 0.0
    ) -> list[Break]:
        return self.take(StreamsInactive(streams or (S,), socket, through, cause), max(through, now))

    def proven(self, socket: int, through: float) -> None:
        assert self.take(SocketProven(socket, through), through) == []

    def through(self) -> float:
        return self.coverage.complete_through(self.moment).seconds

    def stated(self, stream: str = S) -> Interval:
        return next(interval for interval, names in self.coverage.statement() if stream in names)

    def interval(self) -> tuple[int | None, int | None]:
        return self.stated()[:2]

    def owes(self) -> tuple[int | None] | None:
        """Until when it was covered before a break that is not recorded yet; None if nothing is owed."""
        return None if self.stated().is_settled else (self.stated().settled_until,)
