"""Plays the records of a recording at their own pace times the speed, or as fast as the slowest subscriber reads."""

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Iterator

from backpack_sandbox.flow import all_writable
from backpack_sandbox.hub import Hub
from backpack_sandbox.replay.answers import Answers
from backpack_sandbox.replay.choice import OneSocket, stream_of
from backpack_sandbox.replay.settings import ReplaySettings
from backpack_streams.recording.reading import RecordingReader
from backpack_streams.recording.records import SOCKET_ENDED, About, Exchange, Frame, Note, Record, Streams

logger = logging.getLogger(__name__)

_OPENING_US = 60_000_000
_OPENING_RECORDS = 400_000
_CHUNK_RECORDS = 256
_IDLE_SECONDS = 0.005
_SHORTEST_WAIT_SECONDS = 0.002
_LONGEST_WAIT_SECONDS = 0.02


class Player:
    """One playback of a recording.

    Attributes:
        answers: REST answers as of now.
        streams: the streams that were subscribed when the recording began.
        now_us: the recording's clock, µs since the Unix epoch.
        first_us: the recording's clock at its begin, µs since the Unix epoch.
        played: number of frames played so far, by stream.
        skipped: number of frames that name no stream, or that a second recorder recorded at the same time.
        is_done: whether everything has been played.
    """

    def __init__(self, reader: RecordingReader, hub: Hub, settings: ReplaySettings) -> None:
        """Prepare a playback; `open` reads, `run` plays.

        Args:
            reader: reads the recording, part after part.
            hub: publishes the frames to its subscribers.
            settings: the speed and the start.
        """
        self._reader = reader
        self._hub = hub
        self._settings = settings
        self._batches: Iterator[list[Record]] = reader.batches()
        self._opening: deque[list[Record]] = deque()
        self._sockets: dict[str, OneSocket] = {}
        self._run = ""
        self._overlap_until_us = 0
        self.answers = Answers()
        self.streams: tuple[str, ...] = ()
        self.now_us = reader.parts[0].about.at_us
        self.first_us = self.now_us
        self.played: Counter[str] = Counter()
        self.skipped = 0
        self.is_done = False

    async def open(self) -> None:
        """Read the first minute, or 400,000 records if that is less: its answers are the REST answers before the playback begins.

        Raises:
            RecordingError: a file cannot be read.
        """
        count = 0
        while count < _OPENING_RECORDS:
            batch = await self._read()
            if batch is None:
                break
            self._opening.append(batch)
            count += len(batch)
            for record in batch:
                if isinstance(record, Exchange):
                    self.answers.take_first(record)
                elif isinstance(record, Streams) and not self.streams:
                    self.streams = record.names
            if batch and batch[-1].at_us - self.first_us > _OPENING_US:
                break

    async def run(self) -> None:
        """Wait for the start, then play to the end.

        Raises:
            RecordingError: a file can no longer be read.
        """
        await self._wait_for_start()
        logger.info("playing", extra={"from_us": self.now_us, "streams": len(self._hub.subscribed())})
        began = asyncio.get_running_loop().time()
        reading = asyncio.create_task(self._next_batch())
        try:
            while (batch := await reading) is not None:
                reading = asyncio.create_task(self._next_batch())
                await (self._rush(batch) if self._settings.speed == "max" else self._keep_time(batch, began))
        finally:
            reading.cancel()
        for stream, socket in self._sockets.items():
            self._publish(stream, socket.end())
        await self._let_go()
        self.is_done = True
        logger.info("played", extra={"frames": self.played.total(), "to_us": self.now_us, "skipped": self.skipped})

    async def _wait_for_start(self) -> None:
        loop = asyncio.get_running_loop()
        start, seen, changed_at = self._settings.start, 0, loop.time()
        while start != "now":
            here = self._hub.subscriptions_made
            if here != seen:
                seen, changed_at = here, loop.time()
            subscribed = self._hub.subscribed()
            if start == "all-streams" and subscribed.issuperset(self.streams):
                return
            is_quiet = loop.time() - changed_at >= self._settings.settle_seconds
            if start == "first-subscriber" and subscribed and is_quiet:
                return
            await asyncio.sleep(_IDLE_SECONDS)

    async def _read(self) -> list[Record] | None:
        return await asyncio.to_thread(next, self._batches, None)

    async def _next_batch(self) -> list[Record] | None:
        return self._opening.popleft() if self._opening else await self._read()

    async def _rush(self, batch: list[Record]) -> None:
        for at in range(0, len(batch), _CHUNK_RECORDS):
            while self._settings.start != "now" and not self._hub.subscribed():  # noqa: ASYNC110  # the hub has no event
                await asyncio.sleep(_IDLE_SECONDS)  # no client would receive it
            for record in batch[at : at + _CHUNK_RECORDS]:
                self._play(record)
            await self._let_go()

    async def _keep_time(self, batch: list[Record], began: float) -> None:
        loop, speed = asyncio.get_running_loop(), float(self._settings.speed)
        for record in batch:
            due = began + (record.at_us - self.first_us) / 1_000_000 / speed
            while (left := due - loop.time()) > 0:
                await self._let_go()
                self.now_us = max(self.now_us, self.first_us + int((loop.time() - began) * speed * 1_000_000))
                await asyncio.sleep(min(_LONGEST_WAIT_SECONDS, max(_SHORTEST_WAIT_SECONDS, left)))
            self._play(record)
        await self._let_go()

    async def _let_go(self) -> None:
        self._hub.flush()
        await all_writable(self._hub)
        await asyncio.sleep(0)

    def _play(self, record: Record) -> None:
        if record.at_us <= self._overlap_until_us:
            self.skipped += isinstance(record, Frame)
            return
        self.now_us = max(self.now_us, record.at_us)
        match record:
            case Frame(at_us, socket, payload):
                stream = stream_of(payload)
                if stream is None:
                    self.skipped += 1
                    return
                chosen = self._sockets.get(stream)
                if chosen is None:
                    chosen = self._sockets[stream] = OneSocket()
                self._publish(stream, chosen.take(socket, payload, at_us))
            case Exchange():
                self.answers.take(record)
            case Note(at_us, kind, _, socket) if kind in SOCKET_ENDED and socket is not None:
                for stream, chosen in self._sockets.items():
                    self._publish(stream, chosen.gone(socket, at_us))
            case About(_, run) if run != self._run:
                self._begin_run(run)

    def _begin_run(self, run: str) -> None:
        """Begin another run of the recorder: its sockets are others. Records that overlap the previous run were played already."""
        for stream, chosen in self._sockets.items():
            self._publish(stream, chosen.end())
        self._sockets.clear()
        self._overlap_until_us = self.now_us if self._run else 0
        self._run = run

    def _publish(self, stream: str, payloads: list[bytes]) -> None:
        if payloads:
            self.played[stream] += len(payloads)
            self._hub.publish([(stream, payload) for payload in payloads], self.now_us)
