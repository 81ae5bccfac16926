"""The Kafka producer that all senders share, and its replacement when it fails.

A failed batch burns its sequence numbers, so the producer goes, and unacknowledged batches go out again under a new producer id: a
duplicate is legal on the bus, a loss is not.
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
    """The delays between attempts to send, or to connect."""
    return Backoff(_FIRST_RETRY_SECONDS, _LONGEST_RETRY_SECONDS)


class ProducerInUse:
    """`topics` names what a new producer has to know from its beginning on.

    Attributes:
        failures: producers that failed and were replaced.
        fault: what went wrong last, in one line; None once something was acknowledged after it.
    """

    def __init__(self, connection: KafkaConnection, topics: Callable[[], Collection[str]]) -> None:
        self._connection = connection
        self._topics = topics
        self._producer: KafkaProducer | None = None
        self._replacing = asyncio.Lock()
        self._retiring: dict[asyncio.Task[None], KafkaProducer] = {}
        self.failures = 0
        self.fault: str | None = None

    @property
    def now(self) -> KafkaProducer:
        """The producer to use. It is there once `start` has returned."""
        assert self._producer is not None, "start() comes first"
        return self._producer

    async def start(self) -> None:
        """Connects.

        Raises:
            BusError: Kafka cannot be reached or refuses the credentials. UsageError: a TLS file cannot be used.
        """
        try:
            self._producer = await self._connect()
        except (KafkaError, OSError) as error:
            raise self._connection.explain(error) from error

    async def replace(self, failed: KafkaProducer, error: BaseException) -> None:
        """Puts another producer in the place of one that failed, however long that takes. The first of several callers does it."""
        async with self._replacing:
            if self._producer is not failed:
                return
            self.failures += 1
            self.fault = self.told(error)
            logger.warning("kafka producer failed; making a new one", extra={"error": self.fault})
            task = asyncio.create_task(failed.retire(_RETIRE_SECONDS), name="retire-kafka-producer")
            self._retiring[task] = failed
            task.add_done_callback(self._retired)
            backoff = retries()
            while True:
                try:
                    self._producer = await self._connect()
                    return
                except Exception as refused:  # noqa: BLE001  # whatever it is: without a producer nothing is sent
                    self.fault = self.told(refused)
                    delay = backoff.next_delay_seconds()
                    logger.warning("kafka is not there; trying again", extra={"error": self.fault, "in_seconds": delay})
                await asyncio.sleep(delay)

    def told(self, error: BaseException) -> str:
        """What a failure means, in one line."""
        return str(error if isinstance(error, BackpackStreamsError) else self._connection.explain(error))

    async def close(self) -> None:
        """Ends the producer and all that were replaced."""
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
            logger.warning("a kafka producer could not be ended", extra={"error": repr(error)})
