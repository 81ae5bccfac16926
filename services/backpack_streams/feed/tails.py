"""What was published last on each stream, read from the tails of the topics: a restart that missed nothing records no gap."""

import logging
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import Any, NamedTuple, Self

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Place, Reader
from backpack_streams.errors import CodecError

logger = logging.getLogger(__name__)

RECORDS_A_PARTITION = 20_000
"""How far back each partition is read; a symbol that was quiet for longer counts as one never seen."""
_POLL_MILLIS = 1000
_EMPTY_POLLS_AT_MOST = 10


class Last(NamedTuple):
    """The last record of a symbol in a topic: its last id, its time and its received time in microseconds.

    Of candles the id is where the last closed one ended, or where the oldest open one found started if none was closed.
    """

    last_id: int
    time_us: int
    received_us: int


ID_FIELDS = {"DepthUpdate": "last_update_id", "Trade": "trade_id"}
"""The id that chains a record's topic."""
_REST = "REST"


class TailReader:
    """Reads the ends of topics, and again what came since. Use as an async context manager.

    `found` is the last record by (topic, symbol), full topic names.
    """

    def __init__(self, connection: KafkaConnection, codec: Codec, topics: Iterable[str]) -> None:
        self.found: dict[tuple[str, str], Last] = {}
        self._codec = codec
        self._topics = list(topics)
        self._reader = Reader(connection, codec)
        self._places: list[Place] = []

    async def __aenter__(self) -> Self:
        """Connects, and reads the tails as they are now.

        Raises:
            BusError: Kafka cannot be reached, or a topic does not exist.
        """
        await self._reader.__aenter__()
        try:
            self._places = [place for topic in self._topics for place in await self._reader.places(topic)]
            ends = await self._reader.ends(self._places)
            beginnings = await self._reader.beginnings(self._places)
            self._reader.assign(
                {place: max(beginnings[place], ends[place] - RECORDS_A_PARTITION) for place in self._places}
            )
            await self._read_to(ends)
        except BaseException:  # whatever it was, the connection must not outlive it
            await self._reader.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._reader.__aexit__(kind, error, trace)

    async def read_on(self) -> None:
        """Reads what came since.

        Raises:
            BusError: Kafka cannot be reached.
        """
        await self._read_to(await self._reader.ends(self._places))

    async def _read_to(self, ends: Mapping[Place, int]) -> None:
        waiting = {place for place in self._places if await self._reader.position(place) < ends[place]}
        empty_polls = 0
        while waiting and empty_polls < _EMPTY_POLLS_AT_MOST:
            records = await self._reader.poll(_POLL_MILLIS)
            empty_polls = 0 if records else empty_polls + 1
            for partition, batch in records.items():
                for record in batch:
                    _note(self.found, self._codec, partition.topic, record.value)
            for place in list(waiting):
                if await self._reader.position(place) >= ends[place]:
                    waiting.discard(place)
        _warn_of(waiting, ends)


def _warn_of(waiting: set[Place], ends: Mapping[Place, int]) -> None:
    for place in waiting:
        logger.warning("tail not read to its end", extra={"topic": place[0], "partition": place[1], "end": ends[place]})


def _note(found: dict[tuple[str, str], Last], codec: Codec, topic: str, value: bytes | None) -> None:
    if value is None:
        return
    try:
        name, record = codec.decode(value)
    except CodecError as error:  # a foreign record says nothing of our streams
        logger.warning("tail holds a record that cannot be read", extra={"topic": topic, "error": str(error)})
        return
    if record.get("source") == _REST:
        return  # what REST brought says nothing of where the stream stood
    if name == "Kline":
        _note_candle(found, topic, record)
        return
    engine_time, event_time = record.get("engine_time"), record.get("event_time")
    time_us = engine_time if engine_time is not None else event_time or 0
    last_id = record.get(ID_FIELDS.get(name, "event_time")) or 0
    symbol = record.get("symbol", "")
    # A duplicate of an older record may follow a newer one; a sequence that began anew comes with lower ids and a later time.
    earlier = found.get((topic, symbol))
    if earlier is None or (time_us, last_id) >= (earlier.time_us, earlier.last_id):
        found[topic, symbol] = Last(last_id, time_us, record.get("received_time") or 0)


def _note_candle(found: dict[tuple[str, str], Last], topic: str, candle: Mapping[str, Any]) -> None:
    """Candles of all intervals share a topic. A closed one tells more than an open one, the latest closed one most."""
    key = topic, f"{candle['interval']}.{candle['symbol']}"
    earlier, received_us = found.get(key), candle["received_time"]
    if candle["is_closed"]:
        if earlier is None or not earlier.time_us or candle["end_time"] > earlier.last_id:
            found[key] = Last(candle["end_time"], candle["end_time"], received_us)
    elif earlier is None or (not earlier.time_us and candle["start_time"] < earlier.last_id):
        found[key] = Last(candle["start_time"], 0, received_us)


def last_of(tails: Mapping[tuple[str, str], Last], topic: str, symbol: str, interval: str | None = None) -> Last | None:
    """The last record of one symbol in a topic, or of any symbol (empty `symbol`: a stream of all markets).

    Streams of candles give their interval.
    """
    if interval is not None:
        return tails.get((topic, f"{interval}.{symbol}"))
    if symbol:
        return tails.get((topic, symbol))
    found = [last for (of_topic, _), last in tails.items() if of_topic == topic]
    return max(found, key=lambda last: last.received_us, default=None)
