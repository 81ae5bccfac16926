"""What operators do with an installation: they shard, replace and scale its pods, watch them, and read the notes."""

import inspect
from pathlib import Path
from typing import Any

import pytest
import yaml

from backpack_streams.bus import group, kafka_producer, publisher, reader
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.feed import beginning, handover, overlap, vouching
from backpack_streams.runtime import http_server
from chart.full_installation import ALL, notes
from chart.rendering import LEAST, NAMESPACE, NEWEST, RELEASE, Chart, complaints, environment, of_kind, one
from chart.test_combinations import SWITCHES
from chart_files import CHART

# ---- shards


def deployments(chart: Chart, shards: int) -> dict[str, dict[str, Any]]:
    resources = chart.render({"marketProducer": {"shards": shards}})
    return {name: each for name, each in of_kind(resources, "Deployment").items() if "market-producer" in name}


def test_more_shards_leave_the_others_their_names(chart: Chart) -> None:
    two, three = deployments(chart, 2), deployments(chart, 3)
    assert set(two) == {f"{RELEASE}-backpack-streams-market-producer-{shard}" for shard in (0, 1)}
    assert set(three) - set(two) == {f"{RELEASE}-backpack-streams-market-producer-2"}
    for shard, each in enumerate(three.values()):
        settings = environment(each["spec"]["template"]["spec"]["containers"][0])
        assert settings["BACKPACK_STREAMS_SHARD_INDEX"] == str(shard)
        assert settings["BACKPACK_STREAMS_SHARD_COUNT"] == "3"
    # What cannot be changed of a Deployment that is there stays as it is.
    assert {name: three[name]["spec"]["selector"] for name in two} == {
        name: two[name]["spec"]["selector"] for name in two
    }
    selectors = [tuple(sorted(each["spec"]["selector"]["matchLabels"].items())) for each in three.values()]
    assert len(set(selectors)) == 3


# ---- pods are replaced


def test_a_new_producer_is_there_before_the_old_one_leaves(chart: Chart) -> None:
    resources = chart.render(ALL, {"perpProducer": {"handoverSeconds": 40}})
    for name in ("market-producer-0", "perp-producer-0", "account-producer", "book-builder", "gateway"):
        spec = one(resources, "Deployment", name)["spec"]
        assert spec["strategy"] == {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    assert one(resources, "Deployment", "rest-poller")["spec"]["strategy"] == {"type": "Recreate"}
    perp = one(resources, "Deployment", "perp-producer-0")["spec"]["template"]["spec"]
    assert perp["containers"][0]["lifecycle"]["preStop"] == {"sleep": {"seconds": 40}}
    assert perp["terminationGracePeriodSeconds"] == 95


def test_a_producer_goes_on_until_others_have_taken_over(chart: Chart) -> None:
    """Of a shard that is dropped nothing waits for the others but time."""
    until_ready = beginning._SUBSCRIBED_SECONDS + handover._LONGEST_WAIT_SECONDS + overlap._LONGEST_WAIT_SECONDS
    for name in ("market-producer-0", "perp-producer-0", "account-producer"):
        (container,) = one(chart.render(ALL), "Deployment", name)["spec"]["template"]["spec"]["containers"]
        assert container["lifecycle"]["preStop"]["sleep"]["seconds"] >= until_ready


def test_old_kubernetes_sleeps_by_a_program(chart: Chart) -> None:
    for version, hook in (("1.29", {"exec": {"command": ["sleep", "35"]}}), ("1.30", {"sleep": {"seconds": 35}})):
        market = one(chart.render(kubernetes=version), "Deployment", "market-producer-0")
        assert market["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"] == hook


def test_a_pod_has_as_long_as_its_program_may_take_to_stop(chart: Chart) -> None:
    flush = inspect.signature(publisher.Publisher.close).parameters["timeout_seconds"].default
    kafka = flush + 2 * kafka_producer._CLOSE_SECONDS  # the producer's tasks, then its sockets
    sockets = ConnectionSettings().stop_timeout_seconds + ConnectionSettings().drop_after_close_seconds
    last_watermark = vouching._SETTLE_SECONDS
    leaving = 2 * reader._STOP_SECONDS + reader._SETTLE_SECONDS
    assert group.stop_consumer is reader.stop_consumer
    needed = {
        "market-producer-0": kafka + sockets + last_watermark,
        "perp-producer-0": kafka + sockets + last_watermark,
        "account-producer": kafka + sockets + last_watermark,
        "rest-poller": kafka,
        "book-builder": kafka + leaving,
        "gateway": http_server.SHUTDOWN_SECONDS + leaving,
    }
    resources = chart.render(ALL)
    for name, seconds in needed.items():
        spec = one(resources, "Deployment", name)["spec"]["template"]["spec"]
        goes_on = spec["containers"][0].get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
        assert spec["terminationGracePeriodSeconds"] >= goes_on + seconds + 5, name


def test_budgets_are_for_services_of_several_pods(chart: Chart) -> None:
    budgets = of_kind(chart.render(ALL), "PodDisruptionBudget")
    assert {name.removeprefix(f"{RELEASE}-backpack-streams-") for name in budgets} == {
        "market-producer",
        "perp-producer",
        "book-builder",
        "gateway",
    }
    assert all(each["spec"]["maxUnavailable"] == 1 for each in budgets.values())


@pytest.mark.parametrize("most", [2, "50%", "100%"])
def test_a_budget_is_a_number_or_a_percentage(chart: Chart, most: int | str) -> None:
    resources = chart.render({"podDisruptionBudget": {"maxUnavailable": most}})
    budgets = list(of_kind(resources, "PodDisruptionBudget").values())
    assert {each["spec"]["maxUnavailable"] for each in budgets} == {most}
    assert complaints(budgets, NEWEST) == []


# ---- scaling


def test_an_autoscaler_has_the_number_to_itself(chart: Chart) -> None:
    assert one(chart.render({"bookBuilder": {"replicas": 3}}), "Deployment", "book-builder")["spec"]["replicas"] == 3
    assert one(chart.render(SWITCHES["gateway"]["balanced"]), "Deployment", "gateway")["spec"]["replicas"] == 2
    for name, values, kind in (
        ("book-builder", SWITCHES["builder"]["hpa"], "HorizontalPodAutoscaler"),
        ("book-builder", SWITCHES["builder"]["keda"], "ScaledObject"),
        ("gateway", SWITCHES["gateway"]["public"], "HorizontalPodAutoscaler"),
    ):
        resources = chart.render(values)
        assert "replicas" not in one(resources, "Deployment", name)["spec"]
        target = one(resources, kind, name)["spec"]["scaleTargetRef"]["name"]
        assert target in of_kind(resources, "Deployment")


def test_keda_looks_at_the_group_of_the_builders(chart: Chart) -> None:
    parts = (SWITCHES["builder"]["keda"], SWITCHES["kafka"]["scram"], {"topicPrefix": "test."})
    resources = chart.render(*parts)
    container = one(resources, "Deployment", "book-builder")["spec"]["template"]["spec"]["containers"][0]
    (trigger,) = one(resources, "ScaledObject", "book-builder")["spec"]["triggers"]
    assert trigger["metadata"]["consumerGroup"] == environment(container)["BACKPACK_STREAMS_GROUP_ID"]
    assert trigger["metadata"]["topic"] == "test.market.depth"
    assert trigger["metadata"]["bootstrapServers"] == LEAST["kafka"]["bootstrapServers"]
    assert trigger["metadata"]["sasl"] == "scram_sha512"
    login = one(resources, "TriggerAuthentication", "book-builder")["spec"]
    assert login["env"][0]["containerName"] == container["name"]
    assert login["env"][0]["name"] in environment(container)
    assert login["secretTargetRef"] == [{"parameter": "password", "name": "kafka-login", "key": "password"}]


# What KEDA 2.21 reads for Apache Kafka; its definition of a ScaledObject takes any word here.
KEDA_METADATA = {
    "bootstrapServers",
    "consumerGroup",
    "topic",
    "lagThreshold",
    "offsetResetPolicy",
    "sasl",
    "tls",
    "unsafeSsl",
}
KEDA_LOGIN = {"username", "password", "ca", "cert", "key", "keyPassword"}


@pytest.mark.parametrize("kafka", SWITCHES["kafka"])
def test_keda_is_told_in_its_own_words(chart: Chart, kafka: str) -> None:
    resources = chart.render(SWITCHES["builder"]["keda"], SWITCHES["kafka"][kafka])
    (trigger,) = one(resources, "ScaledObject", "book-builder")["spec"]["triggers"]
    assert {"bootstrapServers", "consumerGroup", "topic", "lagThreshold"} <= trigger["metadata"].keys() <= KEDA_METADATA
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    assert trigger["metadata"]["tls"] == (
        "enable" if kafka in ("public", "tls", "mutual", "scram", "strimzi-user") else "disable"
    )
    logins = of_kind(resources, "TriggerAuthentication")
    assert complaints(logins.values(), NEWEST) == []
    assert set(logins) == {name for name in [trigger.get("authenticationRef", {}).get("name")] if name}
    parameters = {
        each["parameter"]
        for login in logins.values()
        for each in (*login["spec"].get("env", ()), *login["spec"].get("secretTargetRef", ()))
    }
    wanted: dict[str, set[str]] = {
        "plaintext": set(),
        "public": set(),
        "tls": {"ca"},
        "mutual": {"ca", "cert", "key", "keyPassword"},
        "scram": {"username", "password"},
        "strimzi-user": {"username", "password", "ca"},
        "plain": {"username", "password"},
    }
    assert parameters == wanted[kafka] <= KEDA_LOGIN


# ---- watching


def test_the_monitor_finds_every_service(chart: Chart) -> None:
    resources = chart.render(ALL)
    monitor = one(resources, "ServiceMonitor", "backpack-streams")["spec"]
    assert monitor["jobLabel"] == "app.kubernetes.io/component"
    wanted = monitor["selector"]["matchLabels"].items()
    found = [each for each in of_kind(resources, "Service").values() if wanted <= each["metadata"]["labels"].items()]
    assert {each["metadata"]["labels"]["app.kubernetes.io/component"] for each in found} == {
        *("market-producer", "perp-producer", "account-producer", "rest-poller", "book-builder", "gateway"),
    }
    for each in found:
        assert each["spec"]["publishNotReadyAddresses"] is True
        assert [port["name"] for port in each["spec"]["ports"]] == [
            endpoint["port"] for endpoint in monitor["endpoints"]
        ]


def test_rules_are_those_of_the_file(chart: Chart) -> None:
    file = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text("utf-8"))
    rules = one(chart.render({"prometheusRule": {"enabled": True}}), "PrometheusRule", "backpack-streams")["spec"]
    assert rules["groups"] == file["groups"]
    linked = one(chart.render(SWITCHES["rules"]["on"]), "PrometheusRule", "backpack-streams")["spec"]
    alerts = [rule for each in linked["groups"] for rule in each["rules"] if "alert" in rule]
    assert alerts
    for alert in alerts:
        assert (
            alert["annotations"]["runbook_url"]
            == f"https://git.example.com/blob/main/{alert['annotations']['runbook']}"
        )
    first = alerts[0]["alert"]
    fewer = chart.render({"prometheusRule": {"enabled": True, "disabledAlerts": [first]}})
    left = one(fewer, "PrometheusRule", "backpack-streams")["spec"]["groups"]
    assert first not in {rule.get("alert") for each in left for rule in each["rules"]}
    assert sum(len(each["rules"]) for each in left) == sum(len(each["rules"]) for each in file["groups"]) - 1


def test_the_dashboard_is_the_file(chart: Chart) -> None:
    found = one(chart.render({"dashboard": {"enabled": True}}), "ConfigMap", "-dashboard")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["data"]["backpack-streams.json"] == (CHART / "files" / "dashboard.json").read_text("utf-8").strip()


# ---- the notes


def test_the_notes_say_what_to_look_at(chart: Chart, tmp_path: Path) -> None:
    text = notes(chart, tmp_path, ALL, SWITCHES["kafka"]["strimzi-user"])
    assert f"helm test {RELEASE} --namespace {NAMESPACE}" in text
    assert (
        f"kubectl get secret --namespace {NAMESPACE} kafka-login my-cluster-cluster-ca-cert account gateway-keys"
        in text
    )
    assert "The sandbox is not the exchange" in text
    assert "another topicPrefix" in text


def test_the_notes_are_short_where_there_is_little_to_say(chart: Chart, tmp_path: Path) -> None:
    text = notes(chart, tmp_path)
    assert "secret" not in text
    assert "sandbox" not in text
    assert "book-builder, market-producer, perp-producer, rest-poller" in text


def test_the_notes_may_be_read_where_values_are_left_empty(chart: Chart, tmp_path: Path) -> None:
    empty = notes(chart, tmp_path / "empty", {"bookBuilder": None, "sandbox": None, "topics": None})
    assert empty == notes(chart, tmp_path / "default")


def test_nothing_runs_where_all_is_off(chart: Chart, tmp_path: Path) -> None:
    off = [SWITCHES[name]["off"] for name in ("market", "perp", "poller", "builder")]
    assert {each["kind"] for each in chart.render(*off)} == {"ServiceAccount", "NetworkPolicy", "Job", "Pod"}
    assert "helm test" in notes(chart, tmp_path, *off)
