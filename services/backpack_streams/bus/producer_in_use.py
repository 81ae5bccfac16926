"""The Kafka producer that all senders share, and its replacement after a failure.

A failed batch uses up its sequence numbers, so the producer is replaced and unacknowledged batches are sent again under
a new producer id. Duplicates are legal on the bus; losses are not.
"""

import asyncio
import logging
from collections.abc import Callable, Collection

from aiokafka.errors import KafkaError

from backpack_streams.backoff import Backoff
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.kafka_producer import KafkaProducer
from backpack_streams.errors import BackpackStreamsError

__all__ = ["ProducerInUse", "retries"]

logger = logging.getLogger(__name__)

_FIRST_RETRY_SECONDS = 0.2
_LONGEST_RETRY_SECONDS = 10.0
_RETIRE_SECONDS = 10.0


def retries() -> Backoff:
    """Return the delays between attempts to send or to connect."""
    return Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)


class ProducerInUse:
    """The current producer.

    Attributes:
        failures: how many producers failed and were replaced.
        fault: the last failure in one line; None after a later acknowledgement.
    """

    def __init__(self, connection: KafkaConnection, topics: Callable[[], Collection[str]]) -> None:
        """Prepare; `start` connects.

        Args:
            connection: how to reach Kafka.
            topics: returns the full names of the topics that a new producer looks up before its first batch.
        """
        self._connection = connection
        self._topics = topics
        self._producer: KafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._retiring: dict[asyncio.Task[None], KafkaProducer] = {}
        self.failures = 0
        self.fault: str | None = None

    @property
    def now(self) -> KafkaProducer:
        """The producer to use. Requires `start`."""
        assert self._producer is not None, "call start() first"
        return self._producer

    async def start(self) -> None:
        """Connect.

        Raises:
            BusError: Kafka is unreachable or refuses the credentials.
            UsageError: a TLS file is unusable.
        """
        try:
            self._producer = await self._connect()
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error

    async def replace(self, failed: KafkaProducer, error: BaseException) -> None:
        """Replace a failed producer; retries until Kafka answers. If several callers report the same producer, the first
        one replaces it.
        """
        async with self._replacing:
            if self._producer is not failed:
                return
            self.failures += 1
            self.fault = self.told(error)
            logger.warning("kafka producer failed; replacing it", extra={"error": self.fault})
            task = asyncio.create_task(failed.retire(_RETIRE_SECONDS), name="retire-kafka-producer")
            self._retiring[task] = failed
            task.add_done_callback(self._retired)
            backoff = retries()
            while True:
                try:
                    self._producer = await self._connect()
                    return
                except Exception as refused:  # noqa: BLE001  # any error: without a producer nothing is sent
                    self.fault = self.told(refused)
                    delay = backoff.next_delay_seconds()
                    logger.warning("kafka is unavailable; retrying", extra={"error": self.fault, "in_seconds": delay})
                await asyncio.sleep(delay)

    def told(self, error: BaseException) -> str:
        """Return a failure in one line."""
        return str(error if isinstance(error, BackpackStreamsError) else self._connection.explain(error))

    async def close(self) -> None:
        """End the producer and those being retired."""
        retiring = dict(self._retiring)
        for task in retiring:
            task.cancel()
        await asyncio.gather(*retiring, return_exceptions=True)
        producers = [*retiring.values(), *([] if self._producer is None else [self._producer])]
        await asyncio.gather(*(producer.discard() for producer in producers))

    async def _connect(self) -> KafkaProducer:
        producer = KafkaProducer(self._connection)
        await producer.start(self._topics())
        return producer

    def _retired(self, task: "asyncio.Task[None]") -> None:
        del self._retiring[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.warning("a kafka producer could not be closed", extra={"error": repr(error)})
