"""What users of the data notice of changes and drains: nothing. At every moment each shard has a producer that is Ready."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from kubelab.api import Api
from kubelab.cluster import COMPONENT, Cluster, is_ready, label
from plant import wait_until

RELEASE = "market-data"


def test_a_rolling_update_never_leaves_a_shard_without_a_ready_producer(cluster: Cluster) -> None:
    shards = ("--set", "marketProducer.shards=2")
    cluster.install(RELEASE, *shards)
    before = cluster.watched_pods()
    cluster.upgrade(RELEASE, *shards, "--set", "logLevel=debug")
    cluster.wait_replaced(before["items"])
    assert cluster.fewest_ready(before) == Counter({"0": 1, "1": 1})


def test_a_rolling_update_never_leaves_a_client_with_fewer_gateways(cluster: Cluster) -> None:
    two = ("--set", "gateway.enabled=true", "--set", "gateway.replicas=2")
    cluster.install(RELEASE, *two)
    before = cluster.watched_pods("gateway")
    cluster.upgrade(RELEASE, *two, "--set", "gateway.config.max_age=2")
    cluster.wait_replaced(before["items"])
    assert cluster.fewest_ready(before, "gateway") == Counter({"gateway": 2})


def test_doubled_producers_stay_doubled(cluster: Cluster) -> None:
    doubled = ("--set", "marketProducer.replicasPerShard=2")
    cluster.install(RELEASE, *doubled)
    before = cluster.watched_pods()
    nodes = {pod["spec"]["nodeName"] for pod in before["items"]}
    assert len(nodes) == 2, "both on one node: one machine takes both away"
    cluster.upgrade(RELEASE, *doubled, "--set", "logLevel=debug")
    cluster.wait_replaced(before["items"])
    assert cluster.fewest_ready(before) == Counter({"0": 2})


@contextmanager
def no_room_for_new_pods(api: Api) -> Iterator[None]:
    """All nodes are cordoned: who is evicted has no successor for as long."""
    nodes = [f"/api/v1/nodes/{node['metadata']['name']}" for node in api.items("/api/v1/nodes")]
    try:
        for node in nodes:
            api.patch(node, {"spec": {"unschedulable": True}})
        yield
    finally:
        for node in nodes:
            api.patch(node, {"spec": {"unschedulable": None}})


def test_budgets_hold_while_pods_are_evicted_one_by_one(cluster: Cluster) -> None:
    cluster.install(
        RELEASE,
        *("--set", "marketProducer.shards=2", "--set", "marketProducer.replicasPerShard=2"),
        *("--set", "perpProducer.shards=2", "--set", "bookBuilder.replicas=2"),
        *("--set", "gateway.enabled=true", "--set", "gateway.replicas=2"),
    )
    sizes = Counter(label(pod, COMPONENT) for pod in cluster.pods())
    budgets = {label(one, COMPONENT) for one in cluster.find("poddisruptionbudgets")}
    assert budgets == {"market-producer", "perp-producer", "book-builder", "gateway"}

    def all_are_there() -> bool:
        pods, states = cluster.pods(), [one["status"] for one in cluster.find("poddisruptionbudgets")]
        whole = Counter(label(pod, COMPONENT) for pod in pods) == sizes and all(is_ready(pod) for pod in pods)
        return whole and all(state.get("disruptionsAllowed") == 1 for state in states)

    evicted = cluster.pods()
    for pod in evicted:
        wait_until("every pod is there and the budgets know it", all_are_there)
        component = label(pod, COMPONENT)
        others = [
            one for one in cluster.pods(component=str(component)) if one["metadata"]["uid"] != pod["metadata"]["uid"]
        ]
        with no_room_for_new_pods(cluster.api):
            assert cluster.api.evict(cluster.namespace, pod["metadata"]["name"])
            for other in others:
                name = other["metadata"]["name"]
                assert not cluster.api.evict(cluster.namespace, name), f"{name} may go while another of its set is away"
            assert len(others) == sizes[component] - 1
    wait_until("every pod is back", all_are_there)
    assert not {pod["metadata"]["uid"] for pod in evicted} & {pod["metadata"]["uid"] for pod in cluster.pods()}
