"""The demo itself: starts every program in order, restarts those that end, and stops all in an order that loses nothing."""

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
from backpack_streams.demo.embedded import KafkaProgram, RegistryProgram
from backpack_streams.demo.errors import DemoError
from backpack_streams.demo.folder import DemoFolder
from backpack_streams.demo.observer import Observer
from backpack_streams.demo.place import Place
from backpack_streams.demo.ports import HOST, DemoPorts
from backpack_streams.demo.program import Program
from backpack_streams.demo.program_states import ProgramStates
from backpack_streams.demo.restarts import Restarts
from backpack_streams.demo.settings import DemoSettings
from backpack_streams.demo.supervisor import Startable, Supervisor
from backpack_streams.demo.what_to_try import suggestions, text_of
from backpack_streams.errors import BackpackStreamsError
from embedded_kafka import EmbeddedKafka, EmbeddedRegistry
from embedded_kafka.ports import free_ports

__all__ = ["Demo"]

logger = logging.getLogger(__name__)

TOPIC_PREFIX: Final = "backpack."
# On a machine that is busy for a while, a lone broker must not fence itself off (after 9 s by default). It is also the time that a
# broker that was killed needs to come back: its controller waits until the session of the broker before it has ended.
KAFKA_PROPERTIES: Final = {"broker.session.timeout.ms": "20000"}
TOPICS_KNOWN_SECONDS: Final = 30.0
SANDBOX_START_SECONDS: Final = 60.0
SERVICE_GRACE_SECONDS: Final = 15.0
SANDBOX_GRACE_SECONDS: Final = 5.0
OBSERVER_CLOSE_SECONDS: Final = 5.0
_POLL_SECONDS: Final = 0.1


class Demo:
    """One demo. Call `run`; `kill` ends a stop that takes too long."""

    def __init__(self, settings: DemoSettings, ports: DemoPorts, folder: DemoFolder, display: Display) -> None:
        """Prepare everything; nothing is started.

        Args:
            settings: the exchange or its stand-in, and what it does.
            ports: the ports, already checked.
            folder: for Kafka's data, the logs and the pid files.
            display: shows the progress of start and stop, and the board in between.

        Raises:
            DemoError: the account's key cannot be used.
        """
        self._settings = settings
        self._ports = ports
        self._display = display
        self._folder = folder
        self._logs = folder.logs
        self._place = Place.of(ports, folder)
        self._states = ProgramStates(self._tell_event)
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
        self._is_shown = False
        """Whether the display shows news: until then it prints lines."""
        self.is_stopping = False
        """Whether the stop has begun: it must not be cancelled."""

    async def run(self) -> NoReturn:
        """Start everything and keep it running until cancelled; after that, or after a failure, nothing runs.

        The stop is in an order that loses nothing: services (which get 15 s to flush), sandbox, registry, and Kafka
        last.

        Raises:
            BackpackStreamsError: a program cannot be started, or not again; one line says which and why.
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
        """Send SIGKILL to every program. Data that the services have not flushed to Kafka is lost."""
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
        say(f"live page {self._ports.page_url} (it fills as soon as everything is up)")
        say(f"logs are in {self._logs}")
        async with asyncio.TaskGroup() as starting:
            starting.create_task(self._kafka.start())
            if self._registry is not None:
                starting.create_task(self._registry.start())
        self._folder.claim()
        # Until everything has started, its end ends the demo.
        self._supervise(KafkaProgram(self._kafka), group, Restarts(most_failed_starts=1))
        say(f"kafka ready on {self._kafka.bootstrap_servers} after {self._up_seconds():.1f} s")
        connection = KafkaConnection(self._kafka.bootstrap_servers, client_id="backpack-streams-demo")
        await _make_topics(TopicAdmin(connection, TOPIC_PREFIX))
        say(f"{len(TOPICS)} topics ready")
        if self._registry is not None and self._subjects is not None:
            await asyncio.to_thread(_register_all, self._subjects)
            group.create_task(self._keep_registry(self._registry), name="registry")
            say(f"schema registry ready on {self._registry.url}, all schemas registered")
        observer = self._observer = Observer(connection, self._codec, TOPIC_PREFIX, self._states, self._started_at)
        await observer.open()
        group.create_task(observer.watch_kafka(), name="kafka-observer")
        if not self._settings.live:
            await self._start_sandbox(observer, group)
        say("taking the real exchange" if self._settings.live else f"sandbox ready on {self._place.sandbox}")
        started = await self._start_services(group)
        self._states.saw_ready(KafkaProgram.name, time.monotonic())
        group.create_task(observer.watch_services(started), name="service-observer")
        self._is_shown = True
        group.create_task(self._display.show(observer.board, self._place), name="display")
        group.create_task(self._write_what_to_try(observer), name="what-to-try")

    def _supervise(self, program: Startable, group: asyncio.TaskGroup, restarts: Restarts) -> None:
        supervisor = Supervisor(program, restarts, self._states, self._place.pids)
        group.create_task(supervisor.run(), name=program.name)

    async def _keep_registry(self, registry: EmbeddedRegistry) -> None:
        """Restart the registry; if it cannot be, the demo goes on, because the services have the schemas that they need."""
        self._states.saw_ready(RegistryProgram.name, time.monotonic())
        try:
            await Supervisor(RegistryProgram(registry), Restarts(), self._states, self._place.pids).run()
        except BackpackStreamsError as error:
            self._tell_event(f"{error}; everything else goes on")

    async def _start_sandbox(self, observer: Observer, group: asyncio.TaskGroup) -> None:
        url = f"{self._ports.rest_url}/api/v1/ping"
        self._sandbox = self._program(SANDBOX, sandbox_command(self._settings, self._ports, self._account))
        await self._launch(self._sandbox, group)
        await _until_it_answers(self._sandbox, url)
        self._states.saw_ready(SANDBOX, time.monotonic())
        group.create_task(observer.watch_address(self._sandbox, url), name="sandbox-observer")

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
        self._supervise(program, group, Restarts())

    async def _write_what_to_try(self, observer: Observer) -> None:
        """Write the commands to try into a file for those who cannot copy them from the screen, once the books are LIVE."""
        while True:
            if observer.board.all_live_after_seconds is not None:
                break
            await asyncio.sleep(_POLL_SECONDS)
        text = text_of(suggestions(self._place, observer.board.expected_symbols))
        try:
            self._place.what_to_try.write_text(text, "utf-8")
        except OSError as error:
            logger.warning("what to try cannot be written", extra={"error": str(error)})

    def _tell_event(self, line: str) -> None:
        logger.info("event", extra={"line": line})
        if self._is_shown and self._observer is not None:
            self._observer.board.news.add_milestone(line)
        else:
            self._tell(line)

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
