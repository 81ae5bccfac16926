"""Only clients with the credentials and protocol of a secured broker can connect."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError

from certificates import Certificates
from embedded_kafka import BrokerSecurity, EmbeddedKafka

USERS = {"alice": "alice-secret"}


async def round_trip(servers: str, options: dict[str, Any]) -> bytes:
    admin = AIOKafkaAdminClient(bootstrap_servers=servers, **options)
    await admin.start()
    try:
        await admin.create_topics([NewTopic("secured", 1, 1)])
    finally:
        await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, **options)
    await producer.start()
    try:
        await producer.send_and_wait("secured", b"value")
    finally:
        await producer.stop()
    consumer = AIOKafkaConsumer(bootstrap_servers=servers, auto_offset_reset="earliest", **options)
    consumer.assign([TopicPartition("secured", 0)])
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            return bytes((await consumer.getone()).value)
    finally:
        await consumer.stop()


async def is_refused(servers: str, options: dict[str, Any]) -> bool:
    client = AIOKafkaAdminClient(bootstrap_servers=servers, request_timeout_ms=5000, **options)
    try:
        async with asyncio.timeout(15):
            await client.start()
    except (KafkaError, OSError):
        return True
    finally:
        await client.close()
    return False


def sasl(protocol: str, mechanism: str, password: str, context: ssl.SSLContext | None = None) -> dict[str, Any]:
    return {
        "security_protocol": protocol,
        "sasl_mechanism": mechanism,
        "sasl_plain_username": "alice",
        "sasl_plain_password": password,
        "ssl_context": context,
    }


async def test_scram_over_tls_with_client_certificates(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    security = BrokerSecurity(
        "SASL_SSL",
        "SCRAM-SHA-512",
        USERS,
        keystore=certificates.broker,
        truststore=certificates.trusted,
        client_auth_required=True,
    )
    known = certificates.context(with_client_certificate=True)

    def client(password: str, context: ssl.SSLContext) -> dict[str, Any]:
        return sasl("SASL_SSL", "SCRAM-SHA-512", password, context)

    async with EmbeddedKafka(tmp_path / "data", port=0, security=security) as kafka:
        servers = kafka.bootstrap_servers
        assert await round_trip(servers, client("alice-secret", known)) == b"value"
        assert await is_refused(servers, client("wrong", known))
        assert await is_refused(servers, client("alice-secret", certificates.context()))
        assert await is_refused(servers, client("alice-secret", ssl.create_default_context()))
        assert await is_refused(servers, {})


async def test_plain_password(tmp_path: Path) -> None:
    security = BrokerSecurity("SASL_PLAINTEXT", "PLAIN", USERS)
    async with EmbeddedKafka(tmp_path / "data", port=0, security=security) as kafka:
        servers = kafka.bootstrap_servers
        assert await round_trip(servers, sasl("SASL_PLAINTEXT", "PLAIN", "alice-secret")) == b"value"
        assert await is_refused(servers, sasl("SASL_PLAINTEXT", "PLAIN", "wrong"))
