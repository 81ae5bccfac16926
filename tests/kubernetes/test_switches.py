"""Everything that the chart can make is taken by a real API server, strictly, and by Pod Security admission."""

from pathlib import Path

import pytest
import yaml

from kubelab.cluster import COMPONENT, Cluster, is_ready, label
from plant import wait_until

RELEASE = "market-data"
EVERYTHING = {
    "accountProducer": {"enabled": True, "existingSecret": "account"},
    "bookBuilder": {"keda": {"enabled": True}},
    "dashboard": {"enabled": True},
    "gateway": {
        "enabled": True,
        "existingSecret": "gateway-keys",
        "hpa": {"enabled": True},
        "ingress": {
            "enabled": True,
            "className": "nginx",
            "hosts": ["market.example.com"],
            "tls": [{"hosts": ["market.example.com"], "secretName": "market-tls"}],
        },
        "httpRoute": {"enabled": True, "parentRefs": [{"name": "edge"}], "hostnames": ["market.example.com"]},
    },
    "kafka": {
        "existingSecret": "kafka-login",
        "securityProtocol": "SASL_SSL",
        "saslMechanism": "SCRAM-SHA-512",
        "secretKeys": {"ca": "ca.crt"},
    },
    "marketProducer": {"shards": 2, "replicasPerShard": 2},
    "prometheusRule": {"enabled": True, "runbookBaseUrl": "https://git.example/docs"},
    "sandbox": {"enabled": True},
    "schemaRegistry": {"url": "https://registry.example:8081", "existingSecret": "registry-login"},
    "serviceMonitor": {"enabled": True},
    "topics": {"mode": "strimzi", "strimzi": {"cluster": "kafka", "keep": False}},
}


@pytest.fixture
def everything(tmp_path: Path) -> tuple[str, str]:
    file = tmp_path / "everything.yaml"
    file.write_text(yaml.safe_dump(EVERYTHING))
    return "--values", str(file)


def test_all_switches_at_once_are_installed_and_leave_nothing(cluster: Cluster, everything: tuple[str, str]) -> None:
    cluster.create_secret("kafka-login", username="u", password="p", **{"ca.crt": "c"})
    cluster.create_secret("registry-login", username="u", password="p")
    cluster.create_secret("account", **{"private-key": "k"})
    cluster.create_secret("gateway-keys", **{"keys.json": "k"})
    given = cluster.left_behind()

    cluster.install(RELEASE, *everything)
    components = {label(pod, COMPONENT) for pod in cluster.pods() if is_ready(pod)}
    assert {
        "market-producer",
        "perp-producer",
        "account-producer",
        "rest-poller",
        "book-builder",
        "gateway",
        "sandbox",
    } <= components
    made = {kind for kind, _ in cluster.left_behind() - given}
    assert {
        "ServiceMonitor",
        "PrometheusRule",
        "ScaledObject",
        "KafkaTopic",
        "NetworkPolicy",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "Ingress",
        "HTTPRoute",
    } <= made
    assert "ConfigMap" in made

    cluster.helm("uninstall", RELEASE, "--wait", "--timeout", "60s")
    cluster.require_nothing_left(besides=given)


def test_what_is_scraped_is_there(cluster: Cluster, everything: tuple[str, str]) -> None:
    """The ServiceMonitor's selector finds Services, and their ports and selectors find each pod."""
    cluster.install(RELEASE, *everything)
    (monitor,) = cluster.find("servicemonitors")
    wanted = monitor["spec"]["selector"].get("matchLabels", {}).items()
    ports = {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]}
    services = [one for one in cluster.find("services") if wanted <= one["metadata"]["labels"].items()]
    assert all(ports <= {port["name"] for port in service["spec"]["ports"]} for service in services)
    selectors = [service["spec"]["selector"].items() for service in services]
    for pod in cluster.pods():
        if label(pod, COMPONENT) == "sandbox":
            continue
        found = [selector for selector in selectors if selector <= pod["metadata"]["labels"].items()]
        assert len(found) == 1, f"{pod['metadata']['name']} is scraped {len(found)} times"


def test_the_read_apis_service_leads_to_every_gateway(cluster: Cluster) -> None:
    cluster.create_secret("gateway-keys", **{"keys.json": "k"})
    cluster.install(
        RELEASE,
        *(
            "--set",
            "gateway.enabled=true",
            "--set",
            "gateway.replicas=2",
            "--set",
            "gateway.existingSecret=gateway-keys",
        ),
    )
    pods = cluster.pods(component="gateway")
    assert len(pods) == 2
    addresses = {pod["status"]["podIP"] for pod in pods}

    def led_to() -> set[str]:
        return {
            address
            for piece in cluster.find("endpointslices")
            if label(piece, "kubernetes.io/service-name") == f"{RELEASE}-backpack-streams-gateway"
            if [(port["name"], port["port"]) for port in piece["ports"]] == [("http", 8080)]
            for endpoint in piece["endpoints"]
            if endpoint["conditions"]["ready"]
            for address in endpoint["addresses"]
        }

    wait_until("the Service leads to both", lambda: led_to() == addresses)


@pytest.mark.parametrize("choice", ["defaults", "everything", "hpa"])
def test_every_field_is_known_to_the_api_server(cluster: Cluster, everything: tuple[str, str], choice: str) -> None:
    options = {"defaults": (), "everything": everything, "hpa": ("--set", "bookBuilder.hpa.enabled=true")}[choice]
    manifest = cluster.render(RELEASE, "--api-versions", "kafka.strimzi.io/v1/KafkaTopic", *options)
    documents = [document for document in yaml.safe_load_all(manifest) if document]
    for document in documents:
        if document["kind"] == "ServiceAccount":  # a dry run makes none, and a bare pod is not taken without its own
            cluster.api.post(f"/api/v1/namespaces/{cluster.namespace}/serviceaccounts", document)
    taken = cluster.kubectl("apply", "--dry-run=server", "--validate=strict", "--filename", "-", text=manifest)
    assert len(taken.splitlines()) == len(documents) > 15
