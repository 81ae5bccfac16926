"""Checks Kafka: the path and login to every broker, then the topics and our rights to them. The thin shell around `kafka_findings`."""

import asyncio
from collections.abc import Callable

from aiokafka.conn import AIOKafkaConnection
from aiokafka.errors import KafkaError

from backpack_streams.bus.access import Resource, grants
from backpack_streams.bus.compression import unusable_codecs
from backpack_streams.bus.connection import KafkaConnection
from backpack_streams.bus.inspection import (
    SeenCluster,
    SeenGroup,
    logged_in,
    mechanisms_of,
    see_cluster,
    see_configs,
    see_group,
)
from backpack_streams.commands.doctor import kafka_findings as judge
from backpack_streams.commands.doctor.findings import Finding, Part, Verdict, fail, row_text, skipped
from backpack_streams.commands.doctor.network import Target
from backpack_streams.commands.doctor.reach import reach, speaks_tls
from backpack_streams.commands.doctor.settings import DoctorSettings
from backpack_streams.runtime.kafka import kafka_connection

ANSWER_SECONDS = 5.0
_OF_THE_CLUSTER = ("topics", "partitions", "replicas", "configs", "compression")

Tell = Callable[[Finding], None]
Address = tuple[str, int]


class KafkaExamination:
    """One check of a cluster. `tell` takes each finding as it is made."""

    def __init__(self, settings: DoctorSettings, tell: Tell) -> None:
        """Prepare.

        Args:
            settings: the cluster, the services and the login.
            tell: takes each finding as it is made.

        Raises:
            UsageError: a TLS file is unusable.
        """
        self._settings = settings
        self._tell = tell
        self._connection: KafkaConnection = kafka_connection(settings)
        self._context = self._connection.client_options().get("ssl_context")

    async def run(self) -> None:
        """Run all checks, concurrently if they are independent.

        Raises:
            UsageError: a TLS file is unusable.
        """
        named = _addresses(self._settings.bootstrap_servers)
        usable = [
            address
            for address, is_usable in zip(
                named, await asyncio.gather(*(self._broker(each, "--bootstrap-servers") for each in named)), strict=True
            )
            if is_usable
        ]
        if not usable:
            for check in ("brokers", *_OF_THE_CLUSTER, *(f"rights of {each}" for each in self._settings.services)):
                self._say(check, skipped("no broker accepts the login"))
            return
        await self._cluster(usable)

    def _say(self, check: str, verdict: Verdict) -> None:
        self._tell(verdict.of(Part.KAFKA, check))

    async def _broker(self, address: Address, setting: str) -> bool:
        """Check the path to one broker and the login there. Return whether both work."""
        host, port = address
        target = Target(
            Part.KAFKA,
            host,
            port,
            self._context,
            setting,
            ca_advice="set the CA certificates of the brokers with --ssl-ca-file",
            plain_advice="set --security-protocol PLAINTEXT or SASL_PLAINTEXT, or use the TLS port",
            certificate_advice="set a client certificate that the brokers trust with --ssl-cert-file and --ssl-key-file",
        )
        reached = await reach(target)
        for finding in reached.findings:
            self._tell(finding)
        check = f"login {target.address}"
        if not reached.is_open:
            self._say(check, skipped("an earlier step failed"))
            return False
        error = await self._login(host, port)
        self._say(check, await self._judge_login(host, port, error))
        return error is None

    async def _login(self, host: str, port: int) -> BaseException | None:
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                logged_in(self._connection, host, port, ANSWER_SECONDS) as socket,
            ):
                await see_cluster(socket, [])  # a broker that requires a login reports it only now
        except NotImplementedError:
            return None  # a broker too old for the request has accepted our login all the same
        except Exception as error:  # noqa: BLE001  # a server that is not Kafka may cause any error
            return error
        return None

    async def _judge_login(self, host: str, port: int, error: BaseException | None) -> Verdict:
        settings = self._settings
        says_something = error is not None and not isinstance(error, TimeoutError)
        tls = says_something and self._context is None and await speaks_tls(host, port)
        asked = await self._mechanisms(host, port) if says_something and not tls else []
        return judge.judge_login(settings.security_protocol, error, settings.sasl_username or "", tls, asked)

    async def _mechanisms(self, host: str, port: int) -> list[str]:
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await mechanisms_of(self._connection, host, port, ANSWER_SECONDS)
        except Exception:  # noqa: BLE001  # the login was refused already; this is only for the advice
            return []

    async def _cluster(self, usable: list[Address]) -> None:
        host, port = usable[0]
        try:
            async with (
                asyncio.timeout(2 * ANSWER_SECONDS),
                logged_in(self._connection, host, port, ANSWER_SECONDS) as socket,
            ):
                await self._look_round(socket, usable)
        except NotImplementedError:
            self._say("brokers", skipped("Kafka is older than 2.3: it does not report topics and ACLs"))
        except (KafkaError, OSError, TimeoutError) as error:
            reason = row_text(error) or type(error).__name__
            self._say("cluster", fail(f"it stopped answering ({reason})", "check the broker's log"))

    async def _look_round(self, socket: AIOKafkaConnection, usable: list[Address]) -> None:
        settings = self._settings
        topics = judge.topics_of(settings.services, settings.topic_prefix)
        cluster = await see_cluster(socket, [topic.full_name(settings.topic_prefix) for topic in topics])
        reaching = asyncio.create_task(self._advertised(cluster, usable))
        try:
            prefix = settings.topic_prefix
            self._say("topics", judge.judge_presence(topics, prefix, cluster))
            self._say("partitions", judge.judge_partitions(topics, prefix, cluster))
            configs, hidden = await see_configs(socket, [each for each in cluster.topics.values() if each.partitions])
            self._say("replicas", judge.judge_replicas(cluster, configs))
            self._say("configs", judge.judge_configs(topics, prefix, configs, hidden))
            self._say("compression", judge.judge_compression(configs, unusable_codecs()))
            group = await self._group(socket)
            for part in settings.services:
                verdict = judge.judge_rights(part, prefix, settings.group_id, cluster, group)
                self._say(f"rights of {part}", verdict)
        finally:
            await reaching

    async def _group(self, socket: AIOKafkaConnection) -> SeenGroup | None:
        settings = self._settings
        needed = any(
            grant.resource is Resource.GROUP
            for part in settings.services
            for grant in grants(part, settings.topic_prefix, settings.group_id)
        )
        if not needed:
            return None
        try:
            return await see_group(self._connection, socket, settings.group_id, ANSWER_SECONDS)
        except (KafkaError, OSError, TimeoutError, NotImplementedError):
            return None  # the path to its coordinator, a broker, has findings of its own

    async def _advertised(self, cluster: SeenCluster, usable: list[Address]) -> None:
        """Check the addresses that the brokers advertise: clients use those, whatever the bootstrap servers are called."""
        others = [each for each in cluster.brokers if (each.host, each.port) not in usable]
        done = await asyncio.gather(*(self._broker((each.host, each.port), "advertised.listeners") for each in others))
        unreached = {each.node_id for each, is_usable in zip(others, done, strict=True) if not is_usable}
        reached = {each.node_id for each in cluster.brokers} - unreached
        self._say("brokers", judge.judge_brokers(cluster, reached))


def _addresses(bootstrap_servers: str) -> list[Address]:
    return list(dict.fromkeys(_address(each) for each in bootstrap_servers.split(",")))


def _address(text: str) -> Address:
    host, _, port = text.strip().rpartition(":")
    return host.strip("[]"), int(port)
