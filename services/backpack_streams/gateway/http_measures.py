"""The metrics of the gateway's HTTP side."""

from collections.abc import Iterable

from prometheus_client.registry import Collector

from backpack_streams.gateway.stream.broadcast import Broadcast
from backpack_streams.runtime.collectors import count, value
from backpack_streams.runtime.metrics import CounterTable, HistogramTable

__all__ = ["RequestMeasures", "stream_measures"]


class RequestMeasures:
    """Counts requests; streams count as one when they end, and are not timed."""

    def __init__(self) -> None:
        self._requests = CounterTable("gateway_requests", "Requests that were answered.", ("status",))
        self._seconds = HistogramTable("gateway_request_seconds", "From a request's head to the end of its answer.")
        self._all_seconds = self._seconds.cell()

    def note(self, status: int, seconds: float | None) -> None:
        """Count one answer.

        Args:
            status: its HTTP status; 0 if none was sent.
            seconds: the time from the head of the request to the end of the answer; None for a stream.
        """
        self._requests.cell(str(status)).value += 1
        if seconds is not None:
            self._all_seconds.observe(seconds)

    def collectors(self) -> Iterable[Collector]:
        """Return the collectors for /metrics."""
        return self._requests, self._seconds


def stream_measures(broadcast: Broadcast) -> Iterable[Collector]:
    """Return metrics of the streams: how many there are, what they send, and how much time that takes.

    Args:
        broadcast: read on each scrape.
    """
    return (
        value("gateway_streams", "Streams that are open.", lambda: len(broadcast)),
        count("gateway_stream_messages", "Messages sent on streams.", lambda: broadcast.sent_messages),
        count(
            "gateway_slow_clients",
            "Streams that were ended because nobody read them.",
            lambda: broadcast.dropped_clients,
        ),
        count(
            "gateway_stream_seconds",
            "Time that sending on streams took of the event loop, added up.",
            lambda: broadcast.round_seconds,
        ),
    )
