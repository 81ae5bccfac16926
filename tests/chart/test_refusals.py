"""Wrong values are refused by Helm, with a line that says which value and what is allowed."""

from typing import Any

import pytest

from backpack_streams.publishing.settings import PublishingSettings
from chart.rendering import Chart, RefusedError
from chart_files import CHART

Values = dict[str, Any]

BY_THE_SCHEMA: dict[str, tuple[Values, str]] = {
    "no shard": ({"marketProducer": {"shards": 0}}, "'/marketProducer/shards': minimum: got 0, want 1"),
    "no producer": (
        {"perpProducer": {"replicasPerShard": 0}},
        "'/perpProducer/replicasPerShard': minimum: got 0, want 1",
    ),
    "half a shard": ({"marketProducer": {"shards": 1.5}}, "'/marketProducer/shards': got number, want null or integer"),
    "a word for a number": (
        {"bookBuilder": {"replicas": "two"}},
        "'/bookBuilder/replicas': got string, want null or integer",
    ),
    "a word for a switch": ({"sandbox": {"enabled": "yes"}}, "'/sandbox/enabled': got string, want null or boolean"),
    "a list for a map": ({"kafka": ["a:9092"]}, "'/kafka': got array, want null or object"),
    "an unknown value": ({"kakfa": {}}, "additional properties 'kakfa' not allowed"),
    "an unknown value within": (
        {"marketProducer": {"shardCount": 3}},
        "'/marketProducer': additional properties 'shardCount' not allowed",
    ),
    "an unknown setting": (
        {"marketProducer": {"config": {"lingr_ms": 5}}},
        "'/marketProducer/config': additional properties 'lingr_ms' not allowed",
    ),
    "a setting of another service": (
        {"restPoller": {"config": {"linger_ms": 5}}},
        "'/restPoller/config': additional properties 'linger_ms' not allowed",
    ),
    "a setting that has a value": (
        {"marketProducer": {"config": {"shard_count": 3}}},
        "'/marketProducer/config': additional properties 'shard_count' not allowed",
    ),
    "a setting out of bounds": (
        {"config": {"buffer_mib": 0}},
        "'/config/buffer_mib': minimum: got 0, want 1",
    ),
    "a setting of the wrong type": (
        {"bookBuilder": {"config": {"top_levels": "many"}}},
        "'/bookBuilder/config/top_levels': got string, want null or integer",
    ),
    "a choice that is none": (
        {"marketProducer": {"config": {"connections": 3}}},
        "'/marketProducer/config/connections': value must be one of 1, 2",
    ),
    "a broker without a port": (
        {"kafka": {"bootstrapServers": "kafka"}},
        "'/kafka/bootstrapServers': 'kafka' does not match",
    ),
    "a list with such a broker": (
        {"kafka": {"bootstrapServers": ["kafka:9092", "kafka"]}},
        "'/kafka/bootstrapServers/1': 'kafka' does not match",
    ),
    "an unknown protocol": (
        {"kafka": {"securityProtocol": "TLS"}},
        "'/kafka/securityProtocol': value must be one of 'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT', 'SASL_SSL'",
    ),
    "an unknown mode": (
        {"topics": {"mode": "operator"}},
        "'/topics/mode': value must be one of 'job', 'strimzi', 'none'",
    ),
    "a prefix Kafka refuses": ({"topicPrefix": "back pack."}, "'/topicPrefix': 'back pack.' does not match"),
    "an unknown level": ({"logLevel": "loud"}, "'/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
    "a registry without a scheme": ({"schemaRegistry": {"url": "registry:8081"}}, "'/schemaRegistry/url': "),
    "credentials in a URL": ({"schemaRegistry": {"url": "https://me:secret@registry"}}, "'/schemaRegistry/url': "),
    "a tag as a digest": ({"image": {"digest": "latest"}}, "'/image/digest': 'latest' does not match"),
    "a secret that is no name": (
        {"accountProducer": {"existingSecret": "My Key"}},
        "'/accountProducer/existingSecret': ",
    ),
    "root": ({"podSecurity": {"runAsUser": 0}}, "'/podSecurity/runAsUser': minimum: got 0, want 1"),
    "nobody may ever leave": (
        {"podDisruptionBudget": {"maxUnavailable": 0}},
        "'/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1",
    ),
    "a word for a budget": (
        {"podDisruptionBudget": {"maxUnavailable": "half"}},
        "'/podDisruptionBudget/maxUnavailable': 'half' does not match",
    ),
    "no percent": (
        {"podDisruptionBudget": {"maxUnavailable": "0%"}},
        "'/podDisruptionBudget/maxUnavailable': '0%' does not match",
    ),
    "a toleration's field misspelt": (
        {"tolerations": [{"keys": "a"}]},
        "'/tolerations/0': additional properties 'keys' not allowed",
    ),
    "a peer's field misspelt": (
        {"networkPolicy": {"metricsFrom": [{"podSelectors": {}}]}},
        "'/networkPolicy/metricsFrom/0': additional properties 'podSelectors' not allowed",
    ),
    "a port beyond": ({"networkPolicy": {"kafka": {"ports": [70000]}}}, "'/networkPolicy/kafka/ports/0': maximum"),
    "a volume without a name": (
        {"extraVolumes": [{"emptyDir": {}}]},
        "'/extraVolumes/0': missing property 'name'",
    ),
    "a mount's field misspelt": (
        {"restPoller": {"extraVolumeMounts": [{"name": "a", "mountpath": "/a"}]}},
        "'/restPoller/extraVolumeMounts/0': ",
    ),
    "a family that is none": (
        {"services": {"ipFamilies": ["IPv5"]}},
        "'/services/ipFamilies/0': value must be one of 'IPv4', 'IPv6'",
    ),
    "a type of Service that is none": (
        {"gateway": {"service": {"type": "ExternalName"}}},
        "'/gateway/service/type': value must be one of 'ClusterIP', 'NodePort', 'LoadBalancer'",
    ),
    "a host that is none": (
        {"gateway": {"ingress": {"hosts": ["https://market.example.com/"]}}},
        "'/gateway/ingress/hosts/0': 'https://market.example.com/' does not match",
    ),
    "a parent's field misspelt": (
        {"gateway": {"httpRoute": {"parentRefs": [{"name": "edge", "section": "https"}]}}},
        "'/gateway/httpRoute/parentRefs/0': additional properties 'section' not allowed",
    ),
    "a file of keys beside the secret": (
        {"gateway": {"config": {"keys_file": "/keys.json"}}},
        "'/gateway/config': additional properties 'keys_file' not allowed",
    ),
    "one share of the limits for all": (
        {"config": {"rate_limit_share": 0.8}},
        "'/config': additional properties 'rate_limit_share' not allowed",
    ),
    "a user by name": ({"podSecurity": {"runAsUser": "backpack"}}, "'/podSecurity/runAsUser': maxLength: "),
}

LOGIN = {"securityProtocol": "SASL_SSL", "saslMechanism": "SCRAM-SHA-512", "existingSecret": "login"}
TOGETHER: dict[str, tuple[Values, str]] = {
    "no brokers": (
        {"kafka": {"bootstrapServers": ""}},
        "kafka.bootstrapServers is needed: --set kafka.bootstrapServers=HOST:PORT",
    ),
    "brokers left empty": (
        {"kafka": {"bootstrapServers": None}},
        "kafka.bootstrapServers is needed: --set kafka.bootstrapServers=HOST:PORT",
    ),
    "two autoscalers": (
        {"bookBuilder": {"hpa": {"enabled": True}, "keda": {"enabled": True}}},
        "bookBuilder.hpa.enabled and bookBuilder.keda.enabled are both true: two autoscalers would fight over one Deployment; enable one",
    ),
    "bounds the wrong way round": (
        {"bookBuilder": {"keda": {"minReplicas": 5}}},
        "bookBuilder.keda.minReplicas is above bookBuilder.keda.maxReplicas",
    ),
    "a login without a mechanism": (
        {"kafka": LOGIN | {"saslMechanism": ""}},
        "kafka.securityProtocol SASL_SSL needs kafka.saslMechanism: PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 or OAUTHBEARER",
    ),
    "a login without a secret": (
        {"kafka": LOGIN | {"existingSecret": ""}},
        "kafka.securityProtocol SASL_SSL needs kafka.existingSecret, the name of a secret that holds the login",
    ),
    "a mechanism without a login": (
        {"kafka": {"saslMechanism": "PLAIN"}},
        "kafka.saslMechanism is set, but no login takes place with kafka.securityProtocol PLAINTEXT",
    ),
    "a secret nobody reads": (
        {"kafka": {"existingSecret": "login"}},
        "kafka.existingSecret is set, but nothing of it is used with kafka.securityProtocol PLAINTEXT",
    ),
    "authorities without TLS": (
        {"kafka": {"caSecret": {"name": "ca"}}},
        "kafka.caSecret.name is set, but TLS is not used with kafka.securityProtocol PLAINTEXT",
    ),
    "a token without its key": (
        {"kafka": LOGIN | {"saslMechanism": "OAUTHBEARER"}},
        "kafka.saslMechanism OAUTHBEARER needs kafka.secretKeys.oauthToken",
    ),
    "a token for KEDA": (
        {
            "kafka": LOGIN | {"saslMechanism": "OAUTHBEARER", "secretKeys": {"oauthToken": "token"}},
            "bookBuilder": {"keda": {"enabled": True}},
        },
        "bookBuilder.keda.enabled: KEDA cannot log in with a token from a file (OAUTHBEARER); use bookBuilder.hpa",
    ),
    "a key without its certificate": (
        {"kafka": LOGIN | {"secretKeys": {"key": "tls.key"}}},
        "kafka.secretKeys.key needs kafka.secretKeys.cert, the key of its certificate",
    ),
    "a registry's secret without a registry": (
        {"schemaRegistry": {"existingSecret": "registry"}},
        "schemaRegistry.existingSecret is set, but no registry: set schemaRegistry.url",
    ),
    "an account without its key": (
        {"accountProducer": {"enabled": True}},
        "accountProducer.enabled needs accountProducer.existingSecret, the name of a secret with the account's private key",
    ),
    "a way in without keys": (
        {"gateway": {"enabled": True, "ingress": {"enabled": True}}},
        "gateway.ingress.enabled needs gateway.existingSecret, the name of a secret with API keys",
    ),
    "a route without keys": (
        {"gateway": {"enabled": True, "httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}]}}},
        "gateway.httpRoute.enabled needs gateway.existingSecret",
    ),
    "a load balancer without keys": (
        {"gateway": {"enabled": True, "service": {"type": "LoadBalancer"}}},
        "gateway.service.type LoadBalancer needs gateway.existingSecret",
    ),
    "a route of no gateway": (
        {"gateway": {"enabled": True, "existingSecret": "keys", "httpRoute": {"enabled": True}}},
        "gateway.httpRoute.enabled needs gateway.httpRoute.parentRefs, the Gateways that the route belongs to",
    ),
    "more gateways at least than at most": (
        {"gateway": {"hpa": {"minReplicas": 9}}},
        "gateway.hpa.minReplicas is above gateway.hpa.maxReplicas",
    ),
    "keys, and open to all": (
        {"gateway": {"enabled": True, "existingSecret": "keys", "config": {"open_to_all": True}}},
        "gateway.existingSecret and gateway.config.open_to_all are both set",
    ),
    "a proxy twice": (
        {"config": {"exchange_proxy": "http://proxy:3128", "exchange_proxy_file": "/etc/proxy/url"}},
        "config.exchange_proxy and config.exchange_proxy_file are both set: keep one",
    ),
    "a proxy of a service twice": (
        {"restPoller": {"config": {"exchange_proxy": "http://proxy:3128", "exchange_proxy_file": "/etc/proxy/url"}}},
        "restPoller.config.exchange_proxy and restPoller.config.exchange_proxy_file are both set: keep one",
    ),
    "a buffer above the limit": (
        {"config": {"buffer_mib": 600}},
        "market-producer: buffer_mib 600 and 200 MiB for the program itself are more than its memory limit 768Mi",
    ),
    "a service's buffer above the limit": (
        {"bookBuilder": {"config": {"buffer_mib": 825}}},
        "book-builder: buffer_mib 825 and 200 MiB for the program itself are more than its memory limit 1Gi",
    ),
    "a limit below the buffer": (
        {"restPoller": {"resources": {"limits": {"memory": 400_000_000}}}},
        "rest-poller: buffer_mib 256 and 200 MiB for the program itself are more than its memory limit 400000000",
    ),
    "topics of no cluster": (
        {"topics": {"mode": "strimzi"}},
        "topics.mode strimzi needs topics.strimzi.cluster, the name of the Kafka resource that the topics belong to",
    ),
    "a variable set twice": (
        {"extraEnv": [{"name": "BACKPACK_STREAMS_TOPIC_PREFIX", "value": "x."}]},
        "extraEnv names BACKPACK_STREAMS_TOPIC_PREFIX, which the chart sets itself",
    ),
}


@pytest.mark.parametrize("case", BY_THE_SCHEMA)
def test_the_schema_refuses(chart: Chart, case: str) -> None:
    values, said = BY_THE_SCHEMA[case]
    assert said in chart.refusal(values)


@pytest.mark.parametrize("case", TOGETHER)
def test_values_that_do_not_go_together_are_refused(chart: Chart, case: str) -> None:
    values, said = TOGETHER[case]
    (line,) = (line for line in chart.refusal(values).splitlines() if line.startswith("Error: "))
    assert said in line


@pytest.mark.parametrize(
    ("buffer", "limit"),
    [(568, "768Mi"), (800, "0.98Gi"), (820, "1.1G"), (256, 536_870_912), (4096, None), (4096, "5e9"), (4096, "4500Mi")],
)
def test_a_buffer_within_the_limit_is_taken(chart: Chart, buffer: int, limit: str | int | None) -> None:
    own = {"config": {"buffer_mib": buffer}, "resources": {"limits": {"memory": limit} if limit else None}}
    assert chart.render({"marketProducer": own, "perpProducer": {"enabled": False, "config": {"buffer_mib": 9999}}})


def test_the_buffer_that_the_chart_assumes_is_the_programs() -> None:
    template = (CHART / "templates" / "validate.yaml").read_text("utf-8")
    assert f'"buffer_mib" | default {PublishingSettings().buffer_mib} |' in template


def test_lint_refuses_what_install_refuses(chart: Chart) -> None:
    with pytest.raises(RefusedError, match="minimum: got 0, want 1"):
        chart.run("lint", "--strict", str(CHART), values={"marketProducer": {"shards": 0}})


@pytest.mark.parametrize("release", ["1st", "my.release"])
def test_a_release_name_that_no_service_may_have_is_refused(chart: Chart, release: str) -> None:
    assert f"{release}-backpack-streams cannot begin the name of a Service" in chart.refusal(release=release)
    assert chart.render({"fullnameOverride": "first"}, release=release)
