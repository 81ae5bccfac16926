"""A stream whose messages are only ordered: none goes back in time, outages are on record. Sans I/O."""

from typing import Any

from backpack_streams.feed import reports
from backpack_streams.feed.family import Reading
from backpack_streams.feed.sequence import Latest, Verdict
from backpack_streams.feed.stream_feed import StreamFeed


class LatestFeed(StreamFeed):
    """A stream whose messages are only ordered: tickers, mark prices, liquidations."""

    __slots__ = ("_latest", "_many_symbols")

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._latest = Latest()
        self._many_symbols = not self.symbol

    def resume(self, last_id: int, time_us: int, received_us: int) -> None:
        """Only the time counts: what was missed since has no ids."""
        self.resumed_us = received_us

    def on_tick(self, now_us: int) -> None:
        """A socket that is up again is reason enough to ask for the last value: the stream's next message may be a minute away."""
        super().on_tick(now_us)
        around = self._surroundings
        if self.family.conflated and self.last_received_us and around.links and self._outages != around.outages:
            self._outages = around.outages
            self._note_outage(reports.DISCONNECTED, "no socket was up", self.last_received_us, now_us)

    def on_data(self, data: Any, link: int, received_us: int) -> None:
        """Whatever another socket has not brought goes out."""
        self.frames += 1
        around = self._surroundings
        reading = self._read(data, self.kind)
        verdict = self._latest.offer(
            reading.last_id, reading.time_us, link, bytes(data), around.links, self.family.records_outages
        )
        if verdict is Verdict.DUPLICATE and not self._is_missing(reading):
            self.duplicates += 1
            self.last_received_us = received_us
            return
        if not self.last_received_us:
            around.delivered_first(self)
            self._note_outage(reports.RESTART, "the producer was away", self.resumed_us, received_us)
        elif self._outages != around.outages:
            self._note_outage(reports.DISCONNECTED, "no socket was up", self.last_received_us, received_us)
        self._outages = around.outages
        self.last_received_us = received_us
        if self._many_symbols:
            if not around.carries(reading.symbol):
                return
            self.key = reading.symbol.encode()
            self._out = around.lane(self.topic, self.key)
        if self._publish(reading, received_us):
            self._took(reading, received_us)

    def _is_missing(self, reading: Reading) -> bool:
        """Whether a message that came late on another socket is wanted all the same."""
        return False

    def _took(self, reading: Reading, received_us: int) -> None:
        """The message went out."""

    def _note_outage(self, reason: str, detail: str, last_us: int, received_us: int) -> None:
        family = self.family
        if last_us and not family.covered_by_subscription and (family.records_outages or family.conflated):
            self._surroundings.gap(self, reason, detail, last_time_us=last_us, next_time_us=received_us)
