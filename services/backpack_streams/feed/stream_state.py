"""The coverage of one stream: which sockets deliver it, and what is known of its last break. Sans I/O."""

from dataclasses import dataclass, field

from backpack_streams.feed.moments import Moment
from backpack_streams.sequencing.watermarks import Interval


@dataclass(slots=True)
class StreamState:
    """What is known of the coverage of one stream."""

    active: dict[int, Moment] = field(default_factory=dict)
    """Sockets that deliver the stream, each with the moment from which it does."""
    since: Moment | None = None
    until: Moment | None = None
    """The end of the last interval; None before the first one ends, and while one is open."""
    through: Moment | None = None
    """Until when everything had been received when a socket last stopped delivering the stream."""
    first: tuple[Moment, int] | None = None
    """This instance's first coverage and its socket; kept until the coverage before it is known."""
    cause: str = "DISCONNECTED"
    left: tuple[int, ...] = ()
    """The last sockets that stopped delivering the stream; some may still be open."""
    is_told: bool = True
    """Whether the loss of the last break is on record, or there was none. An instance that takes over from this one has to know it."""
    is_shown: bool = True
    """Whether messages since the last break show that the stream is delivered, as far as messages can be expected."""
    settled_until: int | None = None
    """If one of the two is False: when the coverage before that break ended."""

    @property
    def is_settled(self) -> bool:
        """Whether an instance that takes over may count the coverage since the last break."""
        return self.is_told and self.is_shown

    def broke(self, until_us: int | None, is_shown: bool) -> None:
        """Note a break after `until_us`. A break that follows before this one is settled belongs to it."""
        if self.is_settled:
            self.settled_until = until_us
        self.is_told, self.is_shown = False, is_shown

    @property
    def interval(self) -> Interval:
        """The last interval, as watermarks state it."""
        since, until = self.since and self.since.us, self.until and self.until.us
        return Interval(since, until, self.is_settled, None if self.is_settled else self.settled_until)
