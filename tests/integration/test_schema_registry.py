"""Our topics with a real schema registry: other clients read them, changes that break readers are refused, outages have no effect."""

import asyncio
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer
from confluent_kafka.serialization import MessageField, SerializationContext

from backpack_streams.books import BookStream, Status
from backpack_streams.bus.codec import Codec
from backpack_streams.bus.governance import check, own_subjects, register, survey
from backpack_streams.bus.registry import known_schemas
from backpack_streams.bus.registry_client import (
    FULL_TRANSITIVE,
    IncompatibleSchemaError,
    NotRegisteredError,
    RegistryClient,
    RegistryConnection,
)
from backpack_streams.bus.schemas import own_schemas, parse_schema
from backpack_streams.commands.doctor.command import examine
from backpack_streams.commands.doctor.findings import Finding, State
from backpack_streams.commands.doctor.settings import DoctorSettings
from embedded_kafka import BlockingKafka, registry_url
from plant import Plant, Process, free_port, running_plant, wait_until
from unit.bus.rows_of_schemas import plain_types

HOST = "127.0.0.1"
SYMBOL = "BTC_USDC_PERP"


class RegistryProcess(Process):
    """`backpack-streams registry` in its own process; its schemas outlive it."""

    def __init__(self, folder: Path, port: int) -> None:
        self.url = registry_url(HOST, port)
        super().__init__(
            ("registry", "--port", str(port), "--data-dir", str(folder / "registry")), folder / "registry.out"
        )
        wait_until("the registry is ready", self._says_ready, 120)

    def _says_ready(self) -> bool:
        assert self.popen.poll() is None, self.log_tail()
        return f"ready {self.url}" in self.log.read_text()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    process = RegistryProcess(tmp_path_factory.mktemp("registry"), free_port())
    yield process
    process.stop()


def by_confluent(
    bootstrap_servers: str, registry_of_schemas: str, topic: str, count: int
) -> list[tuple[bytes, dict[str, Any]]]:
    """The first values of a topic and their records, read with confluent-kafka alone, as documented."""
    deserialize = AvroDeserializer(SchemaRegistryClient({"url": registry_of_schemas}))
    consumer = Consumer({"bootstrap.servers": bootstrap_servers, "group.id": "none", "enable.auto.commit": False})
    found: list[tuple[bytes, dict[str, Any]]] = []
    try:
        partitions = consumer.list_topics(topic, 10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        deadline = time.monotonic() + 60
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(1.0)
            if message is not None and message.error() is None:
                context = SerializationContext(topic, MessageField.VALUE)
                found.append((message.value(), deserialize(message.value(), context)))
    finally:
        consumer.close()
    return found


def test_other_clients_read_our_topics_and_an_outage_of_the_registry_stops_nothing(
    kafka: BlockingKafka, tmp_path: Path
) -> None:
    port = free_port()
    with ExitStack() as stack, running_plant(kafka.bootstrap_servers, tmp_path, "registered.") as plant:

        def start_registry() -> RegistryProcess:
            process = RegistryProcess(tmp_path, port)
            stack.callback(process.stop)
            return process

        schemas = start_registry()
        flag = ("--schema-registry-url", schemas.url)
        plant.start_exchange("--symbols", "3", "--rate", "200")
        refused = plant.start("market-producer", "--streams", "depth", *flag)
        assert refused.popen.wait(60) == 1
        assert "schemas register" in refused.log_tail()

        done = plant.run("schemas", "register", *flag)
        assert done.returncode == 0, done.stderr
        assert "registered.market.depth-value" in done.stdout
        assert "compatibility set to FULL_TRANSITIVE" in done.stdout
        again = plant.run("schemas", "register", *flag)
        assert " 0 created, 0 new version," in again.stdout

        producer = plant.start_ready("market-producer", "--streams", "depth,trade", *flag)
        plant.start_ready("rest-poller", *flag)
        _compare_with_confluent(plant, schemas.url)
        _without_a_registry(plant)
        asyncio.run(_books_through_an_outage(plant, schemas, producer.metric))

        late = plant.start("perp-producer", *flag)
        wait_until("a producer waits", lambda: "waiting for the schema registry" in late.log.read_text())
        assert late.popen.poll() is None
        start_registry()
        wait_until("the producer that waited is ready", late.is_ready, 90)


def _compare_with_confluent(plant: Plant, url: str) -> None:
    """Its deserializer and our codec read the same values, decimals exact."""
    codec = Codec(known_schemas(RegistryConnection(url)))
    for topic in ("trade", "depth", "book_snapshot"):
        found = by_confluent(
            plant.bootstrap_servers, url, f"registered.market.{topic}", 10 if topic != "book_snapshot" else 1
        )
        assert found
        asyncio.run(codec.meet(value for value, _ in found))
        for value, theirs in found:
            assert value[:1] == b"\0"
            assert plain_types(theirs) == codec.read(value)[1]
    prices = [row["price"] for _, row in by_confluent(plant.bootstrap_servers, url, "registered.market.trade", 10)]
    assert len(prices) == 10
    assert all(isinstance(price, Decimal) and price > 0 for price in prices)


def _without_a_registry(plant: Plant) -> None:
    """A reader without a registry gets a message about what is missing."""
    done = plant.run("tail", "registered.market.trade", "--from-beginning", "--json", "-n", "1")
    assert "none is configured: set the writer's registry" in json.loads(done.stdout)["value"]["reason"]


async def _books_through_an_outage(plant: Plant, schemas: RegistryProcess, metric: Any) -> None:
    codec = Codec(known_schemas(RegistryConnection(schemas.url)))
    async with BookStream(plant.bootstrap_servers, topic_prefix="registered.", codec=codec) as books:
        assert await books.until_live(60)
        await asyncio.to_thread(schemas.kill)
        published, read = await asyncio.to_thread(metric, "published_records_total"), books.updates
        deadline = time.monotonic() + 60
        async for _ in books.events():
            if books.updates > read + 1000 or time.monotonic() > deadline:
                break
        assert books.updates > read + 1000
        assert await asyncio.to_thread(metric, "published_records_total") > published
        assert books.undecodable_records == 0
        assert {market.status for market in books.books.values()} == {Status.LIVE}


# ---- compatibility


def test_an_incompatible_change_is_refused_with_409_and_its_reason(registry: RegistryProcess) -> None:
    client = RegistryClient(RegistryConnection(registry.url))
    ours = own_schemas()["Trade"]
    first = register(client, "governed.trade-value", ours)
    assert (first.action, first.version) == ("created", 1)
    assert client.compatibility("governed.trade-value") == FULL_TRANSITIVE

    document = json.loads(ours.text)
    document["fields"] = [field for field in document["fields"] if field["name"] != "price"]
    broken = parse_schema(json.dumps(document))
    with pytest.raises(IncompatibleSchemaError, match=r"governed\.trade-value.*HTTP 409.*version 1: field price"):
        register(client, "governed.trade-value", broken)
    with pytest.raises(IncompatibleSchemaError, match=r"governed\.trade-value.*version 1: field price"):
        check(client, "governed.trade-value", broken)
    assert [version.number for version in client.versions("governed.trade-value")] == [1]

    document = json.loads(ours.text)
    document["fields"].append({"name": "note", "type": ["null", "string"], "default": None})
    grown = parse_schema(json.dumps(document))
    assert check(client, "governed.trade-value", grown).action == "new version"
    assert register(client, "governed.trade-value", grown).version == 2
    assert register(client, "governed.trade-value", ours).action == "unchanged"


def test_whitespace_makes_no_new_version(registry: RegistryProcess) -> None:
    client = RegistryClient(RegistryConnection(registry.url))
    ours = own_schemas()["Gap"]
    register(client, "layout-value", ours)
    spread = parse_schema(json.dumps(ours.document, indent=7))
    assert register(client, "layout-value", spread).action == "unchanged"


def test_an_incompatible_schema_fails_the_check_even_for_a_lax_subject(registry: RegistryProcess) -> None:
    client = RegistryClient(RegistryConnection(registry.url))
    client.register("lax-value", own_schemas()["Gap"].canonical_text)
    client.set_compatibility("lax-value", "NONE")
    document = json.loads(own_schemas()["Gap"].text)
    document["fields"].append({"name": "needed", "type": "long"})
    with pytest.raises(IncompatibleSchemaError, match=r"FULL_TRANSITIVE forbids this Gap.*field needed is not written"):
        check(client, "lax-value", parse_schema(json.dumps(document)))


def test_an_unknown_id_is_reported_as_unknown_to_the_registry(registry: RegistryProcess) -> None:
    codec = Codec(known_schemas(RegistryConnection(registry.url)))
    value = b"\0" + (987_654).to_bytes(4, "big") + b"x"
    asyncio.run(codec.meet([value]))
    with pytest.raises(
        Exception, match=f"schema id 987654 is unknown: the schema registry at {registry.url} does not have"
    ):
        codec.decode(value)
    with pytest.raises(NotRegisteredError):
        RegistryClient(RegistryConnection(registry.url)).text(987_654)


@contextmanager
def stub(status: int, body: bytes) -> Iterator[str]:
    """A server that is not a registry."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, b'{"error_code": 50001, "message": "out of store"}', "HTTP 500 .*out of store"),
        (404, b"<html>lost</html>", "correct schema_registry_url"),
        (200, b"<html>welcome</html>", "no usable answer"),
        (401, b'{"error_code": 401, "message": "who?"}', "check schema_registry_username"),
        (
            403,
            b'{"error_code": 40301, "message": "denied"}',
            r"forbids .* to this account .*denied.*: grant it the right",
        ),
    ],
)
def test_a_server_that_is_not_a_registry_is_one_clear_line(
    kafka: BlockingKafka, tmp_path: Path, status: int, body: bytes, said: str
) -> None:
    with stub(status, body) as url, running_plant(kafka.bootstrap_servers, tmp_path, "none.") as plant:
        done = plant.run("schemas", "list", "--schema-registry-url", url.replace("://", "://user:hidden@"))
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert re.search(said, line), line
    assert "hidden" not in line


def test_doctor_reports_unregistered_schemas_and_an_unreachable_registry(registry: RegistryProcess) -> None:
    def subjects(**settings: Any) -> Finding:
        given = {"skip": ("kafka", "exchange", "key"), "topic_prefix": "doctor.", "timeout": 120}
        found = asyncio.run(examine(DoctorSettings(**(given | settings))))
        return next(each for each in found if each.check == "subjects")

    missing = subjects(schema_registry_url=registry.url)
    assert (missing.state, "doctor.market.depth-value" in missing.found) == (State.FAIL, True)
    assert "schemas register" in missing.todo
    client = RegistryClient(RegistryConnection(registry.url))
    survey(client, own_subjects("doctor."), register)
    assert subjects(schema_registry_url=registry.url).state is State.OK
    client.set_compatibility("doctor.market.depth-value", "NONE")
    assert subjects(schema_registry_url=registry.url).state is State.WARN
    assert subjects(schema_registry_url=f"http://{HOST}:{free_port()}").state is State.SKIPPED
    with stub(200, b"<html>a page</html>") as url:
        assert subjects(schema_registry_url=url).state is State.FAIL
