"""Every two choices of the documented switches render together, and the oldest and newest Kubernetes take what comes out."""

from typing import Any

import pytest

from chart.combinations import all_pairs, pairs_of, rows
from chart.rendering import NEWEST, OLDEST, Chart, complaints, containers, environment, merged, pods
from chart_files import CHART

Values = dict[str, Any]


def switch(path: str, on: Any = True, off: Any = False) -> dict[str, Values]:
    return {"on": nested(path, on), "off": nested(path, off)}


def nested(path: str, value: Any) -> Values:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


LOGIN = {"existingSecret": "kafka-login", "saslMechanism": "SCRAM-SHA-512"}
SWITCHES: dict[str, dict[str, Values]] = {
    "market": {
        "off": nested("marketProducer.enabled", False),
        "one": {},
        "many": {"marketProducer": {"shards": 3, "replicasPerShard": 2, "streams": ["depth", "trade"]}},
    },
    "perp": {
        "off": nested("perpProducer.enabled", False),
        "one": {},
        "many": {"perpProducer": {"shards": 2, "handoverSeconds": 0, "streams": "markPrice,openInterest"}},
    },
    "account": switch("accountProducer", {"enabled": True, "existingSecret": "account"}, {}),
    "poller": switch("restPoller.enabled"),
    "builder": {
        "off": nested("bookBuilder.enabled", False),
        "fixed": nested("bookBuilder.replicas", 3),
        "hpa": nested("bookBuilder.hpa.enabled", True),
        "keda": nested("bookBuilder.keda.enabled", True),
    },
    "sandbox": switch("sandbox.enabled"),
    "exchange": switch("exchange", {"wsUrl": "wss://ws.example.com:8443", "restUrl": "https://rest.example.com"}, {}),
    "topics": {
        "job": {},
        "strimzi": {"topics": {"mode": "strimzi", "strimzi": {"cluster": "my-cluster", "replicas": 3}}},
        "none": nested("topics.mode", "none"),
    },
    "kafka": {
        "plaintext": {},
        "tls": {"kafka": {"securityProtocol": "SSL", "existingSecret": "tls", "secretKeys": {"ca": "ca.crt"}}},
        "mutual": {
            "kafka": {
                "securityProtocol": "SSL",
                "existingSecret": "tls",
                "secretKeys": {"ca": "ca.crt", "cert": "tls.crt", "key": "tls.key", "keyPassword": "password"},
            }
        },
        "scram": {"kafka": {"securityProtocol": "SASL_SSL", **LOGIN}},
        "strimzi-user": {
            "kafka": {
                "securityProtocol": "SASL_SSL",
                **LOGIN,
                "username": "backpack",
                "checkHostname": False,
                "caSecret": {"name": "my-cluster-cluster-ca-cert"},
            }
        },
        "plain": {"kafka": {"securityProtocol": "SASL_PLAINTEXT", **LOGIN, "saslMechanism": "PLAIN"}},
    },
    "registry": {
        "off": {},
        "open": nested("schemaRegistry.url", "http://registry:8080/apis/ccompat/v7"),
        "login": {"schemaRegistry": {"url": "https://registry", "existingSecret": "registry", "register": False}},
        "tls": {
            "schemaRegistry": {
                "url": "https://registry-1:8443,https://registry-2:8443",
                "existingSecret": "registry",
                "secretKeys": {"username": "", "ca": "ca.crt", "cert": "tls.crt", "key": "tls.key"},
            }
        },
    },
    "policies": {
        "on": {},
        "off": nested("networkPolicy.enabled", False),
        "narrow": {
            "networkPolicy": {
                "metricsFrom": [{"podSelector": {"matchLabels": {"app": "prometheus"}}}],
                "dns": {"to": [{"namespaceSelector": {}}], "ports": [53, 5353]},
                "kafka": {"to": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}], "ports": [9094]},
                "exchange": {"to": [{"ipBlock": {"cidr": "0.0.0.0/0"}}]},
            }
        },
    },
    "budgets": switch("podDisruptionBudget.enabled"),
    "spread": switch("topologySpread.enabled"),
    "service account": {
        "own": {},
        "given": {"serviceAccount": {"create": False, "name": "trading"}},
        "none": nested("serviceAccount.create", False),
    },
    "monitor": switch("serviceMonitor", {"enabled": True, "labels": {"release": "prometheus"}}, {}),
    "rules": switch("prometheusRule", {"enabled": True, "runbookBaseUrl": "https://git.example.com/blob/main/"}, {}),
    "dashboard": switch("dashboard", {"enabled": True, "annotations": {"grafana_folder": "Markets"}}, {}),
    "image": {
        "tag": {},
        "digest": {"image": {"digest": "sha256:" + "0" * 64}, "imagePullSecrets": [{"name": "registry-login"}]},
    },
    "placing": {
        "anywhere": {},
        "chosen": {
            "podAnnotations": {"reloader.stakater.com/auto": "true"},
            "podLabels": {"team": "data"},
            "commonLabels": {"cost-center": "42"},
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
            "priorityClassName": "high",
            "restPoller": {"nodeSelector": {"zone": "a"}, "podAnnotations": {"own": "yes"}},
            "podSecurity": {"runAsUser": None, "runAsGroup": None, "fsGroup": None},
        },
    },
    "settings": {
        "defaults": {},
        "more": {
            "symbols": ["BTC_USDC_PERP", "SOL_USDC"],
            "logLevel": "debug",
            "config": {"buffer_mib": 20000000},
            "marketProducer": {"config": {"connections": 2, "linger_ms": 0.5}},
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "sandbox": {"config": {"symbols": 40, "rate": "max"}},
        },
    },
}
ROWS = rows({name: list(choices) for name, choices in SWITCHES.items()})


def values_of(row: dict[str, str]) -> Values:
    return merged(*(SWITCHES[name][choice] for name, choice in row.items()))


def test_every_two_choices_meet() -> None:
    wanted = all_pairs({name: list(choices) for name, choices in SWITCHES.items()})
    assert wanted <= set().union(*map(pairs_of, ROWS))
    assert len(wanted) > 1000


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.values()))
def test_every_combination_is_taken_by_kubernetes(chart: Chart, row: dict[str, str]) -> None:
    for version in (OLDEST, NEWEST):
        resources = chart.render(values_of(row), kubernetes=version)
        assert complaints(resources, version) == []
        identities = [(each["kind"], each["metadata"].get("namespace"), each["metadata"]["name"]) for each in resources]
        assert len(identities) == len(set(identities))
        for container in (container for pod in pods(resources) for container in containers(pod)):
            assert all(value not in (None, "") for value in environment(container).values())


def test_unknown_fields_are_seen(chart: Chart) -> None:
    for kind in ("Deployment", "ServiceMonitor", "ScaledObject", "KafkaTopic", "PrometheusRule"):
        values = merged(
            SWITCHES["monitor"]["on"],
            SWITCHES["builder"]["keda"],
            SWITCHES["topics"]["strimzi"],
            SWITCHES["rules"]["on"],
        )
        resource = next(each for each in chart.render(values) if each["kind"] == kind)
        assert complaints([resource], NEWEST) == []
        assert complaints([resource | {"spec": {**resource["spec"], "misspelt": 1}}], NEWEST) != []


@pytest.mark.parametrize("values", [{}, {"kafka": {"bootstrapServers": "kafka:9092"}}], ids=["bare", "least"])
def test_lint_has_no_complaint(chart: Chart, values: Values) -> None:
    assert "0 chart(s) failed" in chart.run("lint", "--strict", str(CHART), values=values)
