"""Reads from Kafka and from the services' HTTP pages what the demo shows, and passes it to the board."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Any, Final

import httpx

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.demo.board import Board
from backpack_streams.demo.ports import HOST
from backpack_streams.demo.program import Program
from backpack_streams.demo.program_states import ProgramStates
from backpack_streams.demo.service_report import read_reasons, read_report
from backpack_streams.errors import CodecError
from backpack_streams.gateway.changes import BOOK, Change
from backpack_streams.screen.reading import PlantReading

__all__ = ["Observer"]

logger = logging.getLogger(__name__)

_TICK_SECONDS: Final = 0.25
_REPORTS_MILLIS: Final = 500
_SERVICES_SECONDS: Final = 2.0
_ANSWER_SECONDS: Final = 2.0
_MAX_AGE_SECONDS: Final = 5.0
_GAPS, _DEAD_LETTERS = "ops.gap", "ops.dead_letter"


class Observer:
    """Open it once the topics exist and before a service writes: reports that come later belong to this demo."""

    def __init__(
        self, connection: KafkaConnection, codec: Codec, topic_prefix: str, programs: ProgramStates, started_at: float
    ) -> None:
        """Prepare; `open` connects.

        Args:
            connection: how to reach Kafka.
            codec: decodes the records.
            topic_prefix: what the names of the topics begin with.
            programs: takes the services' reports.
            started_at: when the demo began, monotonic seconds.
        """
        self._programs = programs
        self._prefix = topic_prefix
        self._codec = codec
        self._plant = PlantReading(connection, codec, topic_prefix, _MAX_AGE_SECONDS)
        self._reports = Reader(connection, codec)
        self._stack = AsyncExitStack()
        self.board = Board(started_at, programs, self._plant.view)

    async def open(self) -> None:
        """Connect, and pass over the reports that are in Kafka already.

        Raises:
            BusError: Kafka cannot be reached, or a topic is missing.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._reports)
            topic_partitions = [
                each
                for name in (_GAPS, _DEAD_LETTERS)
                for each in await self._reports.topic_partitions(self._prefix + name)
            ]
            self._reports.follow(await self._reports.ends(topic_partitions))
            self._stack = stack.pop_all()

    async def close(self) -> None:
        """Disconnect. Does nothing if not open."""
        await self._stack.aclose()

    async def watch_kafka(self) -> None:
        """Pass what arrives in Kafka to the board, until cancelled.

        Raises:
            BusError: Kafka refuses. If Kafka does not answer, the observer waits.
        """
        self._plant.data.subscribe(self._take_change)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._plant.run())
            group.create_task(self._follow_reports())
            group.create_task(self._tick())

    async def watch_services(self, services: Sequence[tuple[Program, int]]) -> None:
        """Note every two seconds what the services report on their metrics ports, until cancelled. One that does not answer is skipped.

        Args:
            services: each service and its metrics port on loopback.
        """
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
            while True:
                for program, port in services:
                    await self._ask(client, program, port)
                await asyncio.sleep(_SERVICES_SECONDS)

    async def watch_address(self, program: Program, url: str) -> None:
        """Note every two seconds that a program without a metrics port is ready, if it answers; until cancelled.

        Args:
            program: the program.
            url: what to request; any 2xx answer will do.
        """
        async with httpx.AsyncClient(timeout=_ANSWER_SECONDS, trust_env=False) as client:
            while True:
                with suppress(httpx.HTTPError):  # not listening
                    pid = program.pid
                    if (await client.get(url)).is_success and pid is not None and program.pid == pid:
                        self._programs.saw_ready(program.name, time.monotonic())
                await asyncio.sleep(_SERVICES_SECONDS)

    def _take_change(self, change: Change) -> None:
        if change.channel == BOOK and (market := self._plant.data.books().get(change.symbol)) is not None:
            self.board.saw_book(market)

    async def _follow_reports(self) -> None:
        take: Mapping[str, Callable[[bytes | None], None]] = {
            self._prefix + _GAPS: self._take_gap,
            self._prefix + _DEAD_LETTERS: self._take_dead_letter,
        }
        while True:
            for topic_partition, batch in (await self._reports.poll(_REPORTS_MILLIS)).items():
                for record in batch:
                    take[topic_partition.topic](record.value)

    async def _tick(self) -> None:
        """Let the board's time pass even while Kafka does not answer."""
        while True:
            now = time.monotonic()
            self.board.saw_listing(self._plant.open_books(), now)
            self.board.tick(now)
            await asyncio.sleep(_TICK_SECONDS)

    def _take_gap(self, value: bytes | None) -> None:
        if (row := self._decoded(value)) is not None:
            self.board.saw_gap(row)

    def _take_dead_letter(self, value: bytes | None) -> None:
        if (row := self._decoded(value)) is not None:
            self.board.saw_dead_letter(row)

    def _decoded(self, value: bytes | None) -> Mapping[str, Any] | None:
        try:
            return self._codec.decode(value or b"")[1]
        except CodecError as error:  # any program may write to the demo's Kafka
            logger.warning("a record cannot be read", extra={"error": str(error)})
            return None

    async def _ask(self, client: httpx.AsyncClient, program: Program, port: int) -> None:
        page, pid = f"http://{HOST}:{port}", program.pid
        try:
            report = read_report((await client.get(f"{page}/metrics")).text)
            if not report.is_ready:
                report = replace(report, reasons=read_reasons((await client.get(f"{page}/readyz")).text))
        except (httpx.HTTPError, ValueError) as error:  # not up yet, or too busy; its end would be noticed elsewhere
            logger.info("a service does not answer", extra={"service": program.name, "error": str(error)})
            return
        note = "" if report.is_ready else await asyncio.to_thread(program.latest_trouble)
        if program.pid == pid:  # not the answer of a run that has ended meanwhile
            self._programs.saw_report(program.name, report, note, time.monotonic())
