"""Service `perp-producer`: the streams of futures into Kafka."""

from backpack_streams.feed.markets import check_streams
from backpack_streams.feed.producer import Producer
from backpack_streams.perp_producer.liquidation import LIQUIDATION
from backpack_streams.perp_producer.mark_price import MARK_PRICE
from backpack_streams.perp_producer.open_interest import OPEN_INTEREST
from backpack_streams.perp_producer.settings import PerpProducerSettings
from backpack_streams.runtime.service import run_service

NAME = "perp-producer"
FAMILIES = (MARK_PRICE, OPEN_INTEREST, LIQUIDATION)


def main(settings: PerpProducerSettings) -> int:
    """Run the service until a signal; return the exit code."""
    check_streams(NAME, settings.streams, (family.channel for family in FAMILIES))
    return run_service(NAME, lambda: Producer(NAME, settings, FAMILIES), settings, settings)
