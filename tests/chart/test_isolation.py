"""Pods have no rights, secrets and connections but those they need, and two installations share nothing."""

import pytest

from chart.full_installation import ALL, reach
from chart.rendering import NAMESPACE, RELEASE, Chart, environment, of_kind, own_containers, pods
from chart.test_combinations import ROWS, SWITCHES, values_of

# ---- rights


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.values()))
def test_every_pod_is_restricted(chart: Chart, row: dict[str, str]) -> None:
    """The Pod Security level `restricted`, and more than that."""
    for pod in pods(chart.render(values_of(row))):
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all(
            volume.keys() & {"emptyDir", "secret"} for volume in spec["volumes"] if volume["name"] != "authority"
        )
        for container in own_containers(pod):
            rights = container["securityContext"]
            assert rights["allowPrivilegeEscalation"] is False
            assert rights["readOnlyRootFilesystem"] is True
            assert rights["capabilities"] == {"drop": ["ALL"]}
            assert {"name": "tmp", "mountPath": "/tmp"} in container["volumeMounts"]
            assert {"cpu", "memory"} <= container["resources"]["requests"].keys()


def test_the_user_is_a_number_or_left_to_the_cluster(chart: Chart) -> None:
    (user,) = {pod["spec"]["securityContext"].get("runAsUser") for pod in pods(chart.render(ALL))}
    assert user == 10001
    contexts = [pod["spec"]["securityContext"] for pod in pods(chart.render(ALL, SWITCHES["placing"]["chosen"]))]
    assert not any({"runAsUser", "runAsGroup", "fsGroup"} & context.keys() for context in contexts)


def test_only_who_needs_a_secret_has_it(chart: Chart) -> None:
    mounted = {
        pod["metadata"]["labels"]["app.kubernetes.io/component"]: {
            volume["secret"]["secretName"] for volume in pod["spec"]["volumes"] if "secret" in volume
        }
        for pod in pods(chart.render(ALL, SWITCHES["registry"]["login"]))
    }
    services = {"kafka-login", "registry"}
    assert mounted == {
        "market-producer": services,
        "perp-producer": services,
        "rest-poller": services,
        "book-builder": services,
        "gateway": services | {"gateway-keys"},
        "account-producer": services | {"account"},
        "doctor": services | {"account"},
        "topics": {"kafka-login"},
        "sandbox": set(),
    }


# ---- who reaches whom


def test_each_service_reaches_what_it_needs_and_no_more(chart: Chart) -> None:
    policies = of_kind(chart.render(SWITCHES["account"]["on"], SWITCHES["registry"]["open"]), "NetworkPolicy")
    reached = {name.removeprefix(f"{RELEASE}-backpack-streams-"): reach(each) for name, each in policies.items()}
    kafka, registry, exchange = {9092, 9093}, {8080}, {443}
    assert reached == {
        "market-producer": kafka | registry | exchange,
        "perp-producer": kafka | registry | exchange,
        "account-producer": kafka | registry | exchange,
        "rest-poller": kafka | registry | exchange,
        "doctor": kafka | registry | exchange,
        "book-builder": kafka | registry,
        "topics": kafka | registry,
    }
    for each in policies.values():
        assert each["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_with_the_sandbox_nobody_reaches_the_exchange(chart: Chart) -> None:
    policies = of_kind(chart.render(SWITCHES["sandbox"]["on"]), "NetworkPolicy")
    market = policies[f"{RELEASE}-backpack-streams-market-producer"]
    assert reach(market) == {9092, 9093, 18765, 18766}
    rule = market["spec"]["egress"][-1]
    assert rule["to"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "sandbox"
    sandbox = policies[f"{RELEASE}-backpack-streams-sandbox"]
    assert "egress" not in sandbox["spec"]
    assert {port["port"] for port in sandbox["spec"]["ingress"][0]["ports"]} == {"ws", "rest"}


@pytest.mark.parametrize(
    ("proxy", "port"),
    [
        ("http://proxy:3128", 3128),
        ("http://me:word@proxy:3128/", 3128),
        ("proxy.example.com:8080", 8080),
        ("http://[fd00::1]:3128", 3128),
        ("http://proxy", 80),
        ("https://proxy", 443),
        ("socks5://proxy", 1080),
        ("none", None),
    ],
)
def test_the_proxys_port_is_open_to_those_who_use_it(chart: Chart, proxy: str, port: int | None) -> None:
    own = {"restPoller": {"config": {"exchange_proxy": "http://other:9999"}}}
    policies = of_kind(chart.render({"config": {"exchange_proxy": proxy}}, own), "NetworkPolicy")
    reached = {name.removeprefix(f"{RELEASE}-backpack-streams-"): reach(each) for name, each in policies.items()}
    kafka, exchange = {9092, 9093}, {443}
    used = kafka | exchange | ({port} if port else set())
    assert reached == {
        "market-producer": used,
        "perp-producer": used,
        "doctor": used,
        "rest-poller": kafka | exchange | {9999},
        "book-builder": kafka,
        "topics": kafka,
    }


@pytest.mark.parametrize(("gateway", "asks"), [("off", False), ("alone", False), ("balanced", True)])
def test_the_doctor_asks_the_exchange_only_if_a_service_may(chart: Chart, gateway: str, asks: bool) -> None:
    off = [SWITCHES[name]["off"] for name in ("market", "perp", "poller")]
    resources = chart.render(*off, SWITCHES["gateway"][gateway])
    assert (443 in reach(of_kind(resources, "NetworkPolicy")[f"{RELEASE}-backpack-streams-doctor"])) == asks
    (doctor,) = of_kind(resources, "Pod").values()
    assert environment(doctor["spec"]["containers"][0]).get("BACKPACK_STREAMS_SKIP") == (None if asks else "exchange")


def test_no_pod_fills_the_disk_of_its_node(chart: Chart) -> None:
    for pod in pods(chart.render(ALL)):
        (room,) = (volume["emptyDir"] for volume in pod["spec"]["volumes"] if volume["name"] == "tmp")
        assert room == {"sizeLimit": "64Mi"}


def test_every_pod_has_a_policy_and_only_pods_that_are_there_are_chosen(chart: Chart) -> None:
    resources = chart.render(ALL)
    labels = [pod["metadata"]["labels"].items() for pod in pods(resources)]
    for kind in ("NetworkPolicy", "PodDisruptionBudget"):
        for name, each in of_kind(resources, kind).items():
            selector = each["spec"].get("podSelector") or each["spec"]["selector"]
            assert any(selector["matchLabels"].items() <= each for each in labels), name
    for name, each in of_kind(resources, "Service").items():
        assert any(each["spec"]["selector"].items() <= labels_of for labels_of in labels), name
    selectors = [
        each["spec"]["podSelector"]["matchLabels"].items() for each in of_kind(resources, "NetworkPolicy").values()
    ]
    assert all(any(selector <= labels_of for selector in selectors) for labels_of in labels)


# ---- names


def test_two_installations_in_one_namespace_share_nothing(chart: Chart) -> None:
    def names(release: str) -> set[tuple[str, str]]:
        return {(each["kind"], each["metadata"]["name"]) for each in chart.render(ALL, release=release)}

    long = "a-release-with-a-very-long-name-indeed-"
    releases = [names(release) for release in ("one", "two", "backpack-streams", f"{long}one", f"{long}two")]
    for index, one_release in enumerate(releases):
        assert all(not one_release & other for other in releases[index + 1 :])
        assert all(len(name) <= 63 for kind, name in one_release if kind in ("Service", "Deployment", "Pod", "Job"))


def test_groups_and_clients_are_told_apart(chart: Chart) -> None:
    def told(release: str, variable: str) -> set[str]:
        found = (
            environment(each).get(variable)
            for pod in pods(chart.render(ALL, release=release))
            for each in own_containers(pod)
        )
        return {value for value in found if value}

    for variable in ("BACKPACK_STREAMS_GROUP_ID", "BACKPACK_STREAMS_CLIENT_ID"):
        assert told("one", variable)
        assert not told("one", variable) & told("two", variable)
    assert told("one", "BACKPACK_STREAMS_GROUP_ID") == {"one-backpack-streams-book-builder"}


def test_everything_is_in_the_releases_namespace_and_says_whose_it_is(chart: Chart) -> None:
    for each in chart.render(ALL):
        assert each["metadata"]["namespace"] == NAMESPACE
        labels = each["metadata"]["labels"]
        assert labels["app.kubernetes.io/instance"] == RELEASE
        assert labels["app.kubernetes.io/part-of"] == "backpack-streams"
        assert labels["app.kubernetes.io/component"]
