"""Judges Kafka's answers: login, brokers, topics, rights. Sans I/O."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from aiokafka.errors import (
    AuthenticationFailedError,
    IllegalSaslStateError,
    KafkaError,
    SaslAuthenticationFailed,
    UnsupportedSaslMechanismError,
)

from backpack_streams.bus.access import Grant, Operation, Resource, grants
from backpack_streams.bus.admin import Change, Existing, plan
from backpack_streams.bus.inspection import Rights, SeenCluster, SeenGroup, SeenTopic
from backpack_streams.bus.publisher import BATCH_BYTES
from backpack_streams.bus.topics import TOPICS, Topic
from backpack_streams.commands.doctor.findings import Verdict, fail, few, ok, row_text, skipped, warn, worst

MIN_IN_SYNC = "min.insync.replicas"
MOST_BYTES = "max.message.bytes"
COMPRESSION = "compression.type"
AS_WRITTEN = "producer"
STAMP = "message.timestamp.type"
APPLY = "run `backpack-streams topics apply` as a permitted user"
_UNKNOWN_TOPIC = "UnknownTopicOrPartitionError"
_IMPLIED: Mapping[Operation, frozenset[Operation]] = {
    Operation.DESCRIBE: frozenset({Operation.READ, Operation.WRITE, Operation.ALTER}),
    Operation.DESCRIBE_CONFIGS: frozenset({Operation.ALTER_CONFIGS}),
}


def judge_login(
    protocol: str, error: BaseException | None, user: str, speaks_tls: bool, asked: Collection[str]
) -> Verdict:
    """Judge the login.

    Args:
        protocol: the setting `--security-protocol`.
        error: the failure, None if the login succeeded.
        user: the user, empty without one.
        speaks_tls: whether the port uses TLS although the protocol does not.
        asked: the SASL mechanisms that the broker offers.
    """
    if error is None:
        return ok(f"as {user}" if user else "no login required")
    if isinstance(error, UnsupportedSaslMechanismError):
        return fail(
            "Kafka does not support this mechanism", f"set --sasl-mechanism to one that it supports: {', '.join(asked)}"
        )
    if isinstance(error, AuthenticationFailedError | SaslAuthenticationFailed):
        return fail(
            f"Kafka refuses the user or the password ({row_text(error)})",
            "check --sasl-username, --sasl-password-file and --sasl-mechanism, and that the user exists in Kafka",
        )
    if speaks_tls:
        return fail(
            "the port uses TLS, but the setting does not",
            "set --security-protocol SSL, or SASL_SSL if it requires a login",
        )
    if asked and not protocol.startswith("SASL"):
        return fail(
            f"Kafka requires a login ({', '.join(asked)})",
            f"set --security-protocol SASL_{protocol}, --sasl-mechanism, --sasl-username and --sasl-password-file",
        )
    if isinstance(error, IllegalSaslStateError):
        return fail("Kafka expects no login on this port", "set --security-protocol to the one without SASL_")
    if isinstance(error, TimeoutError):
        return fail("it does not answer", "check that this is Kafka's port, and --security-protocol")
    if isinstance(error, KafkaError | OSError | EOFError):
        return fail(
            f"it closes the connection ({row_text(error) or type(error).__name__})",
            "check --security-protocol and that this is Kafka's port; the broker's log says why",
        )
    return fail(f"the server is not Kafka ({type(error).__name__})", "check the port in --bootstrap-servers")


def judge_brokers(cluster: SeenCluster, reached: Collection[int]) -> Verdict:
    """Judge whether clients reach every broker at the address that it advertises.

    Args:
        cluster: the cluster as a broker describes it.
        reached: the node ids of the reachable brokers.
    """
    away = [broker for broker in cluster.brokers if broker.node_id not in reached]
    count = f"{len(cluster.brokers)} broker{'s' if len(cluster.brokers) != 1 else ''}, cluster {cluster.cluster_id}"
    if not away:
        return ok(count)
    named = few(f"{broker.host}:{broker.port} (broker {broker.node_id})" for broker in away)
    return fail(
        f"{len(away)} of {count} are unreachable at their advertised address: {named}",
        "set the brokers' advertised.listeners to addresses that are reachable from here",
    )


def judge_presence(topics: Sequence[Topic], prefix: str, cluster: SeenCluster) -> Verdict:
    """Judge whether the topics exist. Topics that this account may not see are left to the check of its ACLs.

    Args:
        topics: the declarations.
        prefix: the topic prefix.
        cluster: the cluster as a broker describes it.
    """
    missing = [name for name in _full(topics, prefix) if cluster.topics[name].error == _UNKNOWN_TOPIC]
    hidden = [name for name in _full(topics, prefix) if cluster.topics[name].error not in ("", _UNKNOWN_TOPIC)]
    if missing:
        return fail(f"{len(missing)} of {len(topics)} are missing: {few(missing)}", f"{APPLY}; check --topic-prefix")
    if hidden:
        return skipped(f"{len(hidden)} of {len(topics)} are not visible: {few(hidden)}")
    return ok(f"{len(topics)} exist")


def judge_partitions(topics: Sequence[Topic], prefix: str, cluster: SeenCluster) -> Verdict:
    """Judge whether the topics have as many partitions as declared, each with a leader.

    Args:
        topics: the declarations.
        prefix: the topic prefix.
        cluster: the cluster as a broker describes it.
    """
    pairs = [(topic, cluster.topics[topic.full_name(prefix)]) for topic in topics]
    seen = [(topic, each) for topic, each in pairs if each.partitions]
    headless = [f"{each.name}-{place.number}" for _, each in seen for place in each.partitions if place.leader < 0]
    if headless:
        return fail(f"no leader: {few(headless)}", "start their brokers; `kafka-topics.sh --describe` lists them")
    few_of = [
        f"{each.name} ({len(each.partitions)} of {topic.partitions})"
        for topic, each in seen
        if len(each.partitions) < topic.partitions
    ]
    if few_of:
        return warn(
            f"fewer than declared: {few(few_of)}",
            f"{APPLY}; this moves symbols of existing books to other partitions, so do it only before the first record",
        )
    return ok("as declared, each with a leader") if seen else skipped("no topic is visible")


def judge_replicas(cluster: SeenCluster, configs: Mapping[str, Existing]) -> Verdict:
    """Judge whether acknowledged records survive the loss of a broker, and whether writing with acks=all is possible at all.

    Args:
        cluster: the cluster as a broker describes it.
        configs: the configs of each topic, by full name.
    """
    verdicts = [
        _judge_copies(cluster.topics[name], existing, len(cluster.brokers)) for name, existing in configs.items()
    ]
    found = worst([each for each in verdicts if each is not None], ok("enough in-sync replicas"))
    return found if configs else skipped("configs are not visible")


def _judge_copies(topic: SeenTopic, existing: Existing, brokers: int) -> Verdict | None:
    least = int(existing.effective_config.get(MIN_IN_SYNC, "1"))
    copies = min(len(place.replicas) for place in topic.partitions)
    in_sync = min(len(place.in_sync) for place in topic.partitions)
    if copies < least:
        return fail(
            f"{topic.name} has {copies} replicas and {MIN_IN_SYNC}={least}: writing is impossible",
            f"lower {MIN_IN_SYNC} of the topic, or give it more replicas",
        )
    if in_sync < least:
        return fail(
            f"{topic.name} has {in_sync} in-sync replicas and needs {least}: writing is impossible",
            "start the missing brokers, or wait until they have caught up",
        )
    if brokers == 1:
        return warn("one broker: each record has one replica", "sufficient for a trial; otherwise run three brokers")
    if copies == 1:
        return warn(f"{topic.name} has one replica: a lost broker means lost data", "configure three replicas")
    if least == 1:
        return warn(
            f"{topic.name} has {MIN_IN_SYNC}=1: acknowledged records may be on a single broker",
            f"set {MIN_IN_SYNC}=2 with three replicas",
        )
    return None


def judge_configs(
    topics: Sequence[Topic], prefix: str, configs: Mapping[str, Existing], hidden: Sequence[str]
) -> Verdict:
    """Judge the configs that `topics apply` would set, and whether a batch of maximum size fits.

    Args:
        topics: the declarations.
        prefix: the topic prefix.
        configs: the configs of each topic, by full name.
        hidden: the full names of topics whose configs this account may not see.
    """
    small = [
        name for name, each in configs.items() if int(each.effective_config.get(MOST_BYTES, "1048588")) < BATCH_BYTES
    ]
    if small:
        return fail(
            f"{MOST_BYTES} is below {BATCH_BYTES}: {few(small)}",
            f"raise {MOST_BYTES} of the topics, 1048588 is the default",
        )
    stamping = [
        name for name, each in configs.items() if each.effective_config.get(STAMP, "CreateTime") != "CreateTime"
    ]
    if stamping:
        return fail(
            f"{STAMP} is not CreateTime: {few(stamping)}; brokers replace the timestamps, so books as of a moment are wrong",
            APPLY,
        )
    wanted = [
        change
        for topic in topics
        if topic.full_name(prefix) in configs
        for change in plan(topic, prefix, configs[topic.full_name(prefix)])
        if change.action == "set config"
    ]
    if wanted:
        return warn(f"{len(wanted)} not as declared: {few(map(_shown, wanted))}", APPLY)
    if hidden:
        return skipped(f"{len(hidden)} are not visible without DescribeConfigs, which only `topics` needs")
    return ok("as declared") if configs else skipped("no topic is visible")


def judge_compression(configs: Mapping[str, Existing], unusable: Collection[str]) -> Verdict:
    """Judge how Kafka compresses batches, and whether this installation can read them. A topic without its own
    `compression.type` has that of the brokers.

    Args:
        configs: the configs of each topic, by full name.
        unusable: the codecs that this installation lacks.
    """
    demanded: dict[str, list[str]] = {}
    for name, existing in configs.items():
        codec = existing.effective_config.get(COMPRESSION, AS_WRITTEN)
        if codec not in (AS_WRITTEN, "uncompressed"):
            demanded.setdefault(codec, []).append(name)
    told = "; ".join(f"{codec} on {few(names)}" for codec, names in sorted(demanded.items()))
    told = f"Kafka compresses with {told}" if told else "as the writers choose"
    advice = "install backpack-streams with its dependencies: cramjam is missing"
    if unread := sorted(demanded.keys() & set(unusable)):
        return fail(f"{told}; this installation cannot read {', '.join(unread)}", advice)
    if not configs:
        return skipped("configs are not visible")
    if unusable:
        return warn(f"{told}; this installation can neither read nor write {', '.join(unusable)}", advice)
    return ok(f"{told}; this installation reads it")


def _shown(change: Change) -> str:
    return f"{change.topic} ({change.detail})"


def judge_rights(part: str, prefix: str, group_id: str, cluster: SeenCluster, group: SeenGroup | None) -> Verdict:
    """Judge whether Kafka grants what a service needs (see `bus.access`), by the operations that Kafka reports.

    Args:
        part: a part of `bus.access.ACCESS`.
        prefix: the topic prefix.
        group_id: the book-builder's consumer group.
        cluster: the cluster as a broker describes it.
        group: the consumer group, None if unknown.
    """
    missing: dict[Operation, list[str]] = {}
    untold = 0
    for grant in grants(part, prefix, group_id):
        may = _may(grant, cluster, group)
        untold += may is None
        if may is False and grant.is_needed:
            missing.setdefault(grant.operation, []).append(_named(grant))
    if missing:
        what = "; ".join(f"{operation.value} on {few(names)}" for operation, names in missing.items())
        return fail(
            f"not allowed: {what}",
            f"`backpack-streams topics acls --services {part} --principal User:…` prints the ACLs",
        )
    if untold:
        return skipped(f"Kafka does not report {untold} of them (missing topics, or a broker older than 2.3)")
    return ok("all required operations are allowed")


def _named(grant: Grant) -> str:
    return grant.name if grant.resource is Resource.TOPIC else f"{grant.resource.value} {grant.name}"


def _may(grant: Grant, cluster: SeenCluster, group: SeenGroup | None) -> bool | None:
    """Return whether Kafka grants it; None if that is unknown."""
    rights: Rights | None = cluster.rights
    if grant.resource is Resource.GROUP:
        if group is None:
            return None
        if group.error:
            return False if "Authorization" in group.error else None
        rights = group.rights
    elif grant.resource is Resource.TOPIC:
        topic = cluster.topics[grant.name]
        if topic.error:
            return False if "Authorization" in topic.error else None
        rights = topic.rights
    if rights is None:
        return None
    return grant.operation in rights or bool(_IMPLIED.get(grant.operation, frozenset()) & rights)


def topics_of(parts: Iterable[str], prefix: str) -> tuple[Topic, ...]:
    """Return the topics that these services use.

    Args:
        parts: parts of `bus.access.ACCESS`.
        prefix: the topic prefix.
    """
    names = {grant.name for part in parts for grant in grants(part, prefix) if grant.resource is Resource.TOPIC}
    return tuple(topic for topic in TOPICS if topic.full_name(prefix) in names)


def _full(topics: Iterable[Topic], prefix: str) -> list[str]:
    return [topic.full_name(prefix) for topic in topics]
