"""Compares our clock with the exchange's periodically: ages of data and signatures depend on it."""

import asyncio
import logging
from collections.abc import Callable

from backpack_streams.exchange.clock import WORTH_SAYING_MS, ExchangeClock, Skew
from backpack_streams.exchange.limit_queue import Priority
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.rest_errors import RestError
from backpack_streams.publishing.publishing import now_us

logger = logging.getLogger(__name__)

CLOCK_CHECK_SECONDS = 60.0
"""Default time between two measurements."""


class ClockWatch:
    """Measures how far our clock is ahead of the exchange's, by the exchange's REST API."""

    def __init__(
        self,
        rest: RestClient,
        clock: ExchangeClock,
        on_skew: Callable[[Skew], None] | None = None,
        priority: Priority = Priority.REFERENCE,
    ) -> None:
        """Prepare; `run` and `compare` send requests.

        Args:
            rest: the client that requests the exchange's time.
            clock: its `skew` holds the last measurement, if `on_skew` is not given.
            on_skew: called with each measurement. The default stores it in `clock`, and logs a warning if the skew exceeds
                its uncertainty by more than a second and is new or has changed by more than a second.
            priority: the priority of the request in the rate limiter's queue.
        """
        self.clock = clock
        self._rest = rest
        self._on_skew = on_skew or self._note
        self._priority = priority
        self._was_answered = True

    async def run(self, interval_seconds: float = CLOCK_CHECK_SECONDS) -> None:
        """Measure at once and then periodically, until cancelled.

        Args:
            interval_seconds: time between the end of one measurement and the next.
        """
        while True:
            await self.compare()
            await asyncio.sleep(interval_seconds)

    async def compare(self) -> None:
        """Measure the skew once, from one request.

        If the request fails, the last measurement remains in force; the first failure of an outage is logged as a warning.
        An answer that a cache has held (`Age` above 0) is ignored, because it shows an earlier time.
        """
        asked_us = now_us()
        try:
            answer = await self._rest.time_ms(priority=self._priority)
        except RestError as error:
            # Each minute of an outage would repeat the message.
            level = logging.WARNING if self._was_answered else logging.DEBUG
            logger.log(level, "the exchange's clock cannot be asked", extra={"error": str(error)})
            self._was_answered = False
            return
        self._was_answered = True
        if not answer.age_seconds:  # a cached answer shows an earlier time
            self._on_skew(Skew.measured(asked_us, answer.body, answer.received_time_us))

    def _note(self, skew: Skew) -> None:
        before, self.clock.skew = self.clock.skew, skew
        is_news = before is None or abs(skew.ahead_ms - before.ahead_ms) > WORTH_SAYING_MS
        if is_news and abs(skew.ahead_ms) - skew.uncertainty_ms > WORTH_SAYING_MS:
            logger.warning(
                f"this machine's clock is {skew}: ages of data in the metrics are off by as much; set it right, best by NTP"
            )
