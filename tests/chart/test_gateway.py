"""The gateway in the chart: who may reach it, by which ways, and what it reaches itself."""

from pathlib import Path
from typing import Any

import pytest

from chart.full_installation import notes, reach
from chart.rendering import RELEASE, Chart, Resource, environment, of_kind, one
from chart.test_combinations import SWITCHES

NAME = f"{RELEASE}-backpack-streams-gateway"
PUBLIC, ALONE, BALANCED = (SWITCHES["gateway"][choice] for choice in ("public", "alone", "balanced"))
WAYS_IN = ("Ingress", "HTTPRoute")


def container_of(resources: list[Resource]) -> Resource:
    found: Resource = one(resources, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"][0]
    return found


def test_it_is_off_until_it_is_asked_for(chart: Chart) -> None:
    assert "gateway" not in str(sorted(each["metadata"]["name"] for each in chart.render()))


def test_without_keys_it_listens_inside_its_pod_only(chart: Chart) -> None:
    resources = chart.render({"gateway": {"enabled": True}})
    settings = environment(container_of(resources))
    assert settings["BACKPACK_STREAMS_HOST"] == "localhost"
    assert "BACKPACK_STREAMS_KEYS_FILE" not in settings
    assert not any(of_kind(resources, kind) for kind in WAYS_IN)


def test_open_to_all_it_is_there_for_others_without_keys(chart: Chart) -> None:
    values = {"gateway": {"enabled": True, "config": {"open_to_all": True}, "ingress": {"enabled": True}}}
    resources = chart.render(values)
    settings = environment(container_of(resources))
    assert (settings["BACKPACK_STREAMS_HOST"], settings["BACKPACK_STREAMS_OPEN_TO_ALL"]) == ("*", "true")
    assert "BACKPACK_STREAMS_KEYS_FILE" not in settings
    assert of_kind(resources, "Ingress")


def test_with_keys_it_is_there_for_others(chart: Chart) -> None:
    resources = chart.render(PUBLIC)
    pod = one(resources, "Deployment", "gateway")["spec"]["template"]["spec"]
    settings = environment(pod["containers"][0])
    assert settings["BACKPACK_STREAMS_HOST"] == "*"
    (volume,) = (each for each in pod["volumes"] if "secret" in each)
    assert volume["secret"]["secretName"] == "gateway-keys"
    assert volume["secret"]["items"] == [{"key": "desk", "path": "keys"}]
    (mount,) = (each for each in pod["containers"][0]["volumeMounts"] if each["name"] == volume["name"])
    assert settings["BACKPACK_STREAMS_KEYS_FILE"] == f"{mount['mountPath']}/keys"
    # The kubelet renews files of a whole volume; one mounted by its path would stay as it was.
    assert "subPath" not in mount
    assert settings["BACKPACK_STREAMS_CORS_ORIGINS"] == "https://desk.example.com"
    assert settings["BACKPACK_STREAMS_MAX_AGE"] == "2.5"


def test_every_way_in_ends_at_the_port_that_it_listens_on(chart: Chart) -> None:
    resources = chart.render(PUBLIC, {"gateway": {"service": {"port": 80}}})
    container = container_of(resources)
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert str(ports["http"]) == environment(container)["BACKPACK_STREAMS_PORT"]
    (port,) = of_kind(resources, "Service")[NAME]["spec"]["ports"]
    assert (port["name"], port["port"], port["targetPort"]) == ("http", 80, "http")
    for rule in one(resources, "Ingress", "gateway")["spec"]["rules"]:
        (path,) = rule["http"]["paths"]
        assert (path["path"], path["pathType"]) == ("/", "Prefix")
        assert path["backend"]["service"] == {"name": NAME, "port": {"name": "http"}}
    (rule,) = one(resources, "HTTPRoute", "gateway")["spec"]["rules"]
    assert rule == {"backendRefs": [{"name": NAME, "port": 80}]}


def test_ways_in_have_what_the_values_say(chart: Chart) -> None:
    resources = chart.render(PUBLIC)
    ingress, route = one(resources, "Ingress", "gateway"), one(resources, "HTTPRoute", "gateway")
    assert ingress["spec"]["ingressClassName"] == "nginx"
    assert [rule["host"] for rule in ingress["spec"]["rules"]] == ["market.example.com", "*.market.example.com"]
    assert ingress["spec"]["tls"] == [{"hosts": ["market.example.com"], "secretName": "market-tls"}]
    assert ingress["metadata"]["annotations"] == {"cert-manager.io/cluster-issuer": "letsencrypt"}
    assert route["spec"]["parentRefs"] == PUBLIC["gateway"]["httpRoute"]["parentRefs"]
    assert route["spec"]["hostnames"] == ["market.example.com"]
    assert route["metadata"]["annotations"] == {"team": "data"}
    service = of_kind(chart.render(BALANCED), "Service")[NAME]
    assert (service["spec"]["type"], service["spec"]["ports"][0]["port"]) == ("LoadBalancer", 80)
    assert service["metadata"]["annotations"] == {"cloud.example.com/internal": "true"}


def test_an_ingress_without_hosts_takes_every_name(chart: Chart) -> None:
    resources = chart.render({"gateway": {"enabled": True, "existingSecret": "keys", "ingress": {"enabled": True}}})
    (rule,) = one(resources, "Ingress", "gateway")["spec"]["rules"]
    assert rule.keys() == {"http"}


def test_only_the_service_of_the_metrics_is_scraped(chart: Chart) -> None:
    services = of_kind(chart.render(PUBLIC), "Service")
    assert "backpack-streams/metrics" not in services[NAME]["metadata"]["labels"]
    assert services[f"{NAME}-metrics"]["metadata"]["labels"]["backpack-streams/metrics"] == "true"
    # Whoever calls the read API must not be sent to a gateway that is not ready.
    assert "publishNotReadyAddresses" not in services[NAME]["spec"]


@pytest.mark.parametrize(("values", "ports"), [(ALONE, {9092, 9093}), (PUBLIC, {9092, 9093, 443})])
def test_it_reaches_the_exchange_only_if_it_may_ask_it(chart: Chart, values: dict[str, Any], ports: set[int]) -> None:
    resources = chart.render(values, {"exchange": {"restUrl": "https://rest.example.com"}})
    assert reach(of_kind(resources, "NetworkPolicy")[NAME]) == ports
    assert ("BACKPACK_STREAMS_REST_URL" in environment(container_of(resources))) == (443 in ports)


def test_its_peers_are_those_of_the_values(chart: Chart) -> None:
    policy = of_kind(chart.render(PUBLIC, SWITCHES["policies"]["narrow"]), "NetworkPolicy")[NAME]
    peers = {rule["ports"][0]["port"]: rule["from"] for rule in policy["spec"]["ingress"]}
    narrow = SWITCHES["policies"]["narrow"]["networkPolicy"]
    assert peers == {"metrics": narrow["metricsFrom"], "http": narrow["gatewayFrom"]}
    for name, each in of_kind(chart.render(PUBLIC), "NetworkPolicy").items():
        opened = {port["port"] for rule in each["spec"].get("ingress", ()) for port in rule["ports"]}
        assert ("http" in opened) == (name == NAME)


def test_it_goes_on_until_nobody_is_sent_to_it(chart: Chart) -> None:
    container = container_of(chart.render(PUBLIC))
    assert container["lifecycle"]["preStop"] == {"sleep": {"seconds": 10}}


def test_the_notes_say_how_to_reach_it_and_how_to_let_others_in(chart: Chart, tmp_path: Path) -> None:
    closed = notes(chart, tmp_path / "closed", ALONE)
    forward = f"kubectl port-forward --namespace trading service/{NAME} 8080"
    assert forward in closed
    assert "kubectl create secret generic gateway-keys --namespace trading --from-file keys.json" in closed
    opened = notes(chart, tmp_path / "open", PUBLIC)
    assert forward in opened
    assert "create secret" not in opened
    assert "API keys are taken over within about a minute" in opened
