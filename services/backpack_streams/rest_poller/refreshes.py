"""When an endpoint is asked again: after its interval, or at once when a socket was away and its last value is wanted."""

import asyncio
import time

RETRY_SECONDS = 2.0
TOPIC_OF_CHANNEL = {
    "ticker": "market.ticker",
    "markPrice": "perp.mark_price",
    "openInterest": "perp.open_interest",
}


class Refreshes:
    """What is wanted at once, by topic. Many markets tell of the same outage within a moment: they are one request."""

    def __init__(self) -> None:
        self._events = {topic: asyncio.Event() for topic in TOPIC_OF_CHANNEL.values()}
        self._asked_at: dict[str, float] = {}
        self.asked = 0

    def ask(self, channel: str) -> None:
        """Streams of this channel were interrupted."""
        topic = TOPIC_OF_CHANNEL[channel]
        self._asked_at[topic] = time.monotonic()
        if not self._events[topic].is_set():
            self.asked += 1
            self._events[topic].set()

    async def pause(self, topic: str, seconds: float, succeeded_at: float | None) -> None:
        """Waits `seconds`, less if the topic is wanted at once. `succeeded_at`: when an answer was of use last (monotonic)."""
        event = self._events.get(topic)
        if event is None:
            await asyncio.sleep(seconds)
            return
        asked_at = self._asked_at.get(topic)
        if asked_at is not None and (succeeded_at is None or succeeded_at < asked_at) and not event.is_set():
            seconds = min(seconds, RETRY_SECONDS)
        try:
            await asyncio.wait_for(event.wait(), seconds)
            event.clear()
        except TimeoutError:
            return
