"""What the rendered resources say: settings the program takes, rights, names, neighbours, times."""

import inspect
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from backpack_streams.bus import group, kafka_producer, publisher, reader
from backpack_streams.bus.topics import TOPICS
from backpack_streams.cli.commands import COMMANDS, load
from backpack_streams.exchange.connection_settings import ConnectionSettings
from backpack_streams.feed import beginning, handover, overlap, vouching
from backpack_streams.runtime import http_server
from backpack_streams.runtime.settings_sources import read_settings
from chart.rendering import (
    LEAST,
    NAMESPACE,
    RELEASE,
    Chart,
    environment,
    merged,
    of_kind,
    one,
    own_containers,
    pods,
)
from chart.test_combinations import ROWS, SWITCHES, values_of
from chart_files import CHART

ALL: dict[str, Any] = merged(
    SWITCHES["account"]["on"],
    SWITCHES["gateway"]["public"],
    SWITCHES["sandbox"]["on"],
    SWITCHES["monitor"]["on"],
    SWITCHES["rules"]["on"],
    SWITCHES["dashboard"]["on"],
    SWITCHES["kafka"]["scram"],
    SWITCHES["registry"]["open"],
    {"marketProducer": {"shards": 2}},
)
SECRETS = {
    "sasl_password": "secret",
    "schema_registry_password": "secret",
    "private_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


# ---- the program takes what the chart gives it


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(row.values()))
def test_the_program_takes_every_setting(chart: Chart, row: dict[str, str], tmp_path: Path) -> None:
    """Each container's command reads its environment as in the pod: no variable is unknown, none is refused."""
    commands = {command.name: command for command in COMMANDS}
    for container in (container for pod in pods(chart.render(values_of(row))) for container in own_containers(pod)):
        name, *positionals = container["args"]
        command = commands[name]
        assert [word for each in command.positionals for word in each.choices if word in positionals] == positionals
        variables = {
            key: as_in_the_pod(key, value, tmp_path)
            for key, value in environment(container).items()
            if key.startswith("BACKPACK_STREAMS_")
        }
        model = load(command, command.settings)
        read = read_settings(model, name, environment=variables, commands=commands)
        assert read.warnings == ()
        assert len(read.origins) == len(variables)


def as_in_the_pod(variable: str, value: Any, folder: Path) -> str:
    """The variable's text, where the kubelet would put it; a mounted file is one of `folder`."""
    if isinstance(value, dict):
        assert value["secretKeyRef"]["name"]
        return "somebody"
    if not value.startswith("/"):
        return str(value)
    assert variable.endswith("_FILE")
    file = folder / Path(value).name
    file.write_text(SECRETS.get(file.name, "anything"))
    return str(file)


def test_every_file_that_a_setting_names_is_mounted(chart: Chart) -> None:
    for row in ROWS:
        for pod in pods(chart.render(values_of(row))):
            volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
            for container in own_containers(pod):
                mounted = {
                    f"{mount['mountPath']}/{item['path']}"
                    for mount in container["volumeMounts"]
                    for item in volumes[mount["name"]].get("secret", {}).get("items", ())
                }
                named = {value for name, value in environment(container).items() if name.endswith("_FILE")}
                assert named == mounted


def test_settings_get_through_as_they_are_written(chart: Chart) -> None:
    values = {
        "config": {"buffer_mib": 20_000_000},
        "marketProducer": {
            "config": {"linger_ms": 0.5, "create_topics": False, "buffer_mib": 512},
            "streams": "depth,trade",
        },
        "symbols": ["BTC_USDC_PERP", "SOL_USDC"],
    }
    resources = chart.render(values)
    market = environment(one(resources, "Deployment", "market-producer-0")["spec"]["template"]["spec"]["containers"][0])
    assert market["BACKPACK_STREAMS_BUFFER_MIB"] == "512"
    assert market["BACKPACK_STREAMS_LINGER_MS"] == "0.5"
    assert market["BACKPACK_STREAMS_CREATE_TOPICS"] == "false"
    assert market["BACKPACK_STREAMS_STREAMS"] == "depth,trade"
    assert market["BACKPACK_STREAMS_SYMBOLS"] == "BTC_USDC_PERP,SOL_USDC"
    poller = environment(one(resources, "Deployment", "rest-poller")["spec"]["template"]["spec"]["containers"][0])
    assert poller["BACKPACK_STREAMS_BUFFER_MIB"] == "20000000"


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


def reach(policy: dict[str, Any]) -> set[int]:
    return {
        port["port"]
        for rule in policy["spec"].get("egress", ())
        for port in rule["ports"]
        if port["protocol"] == "TCP" and port["port"] != 53
    }


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


def test_budgets_are_for_services_of_several_pods(chart: Chart) -> None:
    budgets = of_kind(chart.render(ALL), "PodDisruptionBudget")
    assert {name.removeprefix(f"{RELEASE}-backpack-streams-") for name in budgets} == {
        "market-producer",
        "perp-producer",
        "book-builder",
        "gateway",
    }
    assert all(each["spec"]["maxUnavailable"] == 1 for each in budgets.values())


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


def test_image(chart: Chart) -> None:
    def images(*parts: dict[str, Any]) -> set[str]:
        return {container["image"] for pod in pods(chart.render(ALL, *parts)) for container in own_containers(pod)}

    digest = "sha256:" + "1f" * 32
    assert images() == {"backpack-streams:0.1.0", "backpack-streams-sandbox:0.1.0"}
    assert images({"image": {"repository": "r/b", "tag": "edge"}}) == {"r/b:edge", "r/b-sandbox:edge"}
    # A digest is that of one image, so the sandbox's has its own.
    ours = {"repository": "r/b", "tag": "edge", "digest": digest}
    assert images({"image": ours}) == {f"r/b@{digest}", "r/b-sandbox:edge"}
    sandbox = {"sandbox": {"image": {"repository": "s", "digest": digest.replace("1f", "2e")}}}
    assert images({"image": ours}, sandbox) == {f"r/b@{digest}", f"s@{digest.replace('1f', '2e')}"}
    assert images({"sandbox": {"image": {"tag": "t"}}}) == {"backpack-streams:0.1.0", "backpack-streams-sandbox:t"}


# ---- hooks


def test_hooks_leave_nothing_behind_and_come_in_order(chart: Chart) -> None:
    hooks = {
        (each["kind"], each["metadata"]["name"].rpartition("-")[2]): each["metadata"]["annotations"]
        for each in chart.render(ALL)
        if "helm.sh/hook" in each["metadata"].get("annotations", {})
    }
    assert {key: each["helm.sh/hook"] for key, each in hooks.items()} == {
        ("NetworkPolicy", "topics"): "pre-install,pre-upgrade",
        ("Job", "topics"): "pre-install,pre-upgrade",
        ("Pod", "doctor"): "test",
    }
    for each in hooks.values():
        assert {"before-hook-creation", "hook-succeeded"} <= set(each["helm.sh/hook-delete-policy"].split(","))
    policy, job = hooks["NetworkPolicy", "topics"], hooks["Job", "topics"]
    assert int(policy["helm.sh/hook-weight"]) < int(job["helm.sh/hook-weight"])


@pytest.mark.parametrize(
    ("topics", "registry", "steps"),
    [
        ("job", "off", [["topics", "apply"]]),
        ("job", "open", [["topics", "apply"], ["schemas", "register"]]),
        ("none", "open", [["schemas", "register"]]),
        ("none", "login", []),
        ("none", "off", []),
        ("strimzi", "off", []),
    ],
)
def test_topics_and_schemas_are_made_before_anything_writes(
    chart: Chart, topics: str, registry: str, steps: list[list[str]]
) -> None:
    jobs = of_kind(chart.render(SWITCHES["topics"][topics], SWITCHES["registry"][registry]), "Job")
    found = [container["args"] for job in jobs.values() for container in own_containers(job["spec"]["template"])]
    assert found == steps


def test_the_jobs_account_is_there_at_the_first_installation(chart: Chart) -> None:
    def account(*parts: dict[str, Any]) -> str:
        return str(one(chart.render(*parts), "Job", "-topics")["spec"]["template"]["spec"]["serviceAccountName"])

    assert account() == "default"
    assert account({"serviceAccount": {"create": False, "name": "trading"}}) == "trading"


def test_strimzis_topics_are_the_programs_own(chart: Chart) -> None:
    resources = chart.render(SWITCHES["topics"]["strimzi"], {"topicPrefix": "My_prefix."})
    topics = {each["spec"]["topicName"]: each for each in of_kind(resources, "KafkaTopic").values()}
    assert set(topics) == {topic.full_name("My_prefix.") for topic in TOPICS}
    for topic in TOPICS:
        resource = topics[topic.full_name("My_prefix.")]
        assert resource["spec"]["partitions"] == topic.partitions
        assert resource["spec"]["config"] == topic.config()
        assert resource["spec"]["replicas"] == 3
        assert resource["metadata"]["labels"]["strimzi.io/cluster"] == "my-cluster"
        assert resource["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
        assert re.fullmatch(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", resource["metadata"]["name"])
    old = chart.render(SWITCHES["topics"]["strimzi"], has=["kafka.strimzi.io/v1beta2/KafkaTopic"])
    assert {each["apiVersion"] for each in of_kind(old, "KafkaTopic").values()} == {"kafka.strimzi.io/v1beta2"}


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
        "enable" if kafka in ("tls", "mutual", "scram", "strimzi-user") else "disable"
    )
    logins = of_kind(resources, "TriggerAuthentication")
    assert set(logins) == {name for name in [trigger.get("authenticationRef", {}).get("name")] if name}
    parameters = {
        each["parameter"]
        for login in logins.values()
        for each in (*login["spec"].get("env", ()), *login["spec"].get("secretTargetRef", ()))
    }
    wanted: dict[str, set[str]] = {
        "plaintext": set(),
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


def notes(chart: Chart, folder: Path, *parts: dict[str, Any]) -> str:
    """What an installation says at its end. `helm template` leaves it out, so a copy of the chart has it in a ConfigMap."""
    copy = folder / "chart"
    shutil.copytree(CHART, copy)
    text = (copy / "templates" / "NOTES.txt").read_text("utf-8")
    resource = 'kind: ConfigMap\nmetadata: {name: notes}\ndata: {text: {{ include "notes" . | quote }}}\n'
    (copy / "templates" / "notes.yaml").write_text('{{- define "notes" }}' + text + "{{ end }}\n" + resource)
    return str(one(chart.render(*parts, folder=copy), "ConfigMap", "notes")["data"]["text"])


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
