"""The chart installs for either IP family and for both, and with every value left empty, on a control plane of both families."""

import ipaddress
from pathlib import Path

import pytest
import yaml

from chart.test_values import DEFAULTS, emptied
from kubelab.cluster import Cluster, is_ready
from plant import wait_until

RELEASE = "market-data"
SWITCHED_ON = ("--set", "sandbox.enabled=true", "--set", "gateway.enabled=true", "--set", "gateway.existingSecret=keys")


@pytest.mark.parametrize(
    ("policy", "families"),
    [("SingleStack", ["IPv6"]), ("SingleStack", ["IPv4"]), ("RequireDualStack", ["IPv6", "IPv4"])],
    ids=["IPv6 alone", "IPv4 alone", "both"],
)
def test_services_get_addresses_of_the_families_asked_for(cluster: Cluster, policy: str, families: list[str]) -> None:
    cluster.create_secret("keys", **{"keys.json": "k"})
    wanted = ("--set", f"services.ipFamilyPolicy={policy}", "--set", f"services.ipFamilies={{{','.join(families)}}}")
    cluster.install(RELEASE, *SWITCHED_ON, *wanted)
    wait_until("every pod is ready", lambda: all(map(is_ready, cluster.pods())))
    services = cluster.find("services")
    assert len(services) >= 6
    assert {(each["spec"]["ipFamilyPolicy"], *each["spec"]["ipFamilies"]) for each in services} == {(policy, *families)}
    addresses = [
        [f"IPv{ipaddress.ip_address(address).version}" for address in each["spec"]["clusterIPs"]]
        for each in services
        if each["spec"]["clusterIP"] != "None"
    ]
    assert addresses, "no Service has an address of its own"
    assert all(each == families for each in addresses)


def test_a_release_with_every_value_left_empty_is_that_of_the_defaults(cluster: Cluster, tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text(yaml.safe_dump(emptied(DEFAULTS)))
    cluster.install(RELEASE)
    plain = cluster.helm("get", "manifest", RELEASE)
    cluster.upgrade(RELEASE, "--values", str(file))
    assert cluster.helm("get", "manifest", RELEASE) == plain
    assert plain.count("kind: Deployment") >= 4
