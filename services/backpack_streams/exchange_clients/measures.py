"""Metrics of the connections to the exchange: sockets, REST client and both clocks."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client.registry import Collector

from backpack_streams.exchange.clock import ExchangeClock
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.limits import LimitClass, RateLimiter
from backpack_streams.exchange.rest import RestClient
from backpack_streams.exchange.session_actions import CLOSING_KINDS
from backpack_streams.exchange.streams import split_stream
from backpack_streams.runtime.collectors import count, counts, value, values

_NOT_KNOWN = float("nan")


def by_channel(streams: Iterable[str], channels: Sequence[str]) -> dict[str, int]:
    """Return the number of streams of each channel, 0 included.

    Args:
        streams: names of streams, such as `depth.SOL_USDC`.
        channels: the channels to count; streams of other channels are left out.
    """
    counted = Counter(split_stream(name)[0].channel for name in streams)
    return {channel: counted[channel] for channel in channels}


def stream_measures(
    connection: Connection, channels: Sequence[str], wanted: Callable[[], Iterable[str]]
) -> Iterable[Collector]:
    """Return metrics of the subscriptions, by channel.

    Args:
        connection: the sockets; it knows which streams the exchange refuses.
        channels: the channels of the service.
        wanted: returns the names of the streams subscribed to.
    """
    return (
        values("streams", "Streams subscribed to.", "channel", lambda: by_channel(wanted(), channels)),
        values(
            "streams_rejected",
            "Streams that the exchange refuses.",
            "channel",
            lambda: by_channel(connection.rejected_streams, channels),
        ),
    )


def silent_measures(connection: Connection, channels: Sequence[str]) -> Iterable[Collector]:
    """Return metrics of the streams that should deliver and do not, by channel.

    Args:
        connection: the sockets.
        channels: the channels of the service.
    """
    return (
        values(
            "streams_silent",
            "Streams that should deliver and do not: silent for longer than their kind may be.",
            "channel",
            lambda: by_channel(connection.silent_streams, channels),
        ),
    )


def socket_measures(connection: Connection) -> Iterable[Collector]:
    """Return metrics of the sockets: how many are open, how they ended, what they received.

    Args:
        connection: read on each scrape.
    """

    def closes() -> Mapping[str, int]:
        return {kind.value: connection.closes[kind] for kind in sorted(CLOSING_KINDS)}

    return (
        value("sockets", "Sockets that deliver.", lambda: connection.open_sockets),
        value("sockets_wanted", "Sockets that should.", lambda: connection.wanted_sockets),
        count("socket_opens", "Sockets opened.", lambda: connection.opens),
        counts("socket_closes", "Sockets that ended or never opened.", "reason", closes),
        count("socket_server_closes", "Close frames of the exchange.", lambda: connection.server_closes),
        count("socket_bytes", "Bytes received, without frame headers.", lambda: connection.bytes_received),
        value(
            "socket_reading_paused",
            "1 while nothing is read, since what is behind the sockets (Kafka, a recorder's disk) has not caught up.",
            lambda: connection.is_reading_paused,
        ),
    )


def rest_measures(rest: RestClient) -> Iterable[Collector]:
    """Return metrics of the REST requests of this process, and of its share of the exchange's limits.

    Args:
        rest: the client; its limiter and its counters are read on each scrape.
    """
    return (
        *_limit_measures(rest.limiter),
        *_waiting_measures(rest.limiter),
        count(
            "rest_request_failures",
            "Requests that had no usable answer after all their tries.",
            lambda: rest.counters.failures,
        ),
        count("rest_request_retries", "Requests sent again.", lambda: rest.counters.retries),
    )


def _by_limit(read: Callable[[LimitClass], float]) -> Callable[[], dict[str, float]]:
    return lambda: {str(each): read(each) for each in LimitClass}


def _limit_measures(limiter: RateLimiter) -> Iterable[Collector]:
    """Return metrics of the limits, and of the requests that they let go or refused."""
    return (
        values(
            "rest_budget_requests",
            "Requests that this process may send in any minute. Historical requests count against both limits.",
            "limit",
            _by_limit(limiter.settings.budget_per_minute),
        ),
        values(
            "rest_budget_available_ratio",
            "What is left of the requests that may go at once: 1 all, 0 none.",
            "limit",
            _by_limit(limiter.available_share),
        ),
        counts(
            "rest_requests_granted",
            "Requests that the rate limits let go.",
            "limit",
            _by_limit(lambda each: limiter.counters(each).granted),
        ),
        counts(
            "rest_requests_refused",
            "Requests that the exchange refused with 429 or 418, or with 403 and Retry-After.",
            "limit",
            _by_limit(lambda each: limiter.counters(each).refused),
        ),
        counts(
            "rest_requests_turned_away",
            "Requests that found the queue for a turn full.",
            "limit",
            _by_limit(lambda each: limiter.counters(each).turned_away),
        ),
    )


def _waiting_measures(limiter: RateLimiter) -> Iterable[Collector]:
    """Return metrics of what waits for the limits."""
    return (
        values("rest_requests_waiting", "Requests that wait for their turn.", "limit", _by_limit(limiter.queue_length)),
        counts(
            "rest_request_wait_seconds",
            "Waits of requests for their turn, added up.",
            "limit",
            _by_limit(lambda each: limiter.counters(each).waited_seconds),
        ),
        values(
            "rest_paused_seconds",
            "How long the pause after a refusal still lasts; 0 while there is none.",
            "limit",
            _by_limit(limiter.paused_seconds),
        ),
    )


def clock_measures(clock: ExchangeClock) -> Iterable[Collector]:
    """Return metrics of the skew of our clock, in seconds; both are NaN until the first measurement.

    Args:
        clock: read on each scrape.
    """

    def ahead() -> float:
        return _NOT_KNOWN if clock.skew is None else clock.skew.ahead_ms / 1000

    def uncertainty() -> float:
        return _NOT_KNOWN if clock.skew is None else clock.skew.uncertainty_ms / 1000

    return (
        value("clock_ahead_seconds", "Our clock minus the exchange's; NaN until it answered.", ahead),
        value(
            "clock_uncertainty_seconds",
            "How exactly that is known, to either side; NaN until it answered.",
            uncertainty,
        ),
    )
