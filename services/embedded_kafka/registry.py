"""A real schema registry (Apicurio, with Confluent's API) as a child process, for demonstrations and tests."""

import asyncio
import logging
import re
import threading
import urllib.error
import urllib.request
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Self

from backpack_streams.errors import EmbeddedError
from embedded_kafka.broker_log import BrokerLog, last_useful_line
from embedded_kafka.child import Child
from embedded_kafka.downloads import Announce
from embedded_kafka.java import Java, find_java
from embedded_kafka.ports import free_ports, port_in_use, require_free
from embedded_kafka.properties import LOOPBACK
from embedded_kafka.registry_archive import ensure_registry

__all__ = ["DEFAULT_REGISTRY_PORT", "EmbeddedRegistry", "registry_url"]

logger = logging.getLogger(__name__)

DEFAULT_REGISTRY_PORT = 18081
START_TIMEOUT_SECONDS = 90.0
STOP_GRACE_SECONDS = 10.0
_API_PATH = "/apis/ccompat/v7"
_POLL_SECONDS = 0.2
_ANSWER_SECONDS = 5.0
_JAVA_OPTIONS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Dquarkus.log.level=WARN",
    '-Dquarkus.log.category."io.apicurio".level=WARN',
    "-Dquarkus.http.access-log.enabled=false",
    "-Dquarkus.banner.enabled=false",
)
_PORT_TAKEN = re.compile(r"Address already in use|seems to be in use by another process")
_FOLDER_TAKEN = re.compile(r"Database may be already in use|Locked by another process")


def registry_url(host: str, port: int) -> str:
    """Return the value of `schema_registry_url` for a registry at this address.

    The path is that of Confluent's API in Apicurio, `/apis/ccompat/v7`.
    """
    return f"http://{host}:{port}{_API_PATH}"


class EmbeddedRegistry:
    """A schema registry on this machine that ends with this process, even by `kill -9`.

    Args:
        data_dir: folder of its database; a later start with the same folder finds the schemas again, with the same ids.
        port: its port; 0 picks a free one at the first start.
        host: address that clients use.
        log_dir: folder of its log, by default `logs` in `data_dir`.
        announce: called with one line when something long begins (a download).
    """

    def __init__(
        self,
        data_dir: Path,
        port: int = DEFAULT_REGISTRY_PORT,
        *,
        host: str = LOOPBACK,
        log_dir: Path | None = None,
        announce: Announce | None = None,
    ) -> None:
        self.data_dir = data_dir.absolute()
        self._host = host
        self._port = port
        self._log = BrokerLog((log_dir or data_dir / "logs").absolute() / "registry.log")
        self._announce = announce
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The value of `schema_registry_url`. Available once started."""
        return registry_url(self._host, self._port)

    @property
    def pid(self) -> int | None:
        """Process id; None unless it is running."""
        return None if self._child is None or self._child.returncode is not None else self._child.pid

    async def start(self) -> None:
        """Start the registry; return when it answers `GET /subjects`, within 90 s. After a failure or a cancellation nothing runs.

        The first start on a machine downloads 109 MB.

        Raises:
            EmbeddedError: there is no Java or no archive, the port or the folder is in use, it ended, or it did not
                answer in time.
        """
        if self.pid is not None:
            raise EmbeddedError("the embedded registry is started already")
        java, jar = await self._runtime()
        if self._port == 0:
            [self._port] = free_ports(1, self._host)
        require_free(self._host, [self._port])
        self._prepare_folders()
        self._log.begin_run()
        child = self._child = await Child.start(
            self._command(java, jar), log_path=self._log.path, working_directory=self.data_dir
        )
        try:
            await self._until_it_answers(child)
        except BaseException:  # a cancellation too must leave nothing behind
            await self.stop(grace_seconds=0)
            raise
        logger.info("embedded registry ready", extra={"url": self.url})

    async def _runtime(self) -> tuple[Java, Path]:
        java = await asyncio.to_thread(find_java)
        cancelled = threading.Event()
        try:
            return java, await asyncio.to_thread(ensure_registry, self._announce, cancelled)
        finally:
            cancelled.set()

    def _prepare_folders(self) -> None:
        try:
            self.data_dir.mkdir(parents=True, exist_ok=True)
            self._log.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EmbeddedError(
                f"cannot write to the data folder {self.data_dir} ({error.strerror}): "
                "make it writable, or choose another with --data-dir"
            ) from error

    def _command(self, java: Java, jar: Path) -> list[str]:
        settings = (
            f"-Dquarkus.http.host={self._host}",
            f"-Dquarkus.http.port={self._port}",
            f"-Dapicurio.datasource.url=jdbc:h2:file:{self.data_dir / 'registry'}",
        )
        return [str(java.executable), *_JAVA_OPTIONS, *settings, "-jar", str(jar)]

    async def _until_it_answers(self, child: Child) -> None:
        try:
            async with asyncio.timeout(START_TIMEOUT_SECONDS):
                while not await asyncio.to_thread(_answers, f"{self.url}/subjects"):
                    if child.returncode is not None:
                        raise EmbeddedError(self._explain("the schema registry ended during its start"))
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            what = f"the schema registry did not answer within {START_TIMEOUT_SECONDS:.0f} s"
            raise EmbeddedError(self._explain(what)) from None

    async def wait(self) -> None:
        """Wait until it has ended. Returns at once if it is not started, and without an error if `stop` ended it.

        Raises:
            EmbeddedError: it ended unexpectedly; the message says why.
        """
        child = self._child
        if child is None:
            return
        code = await child.wait()
        if self._child is child:
            how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            raise EmbeddedError(self._explain(f"the schema registry ended unexpectedly ({how})"))

    async def stop(self, grace_seconds: float = STOP_GRACE_SECONDS) -> None:
        """Send SIGTERM, and SIGKILL after the grace. Does nothing if not started; it may be started again.

        Args:
            grace_seconds: time between SIGTERM and SIGKILL; 0 or less sends SIGKILL at once.
        """
        child, self._child = self._child, None
        if child is None:
            return
        if grace_seconds <= 0:
            child.kill()
        await child.stop(grace_seconds)

    def kill(self) -> None:
        """Send SIGKILL, without waiting for its end; `wait` reports it as unexpected."""
        if self._child is not None:
            self._child.kill()

    def _explain(self, what_happened: str) -> str:
        text = self._log.tail()
        if _PORT_TAKEN.search(text):
            return f"{what_happened}: {port_in_use(self._host, self._port)}"
        if _FOLDER_TAKEN.search(text):
            return (
                f"{what_happened}: the data folder {self.data_dir} is in use by another embedded registry: "
                "stop that one, or choose another folder with --data-dir"
            )
        return f"{what_happened}: {last_useful_line(text)} (log: {self._log.path})"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


def _answers(url: str) -> bool:
    # Without a proxy: the registry is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=_ANSWER_SECONDS) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, HTTPException):  # not listening, or not ready yet
        return False
