"""Service `perp-producer`: the streams of futures into Kafka."""

from backpack_streams.feed.listed_streams import listed_producer
from backpack_streams.markets.selection import check_streams
from backpack_streams.perp_producer.liquidation import LIQUIDATION
from backpack_streams.perp_producer.mark_price import MARK_PRICE
from backpack_streams.perp_producer.open_interest import OPEN_INTEREST
from backpack_streams.perp_producer.settings import PerpProducerSettings
from backpack_streams.runtime.service import run_service

NAME = "perp-producer"
STREAM_SPECS = (MARK_PRICE, OPEN_INTEREST, LIQUIDATION)


def main(settings: PerpProducerSettings) -> int:
    """Run the service until a signal; return the process's exit code.

    Args:
        settings: the service's settings.

    Raises:
        UsageError: the settings name a stream of another service.
    """
    check_streams(NAME, settings.streams, (spec.channel for spec in STREAM_SPECS))
    return run_service(NAME, lambda: listed_producer(NAME, settings, STREAM_SPECS), settings, settings)
