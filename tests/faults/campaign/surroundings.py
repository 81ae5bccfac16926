"""A platform team's infrastructure around the plant: a stable address and TLS in front of Kafka, a proxy in front of the exchange."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trustme

import proxies
from backpack_streams.bus.connection import KafkaConnection
from certificates import Certificates
from embedded_kafka.security import BrokerSecurity
from moving_cluster import MovingCluster, MovingKafka
from plant import Access, free_port

_END_SECONDS = 10.0


class ClientFiles:
    """The plant's certificate and key, as they are mounted. Each rotation uses another authority.

    The brokers trust all authorities at first; a broker started later trusts only the current and future ones.
    """

    def __init__(self, folder: Path, rotations: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.certificate, self.key = folder / "tls.crt", folder / "tls.key"
        self.believed = folder / "believed.pem"
        self._certificates = Certificates(folder)
        self._authorities = [self._certificates.authority, *(trustme.CA() for _ in range(rotations))]
        self._believe()
        self._leaf = self._authorities[0].issue_cert("plant@example.com")
        self.replace(self.certificate)
        self.replace(self.key)

    @property
    def security(self) -> BrokerSecurity:
        """The client security that brokers require."""
        return BrokerSecurity(
            "SSL", keystore=self._certificates.broker, truststore=self.believed, client_auth_required=True
        )

    def connection(self, bootstrap_servers: str) -> KafkaConnection:
        """The plant's connection to Kafka."""
        return KafkaConnection(
            bootstrap_servers,
            "SSL",
            ssl_ca_file=self._certificates.trusted,
            ssl_cert_file=self.certificate,
            ssl_key_file=self.key,
        )

    def next_pair(self) -> None:
        """Issue a new pair, without writing it yet; brokers that start no longer trust the authority of the old one."""
        self._authorities.pop(0)
        self._believe()
        self._leaf = self._authorities[0].issue_cert("plant@example.com")

    def replace(self, file: Path) -> None:
        """Replace the certificate or the key by that of the newest pair, atomically."""
        parts = self._leaf.cert_chain_pems if file == self.certificate else [self._leaf.private_key_pem]
        _replace(file, b"".join(each.bytes() for each in parts))

    def _believe(self) -> None:
        _replace(self.believed, b"".join(each.cert_pem.bytes() for each in self._authorities))


def _replace(file: Path, content: bytes) -> None:
    written = file.with_suffix(".new")
    written.write_bytes(content)
    written.replace(file)


class ProxyProcess:
    """The only way to the exchange, a separate process that can be killed and frozen."""

    def __init__(self) -> None:
        self.port = free_port()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The value of `--exchange-proxy`."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; it listens a moment later."""
        command = [sys.executable, proxies.__file__, str(self.port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE)

    def stop(self) -> None:
        """SIGKILL: its connections are reset, and its port refuses new ones."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=_END_SECONDS)

    def cut(self, how: str, seconds: float) -> None:
        """Cut it for this time: `killed`, `hangs` (no answers, then everything continues) or `hangs-and-dies`. One cut at a time."""
        with self._lock:
            assert self._process is not None
            if how == "killed":
                self.stop()
            else:
                os.kill(self._process.pid, signal.SIGSTOP)
            time.sleep(seconds)
            if how == "hangs":
                os.kill(self._process.pid, signal.SIGCONT)
                return
            self.stop()
            self.start()


class Surroundings:
    """A cluster of three brokers with this infrastructure."""

    def __init__(self, folder: Path, rotations: int) -> None:
        """`rotations`: the number of certificate rotations."""
        self.files = ClientFiles(folder / "certificates", rotations)
        self.kafka = MovingKafka(MovingCluster(folder / "kafka", port=0, brokers=3, security=self.files.security))
        self.proxy = ProxyProcess()

    @property
    def access(self) -> Access:
        """The plant's way to Kafka and to the exchange."""
        return Access(self.files.connection(self.kafka.stable_address), ("--exchange-proxy", self.proxy.url))


@contextmanager
def running_surroundings(folder: Path, rotations: int) -> Iterator[Surroundings]:
    """Start everything, and stop it at the end."""
    surroundings = Surroundings(folder, rotations)
    with surroundings.kafka:
        surroundings.proxy.start()
        try:
            yield surroundings
        finally:
            surroundings.proxy.stop()
