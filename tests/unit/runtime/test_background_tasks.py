"""If a background task ends, its service ends, and /healthz reports it at once, however long the service takes to stop."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from backpack_streams.book_builder.builder import Builder
from backpack_streams.book_builder.settings import BookBuilderSettings
from backpack_streams.bus.publisher import Publisher
from backpack_streams.commands.record.service import Recorder
from backpack_streams.commands.record.settings import RecorderSettings
from backpack_streams.commands.record.tape import Tape
from backpack_streams.exchange.connection import Connection
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.feed.listed_streams import listed_producer
from backpack_streams.market_producer.service import STREAM_SPECS
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.rest_poller.poller import Poller
from backpack_streams.rest_poller.settings import RestPollerSettings
from backpack_streams.runtime.loop import BackgroundTasks

NOWHERE = "127.0.0.1:9"
SERVICES: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "producer": (
        lambda _: listed_producer("market-producer", MarketProducerSettings(bootstrap_servers=NOWHERE), STREAM_SPECS),
        ("sockets", "tick", "publisher", "markets", "clock", "disproofs"),
    ),
    "poller": (
        lambda _: Poller(RestPollerSettings(bootstrap_servers=NOWHERE)),
        ("/api/v1/assets", "snapshots", "refiller", "reports", "publisher", "clock"),
    ),
    "builder": (
        lambda _: Builder(BookBuilderSettings(bootstrap_servers=NOWHERE)),
        ("reading", "partitions", "reports", "publisher"),
    ),
    "recorder": (
        lambda folder: Recorder(RecorderSettings(), folder / "recording"),
        ("sockets", "markets", "books", "rest"),
    ),
}
CASES = [(service, task) for service, (_, tasks) in SERVICES.items() for task in tasks]


class Staged:
    """Replaces `asyncio.create_task`: every task of a service waits for ever, except one, which fails."""

    def __init__(self, failing: str) -> None:
        self._create = asyncio.create_task
        self._failing = failing
        self.names: list[str] = []

    def __call__(self, work: Coroutine[Any, Any, Any], *, name: str | None = None) -> "asyncio.Task[Any]":
        if name in (None, "stop"):
            return self._create(work, name=name)
        work.close()
        self.names.append(str(name))
        return self._create(self._fail() if name == self._failing else asyncio.Event().wait(), name=name)

    async def _fail(self) -> None:
        raise ZeroDivisionError("oops")


@pytest.mark.parametrize(("service", "task"), CASES)
async def test_the_end_of_each_task_is_reported_while_its_service_stops(
    service: str, task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_leave = asyncio.Event()

    async def slowly(*_: object, **__: object) -> int:
        await may_leave.wait()
        return 0

    monkeypatch.setattr(Publisher, "close", slowly)  # as if Kafka were slow to accept the last records
    monkeypatch.setattr(Tape, "close", slowly)
    running_service = SERVICES[service][0](tmp_path)
    assert running_service.failures() == []
    create, staged = asyncio.create_task, Staged(task)
    monkeypatch.setattr(asyncio, "create_task", staged)
    running = create(running_service.run(asyncio.Event()))
    try:
        async with asyncio.timeout(5):
            while not running_service.failures():  # noqa: ASYNC110  # /healthz is queried from outside
                await asyncio.sleep(0.01)
        said, is_over = running_service.failures(), running.done()
    finally:
        may_leave.set()
        running.cancel()
        await asyncio.wait({running}, timeout=5)
    assert task in staged.names
    assert said == [f"the task {task!r} ended although nothing asked it to (ZeroDivisionError: oops)"]
    assert not is_over


async def test_a_task_that_returns_has_failed_too() -> None:
    background = BackgroundTasks()
    await background.first_to_end([asyncio.create_task(asyncio.sleep(0), name="a")], asyncio.Event())
    assert background.failures == ["the task 'a' ended although nothing asked it to"]


async def test_a_stop_and_the_end_of_an_optional_task_are_no_failures() -> None:
    background, stop = BackgroundTasks(), asyncio.Event()
    tasks = [asyncio.create_task(asyncio.sleep(60), name="a")]
    start = asyncio.create_task(asyncio.sleep(0), name="start")
    running = asyncio.create_task(background.first_to_end(tasks, stop, start))
    await start
    await asyncio.sleep(0)
    assert not running.done()
    stop.set()
    await running
    assert background.failures == []
    tasks[0].cancel()


async def test_an_optional_task_may_not_fail() -> None:
    async def fail() -> None:
        raise ZeroDivisionError("oops")

    background = BackgroundTasks()
    with pytest.raises(ZeroDivisionError):
        await background.first_to_end([], asyncio.Event(), asyncio.create_task(fail(), name="start"))
    assert background.failures == ["the task 'start' ended although nothing asked it to (ZeroDivisionError: oops)"]


async def test_a_fault_while_handling_a_socket_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(
        "ws://127.0.0.1:9", lambda socket_id, payload: None, settings=ConnectionSettings(stop_timeout_seconds=0.5)
    )

    def broken(*_: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(connection, "socket_failed", broken)
    with pytest.raises(ZeroDivisionError):
        async with asyncio.timeout(10):
            await connection.run(asyncio.Event())
