"""Decides when to request an endpoint again: after its interval, or at once after an outage of a stream."""

import asyncio

TOPIC_OF_CHANNEL = {
    "ticker": "market.ticker",
    "markPrice": "perp.mark_price",
    "openInterest": "perp.open_interest",
}


class Refreshes:
    """Requests for immediate polls, by topic. An outage of many markets results in one request."""

    def __init__(self) -> None:
        self._events = {topic: asyncio.Event() for topic in TOPIC_OF_CHANNEL.values()}
        self.asked = 0

    def ask(self, channel: str) -> None:
        """Request a poll because streams of this channel were interrupted."""
        topic = TOPIC_OF_CHANNEL[channel]
        if not self._events[topic].is_set():
            self.asked += 1
            self._events[topic].set()

    async def pause(self, topic: str, seconds: float) -> None:
        """Wait for `seconds`, or until an immediate poll of the topic is requested."""
        event = self._events.get(topic)
        if event is None:
            await asyncio.sleep(seconds)
            return
        try:
            await asyncio.wait_for(event.wait(), seconds)
            event.clear()
        except TimeoutError:
            return
