"""How a producer starts: it subscribes, then reads from Kafka where to continue, and only then publishes."""

import asyncio
import logging
import time

from backpack_streams.backoff import Backoff
from backpack_streams.bus.publisher import Publisher
from backpack_streams.errors import BusError
from backpack_streams.exchange.connection import Connection
from backpack_streams.feed.delivery import Delivery
from backpack_streams.feed.moments import Moment
from backpack_streams.feed.vouching import Vouching
from backpack_streams.feed.what_kafka_has import KafkaLook
from backpack_streams.publishing import reports
from backpack_streams.publishing.publishing import now_us

logger = logging.getLogger(__name__)

_SUBSCRIBED_SECONDS = 10.0
_LOOK_SECONDS = 0.1
_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS = 1.0, 10.0


def now() -> Moment:
    """Return the present time on both clocks: monotonic seconds, and µs since the Unix epoch."""
    return Moment(time.monotonic(), now_us())


class Beginning:
    """Holds what the sockets bring until Kafka's content is known."""

    def __init__(
        self, connection: Connection, delivery: Delivery, vouching: Vouching, publisher: Publisher, look: KafkaLook
    ) -> None:
        """Prepare; `run` waits and reads.

        Args:
            connection: the sockets, for the streams that the exchange has rejected.
            delivery: holds the frames until `run` has read Kafka.
            vouching: publishes the first watermark.
            publisher: continues at the end offsets that were found.
            look: reads what Kafka has.
        """
        self._connection = connection
        self._delivery = delivery
        self._vouching = vouching
        self._publisher = publisher
        self._look = look

    async def run(self) -> None:
        """Run the start, subscriptions first.

        In this order, what another producer publishes until our subscriptions are confirmed is found in Kafka, and the other producer may
        be ended as soon as this one is ready.

        Raises:
            StartError: Kafka's content could not be read; nothing was published.
        """
        delivery = self._delivery
        await self._until_subscribed()
        backoff = Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)
        while True:
            try:
                feeds = list(delivery.router.feeds.values())
                found = await self._look.look(feeds, delivery.coverage.is_covered)
                break
            except BusError as error:
                logger.warning("what Kafka holds cannot be read; trying again", extra={"error": str(error)})
                delivery.start.failed(str(error), time.monotonic())
            await asyncio.sleep(backoff.next_delay_seconds())
        self._publisher.go_on_from(found.ends)
        first_offset = await self._vouching.first()
        delivery.resume(found.last, found.covered, now())
        for stream, (until_us, last_id) in found.abandoned.items():
            feed = delivery.router.recall(stream)
            delivery.router.left_behind(feed, until_us, now_us(), reports.RESTART, last_id=last_id)
        if found.others and first_offset >= 0:
            try:
                await self._look.until_known(found.others, first_offset)
            except BusError as error:  # at stake is only whether quiet books are proven again
                logger.warning("whether others know of this start cannot be read", extra={"error": str(error)})
        delivery.start.others_know = True

    async def _until_subscribed(self) -> None:
        """Wait until the exchange has confirmed every subscription, or for a while after the first one.

        A subscription without an answer must not hold up the others.
        """
        give_up_at = None
        while give_up_at is None or time.monotonic() < give_up_at:
            uncovered = self._delivery.coverage.uncovered()
            if uncovered <= self._connection.rejected_streams:
                return
            if give_up_at is None and len(uncovered) < len(self._delivery.router.feeds):
                give_up_at = time.monotonic() + _SUBSCRIBED_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
