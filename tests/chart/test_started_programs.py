"""What containers run: the image, the settings that its program takes, and the jobs that make topics and schemas first."""

import re
from pathlib import Path
from typing import Any

import pytest

from backpack_streams.bus.topics import TOPICS
from backpack_streams.cli.commands import COMMANDS, load
from backpack_streams.runtime.settings_sources import read_settings
from chart.full_installation import ALL
from chart.rendering import Chart, environment, of_kind, one, own_containers, pods
from chart.test_combinations import ROWS, SWITCHES, values_of

SECRETS = {
    "sasl_password": "secret",
    "schema_registry_password": "secret",
    "private_key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


# ---- settings


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
        "config": {"progress_timeout": 20_000_000},
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
    assert poller["BACKPACK_STREAMS_PROGRESS_TIMEOUT"] == "20000000"


def test_a_services_form_of_the_proxy_replaces_the_form_of_all(chart: Chart) -> None:
    """The program takes its URL or a file with it, and refuses both."""
    url, file = {"exchange_proxy": "http://proxy:3128"}, {"exchange_proxy_file": "/etc/proxy/url"}
    for common, own in ((url, file), (file, url)):
        resources = chart.render({"config": common, "restPoller": {"config": own}})
        for name, config in (("market-producer-0", common), ("rest-poller", own)):
            container = one(resources, "Deployment", name)["spec"]["template"]["spec"]["containers"][0]
            proxy = {key: value for key, value in environment(container).items() if "PROXY" in key}
            assert proxy == {f"BACKPACK_STREAMS_{key.upper()}": value for key, value in config.items()}


# ---- the image


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


# ---- hooks, and topics without one


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
    for (kind, _), each in hooks.items():
        deleted = set(each["helm.sh/hook-delete-policy"].split(","))
        assert "before-hook-creation" in deleted
        # `helm test --logs` reads the doctor's log after it has deleted what is to go.
        assert ("hook-succeeded" in deleted) == (kind != "Pod")
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
    assert account({"hookJob": {"serviceAccountName": "jobs"}}) == "jobs"
    assert account({"serviceAccount": {"create": False}, "hookJob": {"serviceAccountName": "jobs"}}) == "jobs"


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
