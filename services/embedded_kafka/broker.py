"""One broker: its folder, its formatting, its process."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from backpack_streams.errors import EmbeddedError
from embedded_kafka.broker_log import BrokerLog, explain_end
from embedded_kafka.child import Child
from embedded_kafka.data_folder import free_bytes
from embedded_kafka.properties import BrokerLayout, broker_properties, render_properties
from embedded_kafka.security import BrokerSecurity

__all__ = ["Broker", "KafkaRuntime"]

_STOP_FORMATTING_SECONDS = 2.0
_SMALL_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOGGING = (
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    # NetworkClient warns five times a second while another broker is down.
    "-Dorg.slf4j.simpleLogger.log.org.apache.kafka.clients.NetworkClient=error",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSSXXX",
)


@dataclass(frozen=True, slots=True)
class KafkaRuntime:
    """A Java and the jars of Kafka: enough to run brokers and all of Kafka's tools.

    Attributes:
        java: path of the program `java`.
        libs: folder of the jars, all of which are on the class path.
        jvm: the JVM's garbage collector and compiler, by default those that need the least memory and start the fastest.
    """

    java: Path
    libs: Path
    jvm: tuple[str, ...] = _SMALL_JVM

    def command(self, main_class: str, *arguments: str, options: Sequence[str] = ()) -> list[str]:
        """Return the command line of one of Kafka's programs.

        Args:
            main_class: Java class, such as `org.apache.kafka.tools.consumer.ConsoleConsumer`.
            arguments: arguments of the program.
            options: more options of the JVM, such as `-Xmx128m`; they follow `jvm` and those for a terse log.
        """
        return [str(self.java), *self.jvm, *_LOGGING, *options, "-cp", str(self.libs / "*"), main_class, *arguments]


class Broker:
    """One broker of a cluster, running or not.

    Its folder holds `server.properties`, Kafka's own `data`, and a marker once the data folder is formatted.
    """

    def __init__(self, folder: Path, log: BrokerLog) -> None:
        """Prepare; nothing is written or started.

        Args:
            folder: the broker's own folder in the cluster's data folder.
            log: log of its process and of its formatting.
        """
        self.folder = folder
        self.log = log
        self.child: Child | None = None
        self.stop_is_wanted = False
        self.is_starting = False

    @property
    def data_folder(self) -> Path:
        """The folder that Kafka calls its log directory."""
        return self.folder / "data"

    @property
    def _properties_file(self) -> Path:
        return self.folder / "server.properties"

    def configure(self, layout: BrokerLayout, security: BrokerSecurity | None, overrides: Mapping[str, str]) -> None:
        """Write `server.properties`, readable by this user only: it may contain passwords.

        Args:
            layout: the listeners and the folder.
            security: security of the listener for clients; None: plaintext.
            overrides: properties that win over all others.

        Raises:
            OSError: the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        # The properties may contain passwords.
        self._properties_file.touch(mode=0o600)
        text = render_properties(broker_properties(layout, security, overrides))
        self._properties_file.write_text(text, encoding="ascii")

    async def format_once(self, runtime: KafkaRuntime, cluster_id: str, security: BrokerSecurity | None) -> None:
        """Format the data folder, unless an earlier call completed that. An incomplete format is deleted and repeated.

        Args:
            runtime: Java and the jars.
            cluster_id: id of the cluster, the same for all its brokers.
            security: its users are stored with the format if it uses SCRAM (KIP-900).

        Raises:
            EmbeddedError: Kafka's storage tool failed.
        """
        marker = self.folder / "formatted"
        if marker.exists():
            return
        # Without the marker no broker ever ran here: the folder holds an incomplete format.
        shutil.rmtree(self.data_folder, ignore_errors=True)
        arguments = ["format", "-t", cluster_id, "-c", str(self._properties_file)]
        arguments += security.format_arguments() if security is not None else []
        self.log.begin_run()
        child = await Child.start(
            runtime.command("kafka.tools.StorageTool", *arguments, options=["-Xmx128m"]),
            log_path=self.log.path,
            working_directory=self.folder,
        )
        try:
            code = await child.wait()
        finally:
            await child.stop(_STOP_FORMATTING_SECONDS)
        if code != 0:
            raise EmbeddedError(self.explain("Kafka's data folder cannot be formatted"))
        marker.touch()

    async def launch(self, runtime: KafkaRuntime, heap_megabytes: int, lock: int) -> Child:
        """Start the process; when this returns, the broker does not take traffic yet.

        Args:
            runtime: Java and the jars.
            heap_megabytes: size of the Java heap.
            lock: descriptor of the data folder's lock; it stays open until the broker has ended, even if this process is killed.
        """
        self.log.begin_run()
        # By default Java would end only the thread that ran out of memory, and leave a broker that half works.
        options = [f"-Xmx{heap_megabytes}m", "-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
        self.stop_is_wanted = False
        self.child = await Child.start(
            runtime.command("kafka.Kafka", str(self._properties_file), options=options),
            log_path=self.log.path,
            working_directory=self.folder,
            watcher_keeps_open=(lock,),
        )
        return self.child

    async def stop(self, grace_seconds: float) -> None:
        """Shut down in a controlled way. Does nothing if the broker was not launched.

        Args:
            grace_seconds: time between SIGTERM and SIGKILL; 0 or less sends SIGKILL at once.
        """
        if self.child is None:
            return
        self.stop_is_wanted = True
        if grace_seconds <= 0:
            self.child.kill()
        await self.child.stop(grace_seconds)
        self.child = None

    def explain(self, what_happened: str) -> str:
        """Return one line on why the broker ended, from the log of its last run and the free disk space.

        Args:
            what_happened: for example "Kafka broker 1 ended during its start".
        """
        return explain_end(
            self.log.tail(),
            what_happened,
            data_folder=self.folder.parent,
            log_path=self.log.path,
            free_bytes=free_bytes(self.folder),
        )
