"""Sends the records of one partition: one batch at a time, each until Kafka has acknowledged it or refused it for good.

The sender takes what waits as one batch and, while Kafka acknowledges it, the next ones gather. What a socket delivered in one
piece so leaves in one piece, and a burst leaves in large batches.
"""

import asyncio
import logging
import time
from itertools import islice
from typing import Protocol

from aiokafka.errors import (
    CorruptRecordException,
    InvalidMessageError,
    InvalidTimestampError,
    KafkaError,
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    UnsupportedForMessageFormatError,
)

from backpack_streams.backoff import Backoff
from backpack_streams.bus.kafka_producer import BATCH_BYTES, Batch, KafkaProducer, NoSuchPartitionError
from backpack_streams.bus.partition_queue import Acknowledged, Lane, Rejected
from backpack_streams.bus.producer_in_use import ProducerInUse, retries
from backpack_streams.errors import BackpackStreamsError

__all__ = ["Outcomes", "Sender"]

logger = logging.getLogger(__name__)

_RECORD_AT_FAULT = (
    MessageSizeTooLargeError,
    RecordListTooLargeError,
    InvalidTimestampError,
    InvalidMessageError,
    CorruptRecordException,
    UnsupportedForMessageFormatError,
)
"""Not among them: a topic or partition that is not there. Nothing is wrong with a record for that."""


class Outcomes(Protocol):
    """Who is told what became of records."""

    def on_acknowledged(self, batch: Acknowledged, size_bytes: int) -> None:
        """All in-sync replicas have a batch; `size_bytes` counts its values."""

    def on_rejected(self, rejected: Rejected) -> None:
        """Kafka will never take a record."""


class Sender:
    """The sender of one partition.

    Attributes:
        may_send: while it is not set, no other batch is begun.
        failures: times that something went wrong that nobody expected.
    """

    def __init__(self, lane: Lane, producer: ProducerInUse, outcomes: Outcomes) -> None:
        self.lane = lane
        self.may_send = asyncio.Event()
        self.may_send.set()
        self._producer = producer
        self._outcomes = outcomes
        self.failures = 0

    async def run(self) -> None:
        """Sends until the queue has ended and is empty. No exception ends it: what failed is repeated, ever more rarely."""
        backoff = retries()
        most: int | None = None
        while await self.lane.filled():
            await self.may_send.wait()
            try:
                most = await self._send_batch(most)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                await self._failed(RuntimeError("what was waited for was cancelled"), backoff)
            except (KafkaError, OSError, BackpackStreamsError) as error:
                self._trouble(error)
                await asyncio.sleep(backoff.next_delay_seconds())
            except Exception as error:  # noqa: BLE001  # nobody knows which: a sender must not end while records come
                await self._failed(error, backoff)
            else:
                backoff.reset()

    async def _send_batch(self, most: int | None) -> int | None:
        """One attempt with a batch of `most` records at most. Returns the bound for the next one: a culprit is found by halving."""
        lane, producer = self.lane, self._producer.now
        waiting_since = lane.take()
        batch, records, reason = self._build(producer, most)
        size = batch.size()
        if not records:
            self._reject(reason)
            return None
        lane.buffer.in_flight_bytes += size
        try:
            offset = await producer.send(batch, lane.topic, lane.partition)
        except NoSuchPartitionError:
            raise
        except _RECORD_AT_FAULT as error:
            await self._producer.replace(producer, error)
            if records > 1:
                return records // 2
            self._reject(str(error) or type(error).__name__)
            return None
        except Exception as error:  # whatever it is, it is raised; the producer may have lost count of its sequence
            self._trouble(error)
            await self._producer.replace(producer, error)
            raise
        finally:
            lane.buffer.in_flight_bytes -= size
        self._acknowledged(offset, records, waiting_since)
        return None

    def _build(self, producer: KafkaProducer, most: int | None) -> tuple[Batch, int, str]:
        """A batch of the first pending records, how many they are, and why the first is not among them if they are none."""
        batch = producer.new_batch()
        room = self.lane.buffer.batch_bytes(BATCH_BYTES)
        records = 0
        reason = f"larger than a batch may be ({BATCH_BYTES} bytes)"
        for key, value, timestamp_ms in islice(self.lane.pending, most):
            try:
                if batch.append(timestamp=timestamp_ms, key=key, value=value) is None:
                    break
            except Exception as error:  # noqa: BLE001  # aiokafka cannot write it, ever: a time out of range, say
                reason = f"it cannot be written: {error!r}"
                break
            records += 1
            if batch.size() >= room:
                break
        batch.close()
        return batch, records, reason

    def _acknowledged(self, offset: int, records: int, waiting_since: float) -> None:
        lane = self.lane
        if offset < lane.next_offset:
            logger.error(
                "offsets of a partition went back: its topic was made anew or cut, and what it held is gone",
                extra={"topic": lane.topic, "partition": lane.partition, "was": lane.next_offset, "is": offset},
            )
        lane.next_offset = offset + records
        disposed = lane.dispose(records)
        self._producer.fault = None
        waited = time.monotonic() - waiting_since
        size = sum([len(record[1] or b"") for record in disposed])
        self._outcomes.on_acknowledged(Acknowledged(lane.topic, records, disposed[0][2], waited), size)

    def _reject(self, reason: str) -> None:
        lane = self.lane
        record = lane.refuse()
        logger.error(
            "kafka refused a record", extra={"topic": lane.topic, "partition": lane.partition, "reason": reason}
        )
        self._outcomes.on_rejected(Rejected(lane.topic, lane.partition, record, reason))

    def _trouble(self, error: BaseException) -> None:
        """What /readyz and the log say while nothing is acknowledged."""
        lane = self.lane
        told = self._producer.told(error)
        if isinstance(error, NoSuchPartitionError) and told != lane.trouble:
            extra = {"topic": lane.topic, "partition": lane.partition, "waiting": len(lane.pending), "error": told}
            logger.error("a topic cannot be written to; its records wait", extra=extra)
        lane.trouble = self._producer.fault = told

    async def _failed(self, error: BaseException, backoff: Backoff) -> None:
        self.failures += 1
        self._trouble(error)
        delay = backoff.next_delay_seconds()
        extra = {"topic": self.lane.topic, "partition": self.lane.partition, "in_seconds": round(delay, 1)}
        logger.error("a sender failed; it begins again", exc_info=error, extra=extra)
        await asyncio.sleep(delay)
