"""Whether the sockets are read: while somebody has a reason to pause, TCP holds the exchange back. Sans I/O."""

from collections.abc import Callable

PAUSE_AT_SHARE = 0.5
RESUME_AT_SHARE = 0.25
LONGEST_PAUSE_SECONDS = 10.0
"""A socket that is not read for long is cut by the exchange: after this a full buffer becomes a gap on record instead."""

KAFKA_BEHIND = "Kafka is behind"
START_HOLDS = "the start holds as much as it may"


class ReadPause:
    """The reasons for which nothing is read, each set and cleared by its owner alone.

    `pause` and `resume` are called when the first reason comes and when the last one goes.
    """

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._pause = pause
        self._resume = resume
        self._reasons: dict[str, None] = {}
        self._behind_since = 0.0
        self._is_spent = False

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why nothing is read now; empty while the sockets are read."""
        return tuple(self._reasons)

    def set(self, reason: str) -> None:
        """Read nothing for this reason from now on."""
        was_reading = not self._reasons
        self._reasons[reason] = None
        if was_reading:
            self._pause()

    def clear(self, reason: str) -> None:
        """This reason holds no more."""
        if reason in self._reasons:
            del self._reasons[reason]
            if not self._reasons:
                self._resume()

    def watch_buffer(self, share: float, now: float) -> None:
        """How full the buffer for Kafka is (0 to 1) at `now`, monotonic seconds. One pause lasts `LONGEST_PAUSE_SECONDS` at most, and the
        next may begin only once the buffer has emptied.
        """
        if share < RESUME_AT_SHARE:
            self._is_spent = False
            self.clear(KAFKA_BEHIND)
        elif KAFKA_BEHIND in self._reasons:
            if now - self._behind_since > LONGEST_PAUSE_SECONDS:
                self._is_spent = True
                self.clear(KAFKA_BEHIND)
        elif share > PAUSE_AT_SHARE and not self._is_spent:
            self._behind_since = now
            self.set(KAFKA_BEHIND)
