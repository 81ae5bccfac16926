"""A service starts while its certificate and key are being replaced one after the other: it waits for the second file."""

from pathlib import Path

import pytest
import trustme

from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.credentials import UnfitFilesError
from backpack_streams.runtime import service as process
from backpack_streams.runtime import start_attempts
from backpack_streams.runtime.service import ServiceHost
from backpack_streams.runtime.settings import MetricsSettings
from certificates import Certificates
from plant import Service, wait_until

NOWHERE = "127.0.0.1:9"
UNFIT = "the TLS files are unusable"


class Files:
    """A certificate of one authority and a key of another, until the key is replaced too."""

    def __init__(self, folder: Path) -> None:
        certificates = Certificates(folder)
        self._leaf, before = certificates.authority.issue_cert("us"), certificates.authority.issue_cert("us")
        self.authority, self.certificate, self.key = certificates.trusted, folder / "tls.crt", folder / "tls.key"
        self.certificate.write_bytes(b"".join(part.bytes() for part in self._leaf.cert_chain_pems))
        self._write_key(before)

    def complete(self) -> None:
        self._write_key(self._leaf)

    def _write_key(self, leaf: trustme.LeafCert) -> None:
        self.key.write_bytes(leaf.private_key_pem.bytes())

    def flags(self) -> tuple[str, ...]:
        files = {"ca": self.authority, "cert": self.certificate, "key": self.key}
        return tuple(text for name, file in files.items() for text in (f"--ssl-{name}-file", str(file)))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.mark.parametrize("name", ["market-producer", "rest-poller", "book-builder"])
def test_a_start_waits_for_the_second_file(files: Files, tmp_path: Path, name: str) -> None:
    arguments = (name, "--bootstrap-servers", NOWHERE, "--security-protocol", "SSL", *files.flags())
    service = Service(arguments, tmp_path / "log")
    try:
        wait_until("it says what it waits for", lambda: UNFIT in service.why_not_ready())
        files.complete()
        wait_until("it goes on, and waits for Kafka", lambda: "Kafka is unreachable" in service.why_not_ready())
    finally:
        service.kill()


def test_a_waiting_start_stops_at_once_on_sigterm(files: Files, tmp_path: Path) -> None:
    service = Service(
        ("market-producer", "--bootstrap-servers", NOWHERE, "--security-protocol", "SSL", *files.flags()),
        tmp_path / "log",
    )
    try:
        wait_until("it says what it waits for", lambda: UNFIT in service.why_not_ready())
        assert service.stop() == 0, service.log_tail()
    finally:
        service.kill()


async def test_a_start_does_not_wait_forever(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start_attempts, "FILES_FIT_WITHIN_SECONDS", 0.1)
    attempts: list[KafkaConnection] = []

    def build() -> process.Service:
        attempts.append(
            KafkaConnection(
                NOWHERE, "SSL", ssl_ca_file=files.authority, ssl_cert_file=files.certificate, ssl_key_file=files.key
            )
        )
        attempts[-1].client_options()
        raise AssertionError("these files do not fit")

    with pytest.raises(UnfitFilesError, match=UNFIT) as caught:
        await ServiceHost("test", build, MetricsSettings(metrics_port=0)).run()
    assert caught.value.exit_code == 2
    assert len(attempts) >= 2
