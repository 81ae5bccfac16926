"""Decides whether and when a program that ended by itself is started again. Sans I/O.

Times are seconds on one monotonic clock.
"""

from random import Random
from typing import Final

from backpack_streams.backoff import Backoff

__all__ = ["MOST_FAILED_STARTS", "WRONG_USAGE_EXIT_CODE", "Restarts"]

FIRST_RESTART_SECONDS: Final = 1.0
LONGEST_RESTART_SECONDS: Final = 30.0
STEADY_SECONDS: Final = 60.0
"""After this time of being ready, a program is well again: the next restart comes as quickly as the first."""
MOST_FAILED_STARTS: Final = 3
"""A program that ended as often without ever being ready cannot start."""
WRONG_USAGE_EXIT_CODE: Final = 2


class Restarts:
    """The restarts of one program.

    A program that has been ready once is always started again, with growing delays. One that has never been ready is given up
    at once if its exit code says that its command line is wrong, else after `most_failed_starts` ends.
    """

    def __init__(self, most_failed_starts: int = MOST_FAILED_STARTS, rng: Random | None = None) -> None:
        """Begin with the shortest delay.

        Args:
            most_failed_starts: after how many ends a program that was never ready is given up.
            rng: randomizes the delays; a seeded one makes them repeatable.
        """
        self._most_failed_starts = most_failed_starts
        self._backoff = Backoff(FIRST_RESTART_SECONDS, LONGEST_RESTART_SECONDS, rng)
        self._was_ever_ready = False
        self.ends = 0
        """How often the program has ended by itself."""

    def delay_seconds(self, exit_code: int | None, at: float, ready_at: float | None) -> float | None:
        """Take an end of the program.

        The delay is drawn at random: from 0 to 1 s at first, from 0 to 30 s in the end.

        Args:
            exit_code: negative for a signal; None if unknown.
            at: the time of the end.
            ready_at: when this run became ready; None if it never did.

        Returns:
            The seconds until it is started again; None to give it up.
        """
        self.ends += 1
        if ready_at is not None:
            self._was_ever_ready = True
            if at - ready_at >= STEADY_SECONDS:
                self._backoff.reset()
        if not self._was_ever_ready and self._is_hopeless(exit_code):
            return None
        return self._backoff.next_delay_seconds()

    def _is_hopeless(self, exit_code: int | None) -> bool:
        return exit_code == WRONG_USAGE_EXIT_CODE or self.ends >= self._most_failed_starts
