"""The age of records on their way into Kafka, observed once per batch when Kafka acknowledges it. Sans I/O."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client.registry import Collector

from backpack_streams.bus.publisher import Acknowledged
from backpack_streams.runtime.metrics import HistogramCell, HistogramTable

AGE_BUCKETS_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 10.0, 60.0)
AT_SOCKET: Final = "socket"
AT_KAFKA: Final = "kafka"
AT_BOOK: Final = "book"


def data_age() -> HistogramTable:
    """Return an empty histogram of the age of data, in seconds.

    Its labels are `at`, which is one of the `AT_` constants above, and `channel`.
    """
    return HistogramTable(
        "data_age_seconds",
        "Age of data since the exchange's engine time, event time where there is none: of the oldest record of each batch when it was "
        "ready to be published (at=socket) and when Kafka had acknowledged it (at=kafka), of the oldest update of each read when it "
        "was in its book (at=book). Rests on our clock: see clock_ahead_seconds.",
        ("at", "channel"),
        AGE_BUCKETS_SECONDS,
    )


class PublishTimes:
    """Observes each acknowledged batch: how long it took, and how old its data is."""

    def __init__(self, channels: Mapping[str, str], wall_seconds: Callable[[], float] = time.time) -> None:
        """Prepare histograms for these topics.

        Args:
            channels: the channel of each topic, by full topic name, for topics whose records come from the exchange as they
                happen. For other topics, the age of a record means nothing and is not observed.
            wall_seconds: returns the wall clock's time (seconds since the Unix epoch).
        """
        self._wall_seconds = wall_seconds
        self._waits = HistogramTable(
            "publish_seconds",
            "From handing over the oldest record of a batch until all in-sync replicas had acknowledged it.",
        )
        self._wait = self._waits.cell()
        self._ages = data_age()
        self._cells: dict[str, tuple[HistogramCell, HistogramCell]] = {
            topic: (self._ages.cell(AT_SOCKET, channel), self._ages.cell(AT_KAFKA, channel))
            for topic, channel in channels.items()
        }

    def on_acknowledged(self, batch: Acknowledged) -> None:
        """Observe a batch that Kafka has acknowledged.

        An age is at least 0, even if our clock is behind the exchange's. The age at the socket is the age now minus the
        time that the batch waited for Kafka.

        Args:
            batch: the batch; its `timestamp_ms` is the time of its oldest record (ms since the Unix epoch).
        """
        waited = batch.waited_seconds
        self._wait.observe(waited)
        cells = self._cells.get(batch.topic)
        if cells is not None:
            age = self._wall_seconds() - batch.timestamp_ms / 1000
            at_socket, at_kafka = cells
            at_socket.observe(max(0.0, age - waited))
            at_kafka.observe(max(0.0, age))

    def collectors(self) -> Iterable[Collector]:
        """Return the collectors for /metrics; without channels, there is no histogram of ages."""
        return (self._waits, self._ages) if self._cells else (self._waits,)
