"""compose.yaml, as compose would read it: our own settings take what it gives to our services, and all that is named is there.

No engine runs here, so nothing of it is started; what it starts is tested in test_image.py.
"""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from backpack_streams import __version__
from backpack_streams.cli.commands import COMMANDS, load
from backpack_streams.cli.parser import command_parser, parse
from backpack_streams.runtime.settings_sources import read_settings

ROOT = Path(__file__).parents[2]
DOCUMENT: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SERVICES: dict[str, dict[str, Any]] = DOCUMENT["services"]
IMAGE_VARIABLES = {"BACKPACK_STREAMS_METRICS_HOST": "*", "BACKPACK_STREAMS_METRICS_PORT": "9400"}
BY_NAME = {command.name: command for command in COMMANDS}
RUNNING = {"market-producer", "perp-producer", "rest-poller", "book-builder", "gateway"}


def ours(name: str) -> bool:
    return "backpack-streams" in SERVICES[name]["image"]


OURS = [name for name in SERVICES if ours(name)]
COMMAND_LINES = [name for name in OURS if "command" in SERVICES[name]]


def active(profile: str) -> set[str]:
    return {name for name, service in SERVICES.items() if profile in service["profiles"]}


def settings_of(name: str) -> Any:
    command, *arguments = SERVICES[name]["command"]
    known = BY_NAME[command]
    model = load(known, known.settings)
    namespace = parse(command_parser("backpack-streams", known, model), arguments)
    variables = IMAGE_VARIABLES | SERVICES[name].get("environment", {})
    read = read_settings(model, command, namespace, variables, names_elsewhere=lambda: ("metrics_host", "metrics_port"))
    assert read.warnings == ()
    return read.settings


def test_without_a_profile_it_is_the_stand_in_and_with_live_the_real_exchange_and_never_both() -> None:
    assert "COMPOSE_PROFILES=sandbox\n" in (ROOT / ".env").read_text()
    assert all(len(service["profiles"]) == 1 for service in SERVICES.values())
    sandbox, live = active("sandbox"), active("live")
    assert sandbox | live == set(SERVICES)
    assert RUNNING | {"kafka", "registry", "topics", "schemas", "exchange"} == sandbox
    assert {f"{name}-live" for name in sandbox - {"exchange"}} == live


@pytest.mark.parametrize("name", COMMAND_LINES)
def test_the_program_takes_what_it_is_given(name: str) -> None:
    settings = settings_of(name)
    if name == "exchange":
        assert settings.host == "*"
        return
    assert settings.bootstrap_servers == "kafka:9092"
    assert settings.schema_registry_url.startswith("http://registry:8080/")


@pytest.mark.parametrize("name", sorted({"market-producer", "perp-producer", "rest-poller", "gateway"}))
def test_a_service_goes_to_the_exchange_of_its_profile(name: str) -> None:
    exchange = settings_of("exchange")
    settings = settings_of(name)
    assert settings.ws_url == f"ws://exchange:{exchange.ws_port}"
    assert settings.rest_url == f"http://exchange:{exchange.rest_port}"
    live = settings_of(f"{name}-live")
    command = BY_NAME[name]
    usual = load(command, command.settings)()
    assert (live.ws_url, live.rest_url) == (usual.ws_url, usual.rest_url)
    assert live.ws_url.startswith("wss://")


@pytest.mark.parametrize("name", sorted(RUNNING | {f"{name}-live" for name in RUNNING}))
def test_metrics_are_published_where_the_program_serves_them_without_a_container(name: str) -> None:
    command = BY_NAME[name.removesuffix("-live")]
    usual = load(command, command.settings)().metrics_port
    assert SERVICES[name]["ports"][-1] == f"127.0.0.1:{usual}:{settings_of(name).metrics_port}"


@pytest.mark.parametrize("name", ["gateway", "gateway-live"])
def test_the_read_api_is_for_this_machine_and_asks_for_no_key(name: str) -> None:
    settings = settings_of(name)
    assert (settings.host, settings.open_to_all) == ("*", True)
    assert SERVICES[name]["ports"][0] == f"127.0.0.1:{settings.port}:{settings.port}"


def test_the_dockerfile_has_the_variables_that_are_assumed_here() -> None:
    for name, value in IMAGE_VARIABLES.items():
        assert f"{name}={value}" in DOCKERFILE


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_runs_beside_it_and_can_be_waited_for(name: str) -> None:
    [profile] = SERVICES[name]["profiles"]
    for other, options in SERVICES[name].get("depends_on", {}).items():
        assert other in active(profile)
        if options["condition"] == "service_healthy":
            assert ours(other) or "test" in SERVICES[other]["healthcheck"]
        if options["condition"] == "service_completed_successfully":
            assert "restart" not in SERVICES[other]


@pytest.mark.parametrize("name", SERVICES)
def test_names_lead_to_services_of_the_same_network(name: str) -> None:
    [profile] = SERVICES[name]["profiles"]
    assert list(SERVICES[name]["networks"]) == [profile]
    reachable = set()
    for other in active(profile):
        networks = SERVICES[other]["networks"]
        aliases = networks[profile]["aliases"] if isinstance(networks, dict) else []
        reachable |= {other, *aliases}
    variables = " ".join(str(value) for value in SERVICES[name].get("environment", {}).values())
    hosts = set(re.findall(r"(?:://)([a-z][a-z-]*):\d", variables)) | set(re.findall(r"^([a-z-]+):\d+$", variables))
    assert hosts <= reachable | {"localhost"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_may_do_no_more_than_it_must(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("privileged") is None
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not ours(name) or (service["read_only"] is True and service["tmpfs"][0].startswith("/tmp:"))


@pytest.mark.parametrize("profile", ["sandbox", "live"])
def test_no_port_is_published_twice_within_a_profile_and_kafkas_are_the_same_in_both(profile: str) -> None:
    ports = [port.rpartition(":")[0] for name in active(profile) for port in SERVICES[name].get("ports", [])]
    assert len(ports) == len(set(ports))
    assert "127.0.0.1:19092" in ports


def test_every_image_has_a_version_and_ours_is_that_of_the_project() -> None:
    assert {SERVICES[name]["image"] for name in OURS if name != "exchange"} == {
        f"${{BACKPACK_STREAMS_IMAGE:-backpack-streams:{__version__}}}"
    }
    sandbox = f"${{BACKPACK_STREAMS_SANDBOX_IMAGE:-backpack-streams-sandbox:{__version__}}}"
    assert SERVICES["exchange"]["image"] == sandbox
    others = {SERVICES[name]["image"] for name in SERVICES if not ours(name)}
    assert all(re.fullmatch(r"[a-z/-]+:\d+\.\d+\.\d+", image) for image in others)


def test_the_image_is_built_by_one_service_of_each_profile() -> None:
    builders = {name for name in SERVICES if "build" in SERVICES[name]}
    assert builders == {"topics", "topics-live", "exchange"}
    assert SERVICES["topics"]["build"]["args"] == {"VERSION": __version__}
    assert SERVICES["exchange"]["build"] == SERVICES["topics"]["build"] | {"target": "sandbox"}
    assert "AS sandbox\n" in DOCKERFILE


def test_kafkas_and_volumes_are_not_shared() -> None:
    volumes = {name: SERVICES[name]["volumes"] for name in ("kafka", "kafka-live")}
    names = {volume.partition(":")[0] for each in volumes.values() for volume in each}
    assert names == set(DOCUMENT["volumes"])
    assert len(names) == 2


def test_the_schemas_are_registered_by_a_command_that_the_program_has() -> None:
    [_, _, script] = SERVICES["schemas"]["entrypoint"]
    command, action = re.findall(r"exec backpack-streams (\w+) (\w+)$", script)[0]
    assert action in BY_NAME[command].positionals[0].choices
