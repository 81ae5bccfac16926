"""The metrics of a producer's sockets, streams and coverage."""

from collections.abc import Iterable, Sequence

from prometheus_client.registry import Collector

from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange_clients.measures import by_channel, silent_measures, socket_measures, stream_measures
from backpack_streams.feed.delivery import Delivery
from backpack_streams.feed.measures import router_measures
from backpack_streams.feed.stream_spec import StreamSpec
from backpack_streams.runtime.collectors import count, values


def producer_measures(
    connection: Connection, delivery: Delivery, specs: Sequence[StreamSpec], *, per_stream: bool
) -> Iterable[Collector]:
    """Return the collectors of one producer, for any streams.

    Args:
        connection: the sockets.
        delivery: the frames and the coverage.
        specs: the stream specs, whose channels are the labels.
        per_stream: whether to add a series for each stream.
    """
    channels = [spec.channel for spec in specs]
    router, coverage = delivery.router, delivery.coverage

    def covered() -> dict[str, int]:
        return by_channel((name for name in router.feeds if coverage.is_covered(name)), channels)

    return (
        *stream_measures(connection, channels, lambda: router.feeds),
        values(
            "streams_confirmed",
            "Streams that are covered now: the exchange has confirmed the subscription on a socket that is known to be alive.",
            "channel",
            covered,
        ),
        *silent_measures(connection, channels),
        count(
            "streams_doubted",
            "Times that a stream was found to deliver nothing while another stream of its market moved.",
            lambda: delivery.doubts,
        ),
        *router_measures(router, specs, per_stream),
        *socket_measures(connection),
    )
