"""A password, a certificate and its key are replaced, one file after another, while Kafka restarts."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import trustme

from backpack_streams.bus.admin import TopicAdmin
from backpack_streams.bus.clients import Producer
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.reader import Reader
from backpack_streams.bus.topics import Topic
from certificates import Certificates
from embedded_kafka import EmbeddedKafka
from embedded_kafka.ports import free_ports
from embedded_kafka.security import BrokerSecurity

TOPIC = Topic("rotated", "Gap", 1)
REFUSED_SECONDS = 4.0
RECOVERED_SECONDS = 60.0


class OurFiles:
    """Our mounted files: password, certificate, key."""

    def __init__(self, folder: Path) -> None:
        self.password = folder / "password"
        self.certificate = folder / "tls.crt"
        self.key = folder / "tls.key"

    def write_certificate(self, leaf: trustme.LeafCert) -> None:
        self.certificate.write_bytes(b"".join(part.bytes() for part in leaf.cert_chain_pems))

    def write_key(self, leaf: trustme.LeafCert) -> None:
        self.key.write_bytes(leaf.private_key_pem.bytes())


async def test_a_rotation_needs_no_restart(tmp_path: Path) -> None:
    (port,) = free_ports(1, "127.0.0.1")
    certificates, later = Certificates(tmp_path), trustme.CA()
    ours, before, after = OurFiles(tmp_path), certificates.authority.issue_cert("us"), later.issue_cert("us")
    ours.password.write_text("first\n")
    ours.write_certificate(before)
    ours.write_key(before)
    trusted_later = tmp_path / "trusted-later.pem"
    later.cert_pem.write_to_path(trusted_later)

    def kafka(password: str, trusted: Path) -> EmbeddedKafka:
        security = BrokerSecurity(
            "SASL_SSL",
            "PLAIN",
            {"us": password},
            keystore=certificates.broker,
            truststore=trusted,
            client_auth_required=True,
        )
        return EmbeddedKafka(tmp_path / "data", port=port, security=security)

    connection = KafkaConnection(
        f"127.0.0.1:{port}",
        "SASL_SSL",
        "PLAIN",
        sasl_username="us",
        sasl_password_file=ours.password,
        ssl_ca_file=certificates.trusted,
        ssl_cert_file=ours.certificate,
        ssl_key_file=ours.key,
    )
    async with AsyncExitStack() as stack:
        async with kafka("first", certificates.trusted):
            await TopicAdmin(connection, "").apply([TOPIC])
            producer = Producer(connection, acks="all", enable_idempotence=True)
            await producer.start()
            stack.push_async_callback(producer.stop)
            reader = await stack.enter_async_context(Reader(connection))
            reader.assign({(TOPIC.name, 0): 0})
            await producer.send_and_wait(TOPIC.name, b"before", partition=0)
            ours.write_certificate(after)  # the key is still the old one
        ours.password.unlink()
        await stack.enter_async_context(kafka("second", trusted_later))
        sending = asyncio.create_task(producer.send_and_wait(TOPIC.name, b"after", partition=0))
        await asyncio.wait({sending}, timeout=REFUSED_SECONDS)  # time for some attempts with outdated credentials
        assert not sending.done()
        ours.password.write_text("second\n")
        ours.write_key(after)
        async with asyncio.timeout(RECOVERED_SECONDS):
            await sending
            values: list[bytes | None] = []
            while len(values) < 2:
                values += [each.value for batch in (await reader.poll(200)).values() for each in batch]
        assert values == [b"before", b"after"]
