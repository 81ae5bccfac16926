"""A release's life: installed, resharded up and down, rolled back, tested and uninstalled, in a namespace that enforces `restricted`."""

from collections import Counter

import pytest

from kubelab.api import Resource
from kubelab.cluster import BOOTSTRAP, CHART, COMPONENT, SHARD, Cluster, is_ready, label, settings
from kubelab.control_plane import POD_LOG
from plant import wait_until

RELEASE = "market-data"
SHARDS = "marketProducer.shards"


def require_shards(cluster: Cluster, count: int) -> None:
    """That many market-producers, each with a part of its own and one Ready pod, and no other is left."""
    deployments = cluster.find("deployments", component="market-producer")
    parts = {(settings(one)["SHARD_INDEX"], settings(one)["SHARD_COUNT"]) for one in deployments}
    assert parts == {(str(index), str(count)) for index in range(count)}
    assert len(deployments) == count

    def one_pod_a_shard() -> bool:
        pods = cluster.pods(component="market-producer")
        return sorted(str(label(pod, SHARD)) for pod in pods) == [str(index) for index in range(count)] and all(
            is_ready(pod) for pod in pods
        )

    wait_until(f"{count} shards have one Ready pod each", one_pod_a_shard)


def test_a_release_lives_and_leaves_nothing_behind(cluster: Cluster) -> None:
    said = cluster.install(RELEASE, "--set", f"{SHARDS}=2")
    assert "STATUS: deployed" in said
    require_shards(cluster, 2)
    expected = {"market-producer", "perp-producer", "rest-poller", "book-builder"}
    assert {label(pod, COMPONENT) for pod in cluster.pods()} == expected

    before = cluster.watched_pods()
    cluster.upgrade(RELEASE, "--set", f"{SHARDS}=3")
    require_shards(cluster, 3)
    require_no_shard_was_away(cluster, before)

    before = cluster.watched_pods()
    cluster.upgrade(RELEASE, "--set", f"{SHARDS}=2")
    require_shards(cluster, 2)
    require_no_shard_was_away(cluster, before)

    before = cluster.watched_pods()
    cluster.helm("rollback", RELEASE, "2", "--wait", "--timeout", "60s")
    require_shards(cluster, 3)
    require_no_shard_was_away(cluster, before)

    said = cluster.helm("test", RELEASE, "--timeout", "60s", "--logs")
    assert "Phase:          Succeeded" in said
    assert POD_LOG in said

    cluster.helm("uninstall", RELEASE, "--wait", "--timeout", "60s")
    # Helm keeps the pod for its log, also when the release goes.
    cluster.kubectl("delete", "pod", f"{RELEASE}-backpack-streams-doctor")
    cluster.require_nothing_left()


def require_no_shard_was_away(cluster: Cluster, before: Resource) -> None:
    """Each producer is told the new number of shards, so each pod is a new one, and stood beside the old one."""
    cluster.wait_replaced(before["items"])
    fewest = cluster.fewest_ready(before)
    assert fewest["0"] == fewest["1"] == 1


def test_two_releases_share_a_namespace_and_nothing_else(cluster: Cluster) -> None:
    for release in ("first", "second"):
        cluster.install(release)
    assert {row["status"] for row in cluster.releases().values()} == {"deployed"}

    of_first = cluster.find("deployments", instance="first")
    of_second = cluster.find("deployments", instance="second")
    assert len(of_first) == len(of_second) > 0
    for deployment in of_first + of_second:
        chosen = deployment["spec"]["selector"]["matchLabels"].items()
        owner = label(deployment, "app.kubernetes.io/instance")
        pods = [pod for pod in cluster.pods() if chosen <= pod["metadata"]["labels"].items()]
        assert [label(pod, "app.kubernetes.io/instance") for pod in pods] == [owner]
    groups = {settings(one)["GROUP_ID"] for one in of_first + of_second if "GROUP_ID" in settings(one)}
    assert len(groups) == 2, "both would share the partitions between them"

    before = {(one["metadata"]["uid"], one["metadata"]["generation"]) for one in of_second}
    cluster.helm("uninstall", "first", "--wait", "--timeout", "60s")
    after = {(one["metadata"]["uid"], one["metadata"]["generation"]) for one in cluster.find("deployments")}
    assert after == before
    assert all(is_ready(pod) for pod in cluster.pods(instance="second"))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (f"{SHARDS}=0", "shards"),
        (f"{SHARDS}=two", "shards"),
        ("marketProducer.shard=2", "shard"),
        ("gateway.enabled=true,gateway.ingress.enabled=true", "gateway.existingSecret"),
    ],
)
def test_bad_values_are_refused_before_anything_is_made(cluster: Cluster, wrong: str, said: str) -> None:
    message = cluster.install(RELEASE, "--set", wrong, code=1)
    assert said in message
    assert cluster.releases() == {}
    assert cluster.left_behind() == set()


def test_an_upgrade_with_a_bad_value_leaves_the_release_as_it_is(cluster: Cluster) -> None:
    cluster.install(RELEASE)
    before = {pod["metadata"]["uid"] for pod in cluster.pods()}
    assert "shards" in cluster.upgrade(RELEASE, "--set", f"{SHARDS}=0", code=1)
    release = cluster.releases()[RELEASE]
    assert (release["revision"], release["status"]) == ("1", "deployed")
    assert {pod["metadata"]["uid"] for pod in cluster.pods()} == before


def test_a_version_that_never_becomes_ready_is_taken_back_without_a_gap(cluster: Cluster) -> None:
    cluster.install(RELEASE, "--set", f"{SHARDS}=2")
    before = cluster.watched_pods()
    never_ready = ("--set-string", "marketProducer.podAnnotations.kubelab/never-ready=1")
    cluster.helm(
        "upgrade",
        RELEASE,
        str(CHART),
        *BOOTSTRAP,
        *never_ready,
        "--set",
        f"{SHARDS}=2",
        "--wait",
        "--timeout",
        "5s",
        code=1,
    )
    assert cluster.releases()[RELEASE]["status"] == "failed"
    cluster.helm("rollback", RELEASE, "1", "--wait", "--timeout", "60s")
    require_shards(cluster, 2)
    old = {pod["metadata"]["uid"] for pod in before["items"]}
    assert {pod["metadata"]["uid"] for pod in cluster.watched_pods()["items"] if is_ready(pod)} == old
    assert cluster.fewest_ready(before) == Counter({"0": 1, "1": 1})


def test_a_doctor_that_finds_something_fails_the_test_of_a_release(cluster: Cluster) -> None:
    cluster.install(RELEASE, *POD_ENDS_BADLY, "--set", "topics.mode=none")
    for _ in range(2):  # what is left of the first is no hindrance
        assert "Phase:          Failed" in cluster.helm("test", RELEASE, "--timeout", "60s", code=1)


POD_ENDS_BADLY = ("--set-string", "podAnnotations.kubelab/exit-code=1")
TOPICS_FAIL = (*POD_ENDS_BADLY, "--set", "hookJob.backoffLimit=0")


def test_topics_that_cannot_be_made_stop_an_installation_before_any_service(cluster: Cluster) -> None:
    assert "failed pre-install" in cluster.install(RELEASE, *TOPICS_FAIL, code=1)
    assert cluster.find("deployments") == []
    (job,) = cluster.find("jobs")
    assert job["status"]["failed"] == 1, "its log is what says why"
    assert job["spec"]["ttlSecondsAfterFinished"] > 0, "helm does not remove it"

    # What was in the way is gone: the same command with another word installs it.
    cluster.helm("upgrade", RELEASE, str(CHART), "--install", "--wait", "--timeout", "60s", *BOOTSTRAP)
    assert cluster.releases()[RELEASE]["status"] == "deployed"
    assert all(is_ready(pod) for pod in cluster.pods())


def test_topics_that_cannot_be_made_leave_the_old_services_running(cluster: Cluster) -> None:
    cluster.install(RELEASE)
    before = {pod["metadata"]["uid"] for pod in cluster.pods()}
    cluster.upgrade(RELEASE, *TOPICS_FAIL, "--set", f"{SHARDS}=3", code=1)
    pods = cluster.pods()
    assert {pod["metadata"]["uid"] for pod in pods} == before
    assert all(is_ready(pod) for pod in pods)


def test_a_release_without_its_secret_waits_for_it_and_says_so(cluster: Cluster) -> None:
    login = (
        *("--set", "kafka.existingSecret=kafka-login", "--set", "kafka.securityProtocol=SASL_SSL"),
        *("--set", "kafka.saslMechanism=SCRAM-SHA-512"),
    )
    said = cluster.install(RELEASE, *login)
    assert "kafka-login" in said
    for deployment in cluster.find("deployments"):
        pod = deployment["spec"]["template"]["spec"]
        mounted = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
        asked = [
            row["valueFrom"]["secretKeyRef"]
            for container in pod["containers"]
            for row in container["env"]
            if "secretKeyRef" in row.get("valueFrom", {})
        ]
        # A kubelet keeps a pod in ContainerCreating, with an event that names the secret, unless a reference is optional.
        assert {row["secretName"] for row in mounted} == {"kafka-login"}
        assert {row["name"] for row in asked} <= {"kafka-login"}
        assert not any(row.get("optional") for row in mounted + asked)
