"""Sends the records of one partition, one batch at a time, until Kafka has acknowledged or finally refused each.

The sender takes all waiting records as one batch; the next ones gather while Kafka acknowledges it. Records read from a
socket in one piece thus leave in one batch, and a burst leaves in large batches.
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
from backpack_streams.bus.partition_queue import Acknowledged, PartitionQueue, Rejected
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
"""Errors caused by the record itself. A missing topic or partition is not one of them."""


class Outcomes(Protocol):
    """Receives the outcome of each record."""

    def on_acknowledged(self, batch: Acknowledged, size_bytes: int) -> None:
        """Take a batch that all in-sync replicas have. `size_bytes` counts its values."""

    def on_rejected(self, rejected: Rejected) -> None:
        """Take a record that Kafka will never accept."""

    def on_deleted(self, topic: str) -> None:
        """Take a topic (its full name) that no longer has the records that it had acknowledged."""


class Sender:
    """The sender of one partition.

    Attributes:
        partition_queue: its queue.
        may_send: while cleared, no further batch is started.
        failures: how many unexpected errors occurred.
    """

    def __init__(self, partition_queue: PartitionQueue, producer: ProducerInUse, outcomes: Outcomes) -> None:
        self.partition_queue = partition_queue
        self.may_send = asyncio.Event()
        self.may_send.set()
        self._producer = producer
        self._outcomes = outcomes
        self.failures = 0

    async def run(self) -> None:
        """Send until the queue has ended and is empty. No error ends it: failed batches are retried with a growing delay."""
        backoff = retries()
        most: int | None = None
        while await self.partition_queue.filled():
            await self.may_send.wait()
            try:
                most = await self._send_batch(most)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                await self._failed(RuntimeError("an awaited operation was cancelled"), backoff)
            except (KafkaError, OSError, BackpackStreamsError) as error:
                self._trouble(error)
                await asyncio.sleep(backoff.next_delay_seconds())
            except Exception as error:  # noqa: BLE001  # any error: a sender must not end while records come
                await self._failed(error, backoff)
            else:
                backoff.reset()

    async def _send_batch(self, most: int | None) -> int | None:
        """Try to send one batch of at most `most` records. Returns the limit for the next batch: halving finds the record
        at fault.
        """
        partition_queue, producer = self.partition_queue, self._producer.now
        waiting_since = partition_queue.take()
        batch, records, reason = self._build(producer, most)
        size = batch.size()
        if not records:
            self._reject(reason)
            return None
        partition_queue.buffer.in_flight_bytes += size
        try:
            offset = await producer.send(batch, partition_queue.topic, partition_queue.partition)
        except NoSuchPartitionError:
            raise
        except _RECORD_AT_FAULT as error:
            await self._producer.replace(producer, error)
            if records > 1:
                return records // 2
            self._reject(str(error) or type(error).__name__)
            return None
        except Exception as error:  # raised below; the producer's sequence numbers are in doubt
            self._trouble(error)
            await self._producer.replace(producer, error)
            raise
        finally:
            partition_queue.buffer.in_flight_bytes -= size
        self._acknowledged(offset, records, waiting_since)
        return None

    def _build(self, producer: KafkaProducer, most: int | None) -> tuple[Batch, int, str]:
        """Return a batch of the first pending records, their number, and why the first does not fit if the number is 0."""
        batch = producer.new_batch()
        room = self.partition_queue.buffer.batch_bytes(BATCH_BYTES)
        records = 0
        reason = f"larger than a batch may be ({BATCH_BYTES} bytes)"
        for key, value, timestamp_ms in islice(self.partition_queue.pending, most):
            try:
                if batch.append(timestamp=timestamp_ms, key=key, value=value) is None:
                    break
            except Exception as error:  # noqa: BLE001  # aiokafka can never encode it, e.g. because its time is out of range
                reason = f"it cannot be encoded: {error!r}"
                break
            records += 1
            if batch.size() >= room:
                break
        batch.close()
        return batch, records, reason

    def _acknowledged(self, offset: int, records: int, waiting_since: float) -> None:
        partition_queue = self.partition_queue
        if offset < partition_queue.next_offset:
            logger.error(
                "offsets of a partition went back: its topic was recreated or truncated, and its former records are gone",
                extra={
                    "topic": partition_queue.topic,
                    "partition": partition_queue.partition,
                    "was": partition_queue.next_offset,
                    "is": offset,
                },
            )
            self._outcomes.on_deleted(partition_queue.topic)
        partition_queue.next_offset = offset + records
        disposed = partition_queue.dispose(records)
        self._producer.fault = None
        waited = time.monotonic() - waiting_since
        size = sum([len(record[1] or b"") for record in disposed])
        self._outcomes.on_acknowledged(Acknowledged(partition_queue.topic, records, disposed[0][2], waited), size)

    def _reject(self, reason: str) -> None:
        partition_queue = self.partition_queue
        record = partition_queue.refuse()
        logger.error(
            "kafka refused a record",
            extra={"topic": partition_queue.topic, "partition": partition_queue.partition, "reason": reason},
        )
        self._outcomes.on_rejected(Rejected(partition_queue.topic, partition_queue.partition, record, reason))

    def _trouble(self, error: BaseException) -> None:
        """Note the failure that /readyz and the log report while nothing is acknowledged."""
        partition_queue = self.partition_queue
        told = self._producer.told(error)
        if isinstance(error, NoSuchPartitionError) and told != partition_queue.trouble:
            extra = {
                "topic": partition_queue.topic,
                "partition": partition_queue.partition,
                "waiting": len(partition_queue.pending),
                "error": told,
            }
            logger.error("a topic is not writable; its records wait", extra=extra)
        partition_queue.trouble = self._producer.fault = told

    async def _failed(self, error: BaseException, backoff: Backoff) -> None:
        self.failures += 1
        self._trouble(error)
        delay = backoff.next_delay_seconds()
        extra = {
            "topic": self.partition_queue.topic,
            "partition": self.partition_queue.partition,
            "in_seconds": round(delay, 1),
        }
        logger.error("a sender failed; restarting it", exc_info=error, extra=extra)
        await asyncio.sleep(delay)
