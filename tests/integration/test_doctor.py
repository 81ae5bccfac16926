"""`doctor` and `topics acls` against a real Kafka that enforces ACLs, over TLS, with a login for each service."""

import asyncio
import json
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from account_key import Key
from backpack_streams.bus.access import ACCESS, BOOK_BUILDER_GROUP, Operation, Resource
from backpack_streams.bus.compression import unusable_codecs
from backpack_streams.commands.doctor.command import examine
from backpack_streams.commands.doctor.findings import Finding, State
from backpack_streams.commands.doctor.settings import DoctorSettings
from certificates import Certificates
from embedded_kafka import BlockingKafka, BrokerSecurity, EmbeddedKafka
from plant import PROGRAM, Plant, running_plant, wait_until

PREFIX = "granted."
ADMIN = "admin"
PASSWORD = "secret-of-%s"  # of the users of this test's broker
MECHANISM = "SCRAM-SHA-512"
RESOURCE_TYPES = {"topic": ResourceType.TOPIC, "group": ResourceType.GROUP, "cluster": ResourceType.BROKER}
ONLY_KAFKA = ("registry", "exchange", "key")


class Secured:
    """A broker that requires TLS and a login, and lets only `admin` do what no ACL allows."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.certificates = Certificates(folder)
        users = {user: PASSWORD % user for user in (ADMIN, "nobody", *ACCESS)}
        security = BrokerSecurity("SASL_SSL", MECHANISM, users, keystore=self.certificates.broker)
        properties = {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            # Brokers have no user name among themselves: their listeners are only on loopback.
            "super.users": f"User:{ADMIN};User:ANONYMOUS",
        }
        self.kafka = BlockingKafka(EmbeddedKafka(folder / "data", port=0, security=security, properties=properties))

    @property
    def address(self) -> str:
        return self.kafka.bootstrap_servers

    def login(self, user: str) -> dict[str, Any]:
        """Settings of a user, by attribute."""
        password = self.folder / f"{user}.password"
        password.write_text(PASSWORD % user)
        return {
            "security_protocol": "SASL_SSL",
            "sasl_mechanism": MECHANISM,
            "sasl_username": user,
            "sasl_password_file": str(password),
            "ssl_ca_file": str(self.certificates.trusted),
        }

    def flags(self, user: str) -> tuple[str, ...]:
        """The same as flags."""
        return tuple(
            part for name, value in self.login(user).items() for part in (f"--{name.replace('_', '-')}", value)
        )

    def doctor(self, user: str, **settings: Any) -> dict[str, Finding]:
        """Return the findings, by check."""
        given = {"bootstrap_servers": self.address, "topic_prefix": PREFIX, "skip": ONLY_KAFKA, "timeout": 60}
        findings = asyncio.run(examine(DoctorSettings(**(given | self.login(user) | settings))))
        assert (PASSWORD % user) not in repr(findings)
        return {finding.check.replace(self.address, "BROKER"): finding for finding in findings}

    def tool(self, line: str) -> None:
        """Run a line of `kafka-acls.sh` with Kafka's own tool."""
        script, *words = shlex.split(line)
        assert script == "kafka-acls.sh"
        config = self.folder / "admin.properties"
        login = f'username="{ADMIN}" password="{PASSWORD % ADMIN}"'
        config.write_text(
            f"security.protocol=SASL_SSL\nsasl.mechanism={MECHANISM}\nssl.truststore.type=PEM\n"
            f"ssl.truststore.location={self.certificates.trusted}\n"
            f"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required {login};\n"
        )
        words[words.index("--command-config") + 1] = str(config)
        command = self.kafka.kafka.runtime.command("org.apache.kafka.tools.AclCommand", *words)
        done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    def printed(self, *options: str) -> list[str]:
        """The output of `topics acls`."""
        command = [*PROGRAM, "topics", "acls", "--bootstrap-servers", self.address, "--topic-prefix", PREFIX]
        done = subprocess.run(
            [*command, *self.flags(ADMIN), *options], capture_output=True, text=True, timeout=60, check=True
        )
        return done.stdout.splitlines()

    def grant(self) -> None:
        """Grant the printed ACLs: one line of each form with Kafka's own tool, which is slow, the rest as JSON with another client."""
        lines = self.printed("--services", "topics,book-builder")
        of_each_form = {line.split(" --operation ")[-1].split()[1]: line for line in lines if not line.startswith("#")}
        assert of_each_form.keys() == {"--topic", "--group", "--cluster"}
        for line in of_each_form.values():
            self.tool(line)
        rows = [json.loads(line) for line in self.printed("--json")]
        admin = self.admin()
        for granted in admin.create_acls([_binding(row) for row in rows]).values():
            granted.result(60)

    def take_away(self, user: str, operation: Operation, resource: Resource, name: str) -> None:
        row = {"resource_type": resource, "resource": name, "principal": f"User:{user}", "operation": operation}
        acl = _binding(row | {"pattern_type": "literal"})
        parts = (acl.restype, acl.name, acl.resource_pattern_type, acl.principal, acl.host, acl.operation)
        admin = self.admin()
        for taken in admin.delete_acls([AclBindingFilter(*parts, acl.permission_type)]).values():
            assert len(taken.result(60)) == 1, "it had been granted"

    def admin(self) -> AdminClient:
        login = self.login(ADMIN)
        return AdminClient(
            {
                "bootstrap.servers": self.address,
                "security.protocol": login["security_protocol"],
                "sasl.mechanism": MECHANISM,
                "sasl.username": ADMIN,
                "sasl.password": PASSWORD % ADMIN,
                "ssl.ca.location": login["ssl_ca_file"],
            }
        )


def _binding(row: dict[str, Any]) -> AclBinding:
    words = "_".join(re.findall("[A-Z][a-z]+", row["operation"])).upper()
    return AclBinding(
        RESOURCE_TYPES[row["resource_type"]],
        row["resource"],
        ResourcePatternType[row["pattern_type"].upper()],
        row["principal"],
        "*",
        AclOperation[words],
        AclPermissionType.ALLOW,
    )


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    secured = Secured(tmp_path_factory.mktemp("secured"))
    with secured.kafka:
        yield secured


def states(findings: dict[str, Finding]) -> dict[str, State]:
    return {check: finding.state for check, finding in findings.items()}


def test_each_login_failure_has_its_own_message(secured: Secured, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong"
    wrong.write_text("not the password")
    other = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(other))

    def login_of(**settings: Any) -> Finding:
        return secured.doctor("nobody", **settings)["login BROKER"]

    refused = login_of(sasl_password_file=wrong)
    assert refused.state is State.FAIL
    assert "refuses the user or the password" in refused.found
    assert "not the password" not in repr(refused)
    unknown = login_of(sasl_mechanism="PLAIN")
    assert unknown.state is State.FAIL
    assert MECHANISM in unknown.todo
    untrusted = secured.doctor("nobody", ssl_ca_file=other)
    assert untrusted["tls BROKER"].state is State.FAIL
    assert "--ssl-ca-file" in untrusted["tls BROKER"].todo
    assert untrusted["login BROKER"].state is State.SKIPPED
    port = secured.address.rpartition(":")[2]
    misnamed = secured.doctor("nobody", bootstrap_servers=f"localhost:{port}")[f"tls localhost:{port}"]
    assert misnamed.state is State.FAIL
    assert "for another host" in misnamed.found
    none = dict.fromkeys(("sasl_mechanism", "sasl_username", "sasl_password_file"))
    without_login = login_of(**none, security_protocol="SSL")
    assert "requires a login" in without_login.found
    assert "SASL_SSL" in without_login.todo
    assert "uses TLS" in login_of(**none, security_protocol="PLAINTEXT", ssl_ca_file=None).found


def test_the_printed_acls_suffice_and_a_missing_one_is_named(secured: Secured, tmp_path: Path) -> None:
    services = ("market-producer", "perp-producer", "rest-poller", "book-builder", "account-producer")
    nothing = secured.doctor("nobody")
    assert nothing["login BROKER"].state is State.OK
    assert {nothing[f"rights of {part}"].state for part in services[:4]} == {State.FAIL}
    secured.grant()
    missing = secured.doctor("topics", services=("topics",))
    assert missing["topics"].state is State.FAIL
    assert "topics apply" in missing["topics"].todo
    key = Key(tmp_path)
    with running_plant(secured.address, tmp_path, PREFIX) as plant:
        applied = plant.run("topics", "apply", *secured.flags("topics"))
        assert applied.returncode == 0, applied.stderr
        _serve(plant, secured, services, key)
        for part in ACCESS:
            findings = secured.doctor(part, services=(part,))
            assert not [each for each in findings.values() if each.state is State.FAIL], findings
            assert findings[f"rights of {part}"].state is State.OK, findings
        _take_away(secured)


def _serve(plant: Plant, secured: Secured, services: tuple[str, ...], key: Key) -> None:
    """Run every service with its own login, until books are live and nothing was refused."""
    plant.start_exchange("--symbols", "3", "--rate", "30", "--account-key", key.public)
    filled = plant.run(
        *("backfill", "kline.1m", "BTC_USDC_PERP", "--from", "2026-11-01", "--to", "2026-11-01T01:00"),
        *("--rest-url", plant.exchange.rest_url, *secured.flags("backfill")),
    )
    assert filled.returncode == 0, filled.stderr
    options = {"account-producer": ("--private-key-file", str(key.file))}
    running = [plant.start(each, *secured.flags(each), *options.get(each, ())) for each in services]
    for process in running:
        wait_until(f"{process.arguments[0]} is ready", process.is_ready)
    books = plant.run("book", "all", "--once", "--json", *secured.flags("reader"))
    assert books.returncode == 0, books.stderr
    for topic in ("market.book_top", "reference.security", "perp.funding_rate"):
        tail = plant.run("tail", PREFIX + topic, "-n", "1", "--from-beginning", *secured.flags("reader"))
        assert tail.returncode == 0, tail.stderr
    orders = plant.run(
        "tail", PREFIX + "account.order", "-n", "1", "--from-beginning", *secured.flags("account-reader")
    )
    assert orders.returncode == 0, orders.stderr
    for process in running:
        assert process.stop() == 0, process.log_tail()
        assert "uthoriz" not in process.log.read_text(), process.log.read_text()


def _take_away(secured: Secured) -> None:
    """Remove one ACL at a time; each is named."""
    for part, operation, resource, name in (
        ("market-producer", Operation.WRITE, Resource.TOPIC, PREFIX + "market.trade"),
        ("reader", Operation.READ, Resource.TOPIC, PREFIX + "market.depth"),
        ("rest-poller", Operation.WRITE, Resource.TOPIC, PREFIX + "market.book_snapshot"),
        ("book-builder", Operation.READ, Resource.GROUP, BOOK_BUILDER_GROUP),
    ):
        secured.take_away(part, operation, resource, name)
        refused = secured.doctor(part, services=(part,))[f"rights of {part}"]
        assert refused.state is State.FAIL, refused
        assert name in refused.found
        assert operation in refused.found
        assert part in refused.todo


def test_doctor_reports_wrong_topics_a_failing_exchange_and_a_wrong_clock(kafka: BlockingKafka, tmp_path: Path) -> None:
    """Against a broker without logins: topics that differ from their declaration, a failing exchange, a wrong clock."""
    with running_plant(kafka.bootstrap_servers, tmp_path, "ill.") as plant:
        exchange = plant.start_exchange("--symbols", "1", "--start", "control")
        assert plant.run("topics", "apply").returncode == 0
        given = {"bootstrap_servers": plant.bootstrap_servers, "topic_prefix": plant.prefix, "timeout": 60}
        urls = {"ws_url": exchange.ws_url, "rest_url": exchange.rest_url}

        def look(**settings: Any) -> dict[str, Finding]:
            return {each.check: each for each in asyncio.run(examine(DoctorSettings(**(given | urls | settings))))}

        well = look()
        assert {each.state for each in well.values()} <= {State.OK, State.WARN, State.SKIPPED}, well
        warned = ["replicas", *(["compression"] if unusable_codecs() else [])]
        assert [check for check, state in states(well).items() if state is State.WARN] == warned, well
        assert {well[check].state for check in ("rest", "websocket", "clock", "topics", "brokers")} == {State.OK}

        exchange.order("clock-offset", offset=600)
        behind = look(skip=("kafka",))["clock"]
        assert (behind.state, "600" in behind.found) == (State.FAIL, True), behind
        exchange.clear()
        exchange.order("clock-offset", offset=5)
        assert look(skip=("kafka",))["clock"].state is State.WARN
        exchange.clear()
        exchange.order("rest-5xx", status=503)
        away = look(skip=("kafka",))["rest"]
        assert (away.state, "HTTP 503" in away.found) == (State.FAIL, True), away
        exchange.clear()
        exchange.kill()
        gone = look(skip=("kafka",))
        assert {gone[check].state for check in ("rest", "websocket", "clock")} == {State.SKIPPED}
        assert State.FAIL in states(gone).values()

        few = look(skip=("exchange",), topic_prefix="few.")
        assert few["topics"].state is State.FAIL
        asyncio.run(_topics_of_their_own(plant.bootstrap_servers))
        few = look(skip=("exchange",), topic_prefix="few.", services=("perp-producer",))
        assert (few["partitions"].state, "few.perp.mark_price (1 of 4)" in few["partitions"].found) == (
            State.WARN,
            True,
        )
        assert (few["replicas"].state, "writing is impossible" in few["replicas"].found) == (State.FAIL, True)
        assert (few["configs"].state, "retention.ms" in few["configs"].found) == (State.WARN, True)
        assert "gzip on few.perp.mark_price" in few["compression"].found
        assert "few.perp.liquidation" in few["topics"].found


async def _topics_of_their_own(bootstrap_servers: str) -> None:
    """Topics as another team may have created them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    try:
        configs = {"min.insync.replicas": "2", "retention.ms": "1000", "compression.type": "gzip"}
        await admin.create_topics([NewTopic("few.perp.mark_price", 1, 1, topic_configs=configs)])
    finally:
        await admin.close()
