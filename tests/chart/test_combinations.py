"""The documented switches render in every combination, and the oldest and newest Kubernetes take what comes out.

All of them together have more than 10**9 combinations. On every run each two choices meet. With HYPOTHESIS_PROFILE=thorough each part
of each resource is rendered in every combination of what changes it. Since nothing else does, and Kubernetes judges each part by itself,
these are all combinations.
"""

import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from chart.combinations import Group, Row, rows
from chart.rendering import NEWEST, OLDEST, Chart, complaints, environment, identity, merged, own_containers, pods
from chart_files import CHART
from thoroughness import PROFILE

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
    "gateway": {
        "off": {},
        "alone": {"gateway": {"enabled": True, "config": {"rest_fallback": False}}},
        "balanced": {
            "gateway": {
                "enabled": True,
                "replicas": 2,
                "existingSecret": "gateway-keys",
                "service": {"type": "LoadBalancer", "port": 80, "annotations": {"cloud.example.com/internal": "true"}},
            }
        },
        "public": {
            "gateway": {
                "enabled": True,
                "existingSecret": "gateway-keys",
                "secretKey": "desk",
                "config": {"cors_origins": ["https://desk.example.com"], "max_age": 2.5},
                "hpa": {"enabled": True},
                "ingress": {
                    "enabled": True,
                    "className": "nginx",
                    "annotations": {"cert-manager.io/cluster-issuer": "letsencrypt"},
                    "hosts": ["market.example.com", "*.market.example.com"],
                    "tls": [{"hosts": ["market.example.com"], "secretName": "market-tls"}],
                },
                "httpRoute": {
                    "enabled": True,
                    "parentRefs": [{"name": "edge", "namespace": "infra", "sectionName": "https", "port": 443}],
                    "hostnames": ["market.example.com"],
                    "annotations": {"team": "data"},
                },
            }
        },
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
        "public": {"kafka": {"securityProtocol": "SSL"}},
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
                "gatewayFrom": [{"ipBlock": {"cidr": "192.0.2.0/24"}}],
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
    "families": {
        "the cluster's": {},
        "both": {"services": {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv6", "IPv4"]}},
        "IPv6": {"services": {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv6"]}},
    },
    "extras": {
        "none": {},
        "some": {
            "extraVolumes": [{"name": "authority", "configMap": {"name": "authority"}}],
            "extraVolumeMounts": [{"name": "authority", "mountPath": "/etc/authority", "readOnly": True}],
            "initContainers": [{"name": "first", "image": "busybox", "command": ["true"]}],
            "extraContainers": [{"name": "beside", "image": "busybox", "command": ["sleep", "infinity"]}],
            "hostAliases": [{"ip": "fd00::1", "hostnames": ["kafka-1"]}],
            "hookJob": {
                "labels": {"sidecar.istio.io/inject": "false"},
                "annotations": {"linkerd.io/inject": "disabled"},
                "tolerations": [{"operator": "Exists"}],
                "nodeSelector": {"jobs": "yes"},
                "extraContainers": [{"name": "job-beside", "image": "busybox", "command": ["true"]}],
            },
            "config": {"exchange_proxy": "http://proxy:3128", "ws_connect_timeout": 20, "rest_read_timeout": 5},
        },
    },
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
            "podSecurity": {"runAsUser": "", "runAsGroup": "", "fsGroup": ""},
        },
    },
    "settings": {
        "defaults": {},
        "more": {
            "symbols": ["BTC_USDC_PERP", "SOL_USDC"],
            "logLevel": "debug",
            "config": {"progress_timeout": 20000000},
            "marketProducer": {"config": {"connections": 2, "linger_ms": 0.5}},
            "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy:3128"}],
            "sandbox": {"config": {"symbols": 40, "rate": "max"}},
        },
    },
}
CHOICES = {name: list(choices) for name, choices in SWITCHES.items()}
PAIRS: list[Group] = list(itertools.combinations(CHOICES, 2))
ROWS = rows(CHOICES, PAIRS)


def values_of(row: Row) -> Values:
    return merged(*(SWITCHES[name][choice] for name, choice in row.items()))


def wrong_with(chart: Chart, row: Row) -> list[str]:
    """What is wrong with what a row renders to, on either version."""
    found = []
    for version in (OLDEST, NEWEST):
        resources = chart.render(values_of(row), kubernetes=version)
        found += complaints(resources, version)
        identities = [identity(each) for each in resources]
        found += [f"{each} is there twice" for each in set(identities) if identities.count(each) > 1]
        for container in (container for pod in pods(resources) for container in own_containers(pod)):
            found += [f"{name} is empty" for name, value in environment(container).items() if value in (None, "")]
    return found


def test_every_two_choices_meet() -> None:
    for one, other in PAIRS:
        wanted = set(itertools.product(CHOICES[one], CHOICES[other]))
        assert {(row[one], row[other]) for row in ROWS} == wanted


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.values()))
def test_every_two_choices_are_taken_by_kubernetes(chart: Chart, row: Row) -> None:
    assert wrong_with(chart, row) == []


@pytest.mark.skipif(PROFILE != "thorough", reason="minutes: HYPOTHESIS_PROFILE=thorough")
@pytest.mark.timeout(7200)
def test_every_combination_of_what_changes_a_part_is_taken_by_kubernetes(chart: Chart) -> None:
    groups = {group for group in what_changes(chart).values() if group}
    largest = {group for group in groups if not any(set(group) < set(other) for other in groups)}
    every = rows(CHOICES, sorted(largest), tries=4)
    with ThreadPoolExecutor(2) as threads:
        wrong = [
            (row, found)
            for row, found in zip(every, threads.map(lambda row: wrong_with(chart, row), every), strict=True)
            if found
        ]
    assert wrong == []


def what_changes(chart: Chart) -> dict[str, Group]:
    """By part of a resource, the switches that change it, or take it away, in any of `ROWS`."""
    found: dict[str, set[str]] = {}

    def rendered(row: Row) -> dict[str, Any]:
        return {
            f"{identity(each)} {path}": part for each in chart.render(values_of(row)) for path, part in parts_of(each)
        }

    def compare(row: Row) -> None:
        before = rendered(row)
        for name, choices in CHOICES.items():
            for choice in choices:
                after = before if choice == row[name] else rendered(row | {name: choice})
                for each in before.keys() | after.keys():
                    if before.get(each) != after.get(each):
                        found.setdefault(each, set()).add(name)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(compare, ROWS))
    return {each: tuple(name for name in CHOICES if name in names) for each, names in found.items()}


def parts_of(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """What Kubernetes judges by itself: fields to any depth, containers and their variables by name, other lists as they are."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from parts_of(below, f"{path}.{key}")
    elif path.endswith((".containers", ".initContainers", ".env")) and isinstance(value, list):
        for named in value:
            yield from parts_of(named, f"{path}.{named['name']}")
    else:
        yield path, value


def test_unknown_fields_are_seen(chart: Chart) -> None:
    for kind in ("Deployment", "ServiceMonitor", "ScaledObject", "KafkaTopic", "PrometheusRule", "HTTPRoute"):
        values = merged(
            SWITCHES["monitor"]["on"],
            SWITCHES["builder"]["keda"],
            SWITCHES["topics"]["strimzi"],
            SWITCHES["rules"]["on"],
            SWITCHES["gateway"]["public"],
        )
        resource = next(each for each in chart.render(values) if each["kind"] == kind)
        assert complaints([resource], NEWEST) == []
        assert complaints([resource | {"spec": {**resource["spec"], "misspelt": 1}}], NEWEST) != []


@pytest.mark.parametrize("values", [{}, {"kafka": {"bootstrapServers": "kafka:9092"}}], ids=["bare", "least"])
def test_lint_has_no_complaint(chart: Chart, values: Values) -> None:
    assert "0 chart(s) failed" in chart.run("lint", "--strict", str(CHART), values=values)
