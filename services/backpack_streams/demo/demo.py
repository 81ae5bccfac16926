"""The demo itself: starts every program in order, watches all of them, and stops them in an order that loses nothing."""

import asyncio
import logging
import os
import signal
import time
from contextlib import suppress
from typing import Final, NoReturn

import httpx

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.governance import register, subjects
from backpack_streams.bus.registry import KnownSchemas
from backpack_streams.bus.registry_client import Registry, RegistryClient, RegistryConnection
from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import TOPICS
from backpack_streams.demo.account import DemoAccount
from backpack_streams.demo.command_lines import (
    SANDBOX,
    child_environment,
    has_account,
    sandbox_command,
    service_command,
    services,
)
from backpack_streams.demo.display import Display
from backpack_streams.demo.errors import DemoError
from backpack_streams.demo.folder import DemoFolder
from backpack_streams.demo.observer import Observer
from backpack_streams.demo.place import Place
from backpack_streams.demo.ports import HOST, DemoPorts
from backpack_streams.demo.program import Program
from backpack_streams.demo.settings import DemoSettings
from backpack_streams.embedded import EmbeddedKafka, EmbeddedRegistry
from backpack_streams.embedded.ports import free_ports
from backpack_streams.errors import EmbeddedError

__all__ = ["Demo"]

logger = logging.getLogger(__name__)

TOPIC_PREFIX: Final = "backpack."
# On a machine that is busy for a while, a lone broker must not fence itself off (after 9 s by default).
KAFKA_PROPERTIES: Final = {"broker.session.timeout.ms": "60000"}
TOPICS_KNOWN_SECONDS: Final = 30.0
SANDBOX_START_SECONDS: Final = 60.0
SERVICE_GRACE_SECONDS: Final = 15.0
SANDBOX_GRACE_SECONDS: Final = 5.0
OBSERVER_CLOSE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1


class Demo:
    """One demo. Call `run`; `kill` ends a stop that takes too long."""

    def __init__(self, settings: DemoSettings, ports: DemoPorts, folder: DemoFolder, display: Display) -> None:
        self._settings = settings
        self._ports = ports
        self._display = display
        self._logs = folder.logs
        self._place = Place(ports, str(folder.logs))
        self._kafka = EmbeddedKafka(
            folder.kafka, ports.kafka, log_dir=folder.logs, announce=display.say, properties=KAFKA_PROPERTIES
        )
        self._account = DemoAccount(folder.account_key) if has_account(settings) else None
        self._registry: EmbeddedRegistry | None = None
        self._codec = Codec()
        self._subjects: Registry | None = None
        if ports.registry is not None and ports.registry_url is not None:
            self._subjects = RegistryClient(RegistryConnection(ports.registry_url))
            self._codec = Codec(KnownSchemas(self._subjects))
            self._registry = EmbeddedRegistry(
                folder.registry, ports.registry, log_dir=folder.logs, announce=display.say
            )
        self._observer: Observer | None = None
        self._sandbox: Program | None = None
        self._services: list[Program] = []
        self._started_at = time.monotonic()
        self.is_stopping = False
        """Whether the stop has begun: it must not be cancelled."""

    async def run(self) -> NoReturn:
        """Start everything and keep it running until cancelled; after that, or after a failure, nothing runs.

        Raises:
            BackpackStreamsError: a program could not be started, or ended unexpectedly; one line says which and why.
            OSError: the output's reader is gone.
        """
        try:
            async with asyncio.TaskGroup() as group:
                await self._start(group)
        except ExceptionGroup as failures:
            raise _first(failures) from None
        finally:
            await self._stop()
        raise DemoError("the demo ended although nothing asked it to; its logs say what came before")

    def kill(self) -> None:
        """Send SIGKILL to every program."""
        for program in (*self._services, *filter(None, [self._sandbox])):
            program.kill()
        for pid in self._kafka.broker_pids.values():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.kill(pid, signal.SIGKILL)
        if self._registry is not None:
            self._registry.kill()

    # Start.

    async def _start(self, group: asyncio.TaskGroup) -> None:
        say = self._display.say
        say(f"logs are in {self._logs}")
        async with asyncio.TaskGroup() as starting:
            starting.create_task(self._kafka.start())
            if self._registry is not None:
                starting.create_task(self._registry.start())
        group.create_task(self._kafka.wait(), name="kafka")
        say(f"kafka ready on {self._kafka.bootstrap_servers} after {self._up_seconds():.1f} s")
        connection = KafkaConnection(self._kafka.bootstrap_servers, client_id="backpack-streams-demo")
        await _make_topics(TopicAdmin(connection, TOPIC_PREFIX))
        say(f"{len(TOPICS)} topics ready")
        if self._registry is not None and self._subjects is not None:
            await asyncio.to_thread(_register_all, self._subjects)
            group.create_task(self._watch_registry(self._registry), name="registry")
            say(f"schema registry ready on {self._registry.url}, all schemas registered")
        is_of_now = self._settings.recording is None
        observer = self._observer = Observer(
            connection, self._codec, TOPIC_PREFIX, self._started_at, measures_lag=is_of_now
        )
        await observer.open()
        if not self._settings.live:
            self._sandbox = self._program(SANDBOX, sandbox_command(self._settings, self._ports, self._account))
            await self._launch(self._sandbox, group)
            await _until_it_answers(self._sandbox, f"{self._ports.rest_url}/api/v1/ping")
        say("taking the real exchange" if self._settings.live else f"sandbox ready on {self._place.sandbox}")
        started = await self._start_services(group)
        group.create_task(observer.watch_kafka(), name="kafka-observer")
        group.create_task(observer.watch_services(started), name="service-observer")
        group.create_task(self._display.show(observer.board, self._place), name="display")

    async def _watch_registry(self, registry: EmbeddedRegistry) -> None:
        """Report the registry's end; the demo goes on, because the services have the schemas that they need."""
        try:
            await registry.wait()
        except EmbeddedError as error:
            self._display.say(f"{error}; everything else goes on")

    async def _start_services(self, group: asyncio.TaskGroup) -> list[tuple[Program, int]]:
        # Picked at the last moment, so that no other program takes one in between.
        names = services(self._settings)
        ports = free_ports(len(names), HOST)
        for name, port in zip(names, ports, strict=True):
            program = self._program(name, service_command(name, self._settings, self._ports, port, self._account))
            self._services.append(program)
            await self._launch(program, group)
        self._display.say(f"{', '.join(names)} started")
        return list(zip(self._services, ports, strict=True))

    def _program(self, name: str, command: list[str]) -> Program:
        return Program(name, command, child_environment(os.environ), self._logs)

    async def _launch(self, program: Program, group: asyncio.TaskGroup) -> None:
        await program.start()
        group.create_task(program.watch(), name=program.name)

    def _up_seconds(self) -> float:
        return time.monotonic() - self._started_at

    # Stop.

    async def _stop(self) -> None:
        """Stop the programs that write first, so that they flush to Kafka; stop Kafka last."""
        self.is_stopping = True
        if self._services:
            self._tell("stopping the services")
        await asyncio.gather(*(program.stop(SERVICE_GRACE_SECONDS) for program in self._services))
        if self._sandbox is not None:
            self._tell("stopping the sandbox")
            await self._sandbox.stop(SANDBOX_GRACE_SECONDS)
        if self._observer is not None:
            await self._close_observer(self._observer)
        if self._registry is not None:
            self._tell("stopping the schema registry")
            await self._registry.stop()
        self._tell("stopping kafka")
        await self._kafka.stop()
        self._tell("everything has stopped")

    async def _close_observer(self, observer: Observer) -> None:
        try:
            async with asyncio.timeout(OBSERVER_CLOSE_SECONDS):
                await observer.close()
        except TimeoutError:  # a killed Kafka does not answer
            logger.warning("the readers did not close in time")

    def _tell(self, line: str) -> None:
        with suppress(OSError):  # the output's reader is gone, but everything must be stopped
            self._display.say(line)


async def _make_topics(admin: TopicAdmin) -> None:
    """Create the topics and wait for the broker: Kafka confirms a topic a little before its broker knows it."""
    await admin.apply(TOPICS)
    deadline = time.monotonic() + TOPICS_KNOWN_SECONDS
    while len(await admin.existing(TOPICS)) < len(TOPICS):
        if time.monotonic() > deadline:
            raise DemoError(
                f"kafka does not know its new topics after {TOPICS_KNOWN_SECONDS:.0f} s: start the demo again"
            )
        await asyncio.sleep(_POLL_SECONDS)


def _register_all(registry: Registry) -> None:
    for subject, record in subjects(TOPIC_PREFIX).items():
        register(registry, subject, own_schemas()[record])


async def _until_it_answers(program: Program, url: str) -> None:
    deadline = time.monotonic() + SANDBOX_START_SECONDS
    async with httpx.AsyncClient(timeout=1.0, trust_env=False) as client:
        while time.monotonic() < deadline:
            with suppress(httpx.HTTPError):  # not listening yet
                if (await client.get(url)).is_success:
                    return
            await asyncio.sleep(_POLL_SECONDS)
    raise DemoError(
        f"{program.name} did not answer within {SANDBOX_START_SECONDS:.0f} s: {program.last_words()} (log: {program.log_path})"
    )


def _first(failures: ExceptionGroup[Exception]) -> Exception:
    first: Exception = failures
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    return first
