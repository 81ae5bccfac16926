"""Values as people leave them: empty, or naming what the chart names as well; and what they add to pods."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from chart.full_installation import ALL
from chart.rendering import (
    LEAST,
    NAMESPACE,
    NEWEST,
    RELEASE,
    Chart,
    Resource,
    complaints,
    environment,
    merged,
    of_kind,
    one,
    own_containers,
    pods,
)
from chart.test_combinations import SWITCHES
from chart_files import CHART, values

Values = dict[str, Any]
DEFAULTS: Values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
DOCUMENTED = {row.path for row in values((CHART / "values.yaml").read_text("utf-8"))}


def emptied(defaults: Values, before: str = "") -> Values:
    """Every documented value left empty."""
    return {
        key: None if f"{before}{key}" in DOCUMENTED else emptied(value, f"{before}{key}.")
        for key, value in defaults.items()
    }


# ---- left empty


def test_every_value_left_empty_means_its_default(chart: Chart) -> None:
    assert chart.render(emptied(DEFAULTS), LEAST) == chart.render()


def test_every_value_of_what_is_on_may_be_left_empty(chart: Chart) -> None:
    """As in a values file whose switches alone are filled in."""
    switched: Values = merged(ALL, SWITCHES["builder"]["keda"], SWITCHES["extras"]["none"])
    assert chart.render(emptied(DEFAULTS), LEAST, switched) == chart.render(switched)


@pytest.mark.parametrize("part", [key for key in DEFAULTS if key != "kafka"])
def test_a_part_left_empty_means_its_defaults(chart: Chart, part: str) -> None:
    assert chart.render({part: None}) == chart.render()


def test_what_is_within_a_value_left_empty_is_left_out(chart: Chart) -> None:
    resources = chart.render(
        {
            "podAnnotations": {"mine": None, "yours": "1"},
            "commonLabels": {"team": None},
            "config": {"buffer_mib": None},
            "marketProducer": {"resources": {"limits": None}, "config": {"linger_ms": None}},
        }
    )
    pod = one(resources, "Deployment", "market-producer-0")["spec"]["template"]
    assert pod["metadata"]["annotations"] == {"yours": "1"}
    assert "team" not in pod["metadata"]["labels"]
    (container,) = pod["spec"]["containers"]
    assert container["resources"].keys() == {"requests"}
    assert not {"BACKPACK_STREAMS_BUFFER_MIB", "BACKPACK_STREAMS_LINGER_MS"} & environment(container).keys()


# ---- labels and annotations


def twice(node: yaml.Node | None, path: str = "") -> Iterator[str]:
    """Keys that a map has twice, which YAML parsers let pass and Kubernetes refuses."""
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value]
        yield from (f"{path}.{key}" for key in set(keys) if keys.count(key) > 1)
        for key, value in node.value:
            yield from twice(value, f"{path}.{key.value}")
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from twice(value, f"{path}.{index}")


OWN_LABELS = [
    "app.kubernetes.io/name",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/component",
    "app.kubernetes.io/version",
    "app.kubernetes.io/managed-by",
    "app.kubernetes.io/part-of",
    "helm.sh/chart",
    "backpack-streams/shard",
    "backpack-streams/metrics",
    "strimzi.io/cluster",
    "grafana_dashboard",
    "team",
    "other",
]
LABELS = st.dictionaries(st.sampled_from(OWN_LABELS), st.sampled_from(["a", "true", "42", ""]), max_size=6)
ANNOTATIONS = st.dictionaries(st.sampled_from(["helm.sh/hook", "helm.sh/hook-weight", "mine"]), st.just("x"))


@settings(max_examples=12, deadline=None)
@given(st.lists(LABELS, min_size=8, max_size=8), st.lists(ANNOTATIONS, min_size=4, max_size=4))
def test_no_label_comes_twice_and_none_of_the_charts_is_changed(
    chart: Chart, labels: list[dict[str, str]], annotations: list[dict[str, str]]
) -> None:
    chosen: Values = {
        "commonLabels": labels[0],
        "podLabels": labels[1],
        "podAnnotations": annotations[0],
        "marketProducer": {"podLabels": labels[2], "podAnnotations": annotations[1]},
        "hookJob": {"labels": labels[3], "podLabels": labels[4], "annotations": annotations[2]},
        "serviceMonitor": {"labels": labels[5]},
        "prometheusRule": {"labels": labels[6]},
        "dashboard": {"labels": labels[7], "annotations": annotations[3]},
        "topics": {"mode": "job"},
    }
    given_values = merged(LEAST, ALL, chosen)
    text = chart.run("template", RELEASE, str(CHART), "--namespace", NAMESPACE, values=given_values)
    assert [key for document in yaml.compose_all(text, yaml.CSafeLoader) for key in twice(document)] == []
    resources = chart.render(ALL, chosen)
    assert complaints(resources, NEWEST) == []
    plain = {(each["kind"], each["metadata"]["name"]): each for each in chart.render(ALL)}
    for each in resources:
        before = plain[each["kind"], each["metadata"]["name"]]
        assert own_words(before["metadata"]) <= own_words(each["metadata"])
        assert each.get("spec", {}).get("selector") == before.get("spec", {}).get("selector")
        for pod, pod_before in zip(pods([each]), pods([before]), strict=True):
            assert own_words(pod_before["metadata"]) <= own_words(pod["metadata"])


def own_words(metadata: Resource) -> set[tuple[str, str]]:
    words = metadata.get("labels", {}).items() | metadata.get("annotations", {}).items()
    return {(name, value) for name, value in words if name != "grafana_dashboard"}


def test_the_nearer_label_counts(chart: Chart) -> None:
    resources = chart.render(
        {
            "commonLabels": {"team": "all", "cost": "1"},
            "podLabels": {"team": "pods"},
            "restPoller": {"podLabels": {"team": "poller"}},
        }
    )
    assert one(resources, "Deployment", "rest-poller")["metadata"]["labels"]["team"] == "all"
    for name, team in (("rest-poller", "poller"), ("book-builder", "pods")):
        labels = one(resources, "Deployment", name)["spec"]["template"]["metadata"]["labels"]
        assert (labels["team"], labels["cost"]) == (team, "1")


# ---- the Job


def test_the_job_goes_where_it_is_sent_and_tells_a_mesh_what_it_is(chart: Chart) -> None:
    tolerations = [{"key": "jobs", "operator": "Exists"}]
    resources = chart.render(
        {
            "tolerations": [{"operator": "Exists"}],
            "hookJob": {
                "labels": {"mesh": "out"},
                "annotations": {"sidecar.istio.io/inject": "false", "helm.sh/hook": "never"},
                "podLabels": {"pod": "label"},
                "podAnnotations": {"pod": "annotation"},
                "tolerations": tolerations,
                "nodeSelector": {"jobs": "yes"},
                "priorityClassName": "high",
                "extraEnv": [{"name": "A", "value": "1"}],
            },
        }
    )
    job = one(resources, "Job", "-topics")
    pod = job["spec"]["template"]
    assert job["metadata"]["labels"]["mesh"] == pod["metadata"]["labels"]["mesh"] == "out"
    assert job["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    assert pod["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    assert (pod["metadata"]["labels"]["pod"], pod["metadata"]["annotations"]["pod"]) == ("label", "annotation")
    assert "pod" not in job["metadata"]["labels"]
    assert (pod["spec"]["tolerations"], pod["spec"]["nodeSelector"]) == (tolerations, {"jobs": "yes"})
    assert pod["spec"]["priorityClassName"] == "high"
    assert all(environment(each)["A"] == "1" for each in own_containers(pod))
    poller = one(resources, "Deployment", "rest-poller")["spec"]["template"]["spec"]
    assert poller["tolerations"] == [{"operator": "Exists"}]
    assert "mesh" not in one(resources, "Deployment", "rest-poller")["metadata"]["labels"]


# ---- more of everything


def extras(word: str) -> Values:
    return {
        "extraVolumes": [{"name": f"{word}-volume", "emptyDir": {}}],
        "extraVolumeMounts": [{"name": f"{word}-volume", "mountPath": f"/{word}"}],
        "initContainers": [{"name": f"{word}-first", "image": "i"}],
        "extraContainers": [{"name": f"{word}-beside", "image": "i"}],
        "hostAliases": [{"ip": "fd00::1", "hostnames": [word]}],
    }


PARTS = {
    "market-producer": "marketProducer",
    "perp-producer": "perpProducer",
    "account-producer": "accountProducer",
    "rest-poller": "restPoller",
    "book-builder": "bookBuilder",
    "gateway": "gateway",
    "sandbox": "sandbox",
    "topics": "hookJob",
    "doctor": None,
}


def test_every_pod_takes_more_volumes_containers_and_hosts(chart: Chart) -> None:
    chosen = merged(extras("all"), {part: extras(part.lower()) for part in PARTS.values() if part})
    resources = chart.render(ALL, chosen)
    assert complaints(resources, NEWEST) == []
    seen = set()
    for pod in pods(resources):
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        seen.add(component)
        part = PARTS[component]
        words = ["all", part.lower()] if part else ["all"]
        spec = pod["spec"]
        assert {f"{word}-volume" for word in words} <= {each["name"] for each in spec["volumes"]}
        for container in own_containers(pod):
            assert {f"/{word}" for word in words} <= {each["mountPath"] for each in container["volumeMounts"]}
        assert [each["name"] for each in spec["initContainers"]][: len(words)] == [f"{word}-first" for word in words]
        assert [each["hostnames"] for each in spec["hostAliases"]] == [[word] for word in words]
        beside = [each["name"] for each in spec["containers"] if "args" not in each]
        ends = component in ("topics", "doctor")  # what runs beside these for ever would keep them from ending
        assert beside == [f"{word}-beside" for word in words if not (ends and word == "all")]
    assert seen == PARTS.keys()


# ---- IPv6


def test_everything_that_listens_does_so_on_both_families(chart: Chart) -> None:
    for name, deployment in of_kind(chart.render(ALL), "Deployment").items():
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        variable = "BACKPACK_STREAMS_HOST" if name.endswith("sandbox") else "BACKPACK_STREAMS_METRICS_HOST"
        assert environment(container)[variable] == "*"
        assert environment(container).get("BACKPACK_STREAMS_HOST", "*") == "*"
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert "host" not in container[probe].get("httpGet", container[probe].get("tcpSocket"))


def test_services_have_the_families_that_are_asked_for(chart: Chart) -> None:
    plain = of_kind(chart.render(ALL), "Service").values()
    assert not any({"ipFamilyPolicy", "ipFamilies"} & each["spec"].keys() for each in plain)
    both = of_kind(chart.render(ALL, SWITCHES["families"]["both"]), "Service").values()
    assert len(both) == len(plain) >= 8
    for each in both:
        assert (each["spec"]["ipFamilyPolicy"], each["spec"]["ipFamilies"]) == ("RequireDualStack", ["IPv6", "IPv4"])


def test_addresses_of_ipv6_are_taken(chart: Chart) -> None:
    resources = chart.render(
        {
            "kafka": {"bootstrapServers": "[fd00::1]:9092,[fd00::2]:9093"},
            "schemaRegistry": {"url": "http://[fd00::3]:8081,https://[fd00::4]/apis"},
            "exchange": {"wsUrl": "wss://[fd00::5]:8443", "restUrl": "https://[fd00::6]"},
        }
    )
    policy = of_kind(resources, "NetworkPolicy")[f"{RELEASE}-backpack-streams-market-producer"]
    ports = {str(port["port"]) for rule in policy["spec"]["egress"] for port in rule["ports"]}
    assert ports == {"53", "9092", "9093", "8081", "443", "8443"}


# ---- the way to the exchange


def test_services_and_the_doctor_take_the_same_way_to_the_exchange(chart: Chart) -> None:
    way = {
        "exchange_proxy": "http://proxy:3128",
        "exchange_ca_file": "/etc/authority/ca.crt",
        "ws_connect_timeout": 20,
        "rest_read_timeout": 5,
    }
    exchange = {"BACKPACK_STREAMS_EXCHANGE_PROXY", "BACKPACK_STREAMS_EXCHANGE_CA_FILE"}
    rest, sockets = {"BACKPACK_STREAMS_REST_READ_TIMEOUT"}, {"BACKPACK_STREAMS_WS_CONNECT_TIMEOUT"}
    producers = dict.fromkeys(("market-producer", "perp-producer", "account-producer"), exchange | rest | sockets)
    wanted = {**producers, "rest-poller": exchange | rest, "gateway": exchange | rest, "doctor": exchange}
    for pod in pods(chart.render(ALL, {"config": way})):
        component = pod["metadata"]["labels"]["app.kubernetes.io/component"]
        for container in own_containers(pod):
            taken = (exchange | rest | sockets) & environment(container).keys()
            assert taken == wanted.get(component, set()), component
