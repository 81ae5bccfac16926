"""The read throttle: while there is a reason to pause, the sockets are not read and TCP holds the exchange back. Sans I/O."""

from collections.abc import Callable

PAUSE_AT_SHARE = 0.5
RESUME_AT_SHARE = 0.25
LONGEST_PAUSE_SECONDS = 10.0
"""The exchange cuts a socket that is not read for long. After this time, records that find a full buffer become a gap instead."""

KAFKA_BEHIND = "Kafka is behind"
START_HOLDS = "the start holds as much as it may"


class ReadPause:
    """The reasons not to read the sockets. Each has one owner, which sets and clears it.

    `pause` is called when the first reason is set, `resume` when the last one is cleared.
    """

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        """Prepare; the sockets are read.

        Args:
            pause: stops reading all sockets.
            resume: reads them again.
        """
        self._pause = pause
        self._resume = resume
        self._reasons: dict[str, None] = {}
        self._behind_since = 0.0
        self._is_spent = False

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the sockets are not read now; empty while they are read."""
        return tuple(self._reasons)

    def set(self, reason: str) -> None:
        """Stop reading for this reason."""
        was_reading = not self._reasons
        self._reasons[reason] = None
        if was_reading:
            self._pause()

    def clear(self, reason: str) -> None:
        """Clear this reason."""
        if reason in self._reasons:
            del self._reasons[reason]
            if not self._reasons:
                self._resume()

    def watch_buffer(self, share: float, now: float) -> None:
        """Pause once the buffer for Kafka is more than half full; resume once it is less than a quarter full.

        A pause lasts `LONGEST_PAUSE_SECONDS` at most, and the next may begin only after the buffer has emptied.

        Args:
            share: how full the buffer is, 0 to 1.
            now: present time (monotonic seconds).
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
