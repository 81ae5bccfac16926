"""When an endpoint is asked again: after its interval, or at once when a socket was away and its last value is wanted."""

import asyncio

TOPIC_OF_CHANNEL = {
    "ticker": "market.ticker",
    "markPrice": "perp.mark_price",
    "openInterest": "perp.open_interest",
}


class Refreshes:
    """What is wanted at once, by topic. Many markets tell of the same outage within a moment: they are one request."""

    def __init__(self) -> None:
        self._events = {topic: asyncio.Event() for topic in TOPIC_OF_CHANNEL.values()}
        self.asked = 0

    def ask(self, channel: str) -> None:
        """Streams of this channel were interrupted."""
        topic = TOPIC_OF_CHANNEL[channel]
        if not self._events[topic].is_set():
            self.asked += 1
            self._events[topic].set()

    async def pause(self, topic: str, seconds: float) -> None:
        """Waits `seconds`, less if the topic is wanted at once."""
        event = self._events.get(topic)
        if event is None:
            await asyncio.sleep(seconds)
            return
        try:
            await asyncio.wait_for(event.wait(), seconds)
            event.clear()
        except TimeoutError:
            return
