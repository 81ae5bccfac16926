"""Whether a service whose start failed is started again in the same process, and when."""

from backpack_streams.backoff import Backoff
from backpack_streams.bus.connection import may_pass
from backpack_streams.credentials import UnfitFilesError
from backpack_streams.errors import BackpackStreamsError

FILES_FIT_WITHIN_SECONDS = 60.0
"""A certificate and its key are replaced one after the other; a service that starts in between waits this long for the second one."""
_FILES_POLL_SECONDS = 0.5
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 10.0


class StartAttempts:
    """The failed attempts of one start. Sans I/O.

    Kafka is waited for without a limit: ending would only add the pauses of what restarts the process (in Kubernetes up to five
    minutes) to the outage.
    """

    def __init__(self) -> None:
        """Start with no failed attempt."""
        self._backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        self._unfit_since: float | None = None

    def delay_seconds(self, error: BackpackStreamsError, now: float) -> float | None:
        """Return how many seconds to wait before the next attempt; None if there is none.

        Args:
            error: why the attempt failed.
            now: monotonic seconds.
        """
        if isinstance(error, UnfitFilesError):
            if self._unfit_since is None:
                self._unfit_since = now
            return _FILES_POLL_SECONDS if now - self._unfit_since <= FILES_FIT_WITHIN_SECONDS else None
        self._unfit_since = None
        return self._backoff.next_delay_seconds() if may_pass(error) else None
