"""Programs that read records: one all the time, which leaves its loop every few records, and one that starts after the end."""

import asyncio
import time
from collections.abc import Collection, Mapping

from backpack_streams.books import Gap, RecordStream, StreamedRecord
from faults.campaign.leaving import leave_often
from faults.campaign.readers import Program
from faults.campaign.record_judge import Given, GivenTrade, Stream
from faults.campaign.truth import Identity
from plant import Plant

FAMILIES = ("depth", "trade")
"""The stream specs that they read."""
_TOPICS = ("market.depth", "market.trade")
_LEAVES_AFTER = 3
_QUIET_SECONDS = 2.0
_LOOK_SECONDS = 0.2


def take(given: Given, item: StreamedRecord | Gap) -> None:
    """Record an item of a stream."""
    if isinstance(item, Gap):
        given.hole(item.symbol, item.first_id, item.last_id)
        return
    value = item.value
    if item.name == "Trade":
        time_us = value["engine_time"] or value["event_time"] or 0
        trade = GivenTrade(value["trade_id"], time_us, item.partition, item.offset, item.is_late)
        given.trade(item.symbol, trade)
    else:
        given.record("depth", item.symbol, (value["first_update_id"], value["last_update_id"]))


class RecordReader(Program):
    """Reads depth updates and trades from the beginning, and leaves the loop every few records."""

    def __init__(self, plant: Plant) -> None:
        super().__init__(plant, "records")
        self.given = Given()
        """Since it joined last."""

    def _session(self) -> None:
        asyncio.run(self._read())

    async def _read(self) -> None:
        plant = self._plant
        async with RecordStream(plant.access.kafka, _TOPICS, start="beginning", topic_prefix=plant.prefix) as records:
            self.joins += 1
            given = self.given = Given()
            await self._meanwhile(leave_often(records, lambda item: take(given, item), _LEAVES_AFTER), lambda: None)

    def wait_for(self, kept: Mapping[Stream, Collection[Identity]], seconds: float) -> None:
        """Wait until it was given all records in Kafka, or time is up."""
        deadline = time.monotonic() + seconds
        while self.given.missing(kept, FAMILIES) and time.monotonic() < deadline:
            time.sleep(_LOOK_SECONDS)


async def _read_to_the_end(plant: Plant) -> Given:
    given = Given()
    loop = asyncio.get_running_loop()
    async with RecordStream(plant.bootstrap_servers, _TOPICS, start="beginning", topic_prefix=plant.prefix) as records:
        while not records.is_caught_up or records.waiting or not given.counts:
            try:
                async with asyncio.timeout(_QUIET_SECONDS) as quiet:
                    async for item in records:
                        take(given, item)
                        quiet.reschedule(loop.time() + _QUIET_SECONDS)
            except TimeoutError:
                pass
    return given


def read_from_the_beginning(plant: Plant, seconds: float = 60.0) -> Given:
    """The records given to a reader that starts after the end and reads everything."""
    return asyncio.run(asyncio.wait_for(_read_to_the_end(plant), seconds))
