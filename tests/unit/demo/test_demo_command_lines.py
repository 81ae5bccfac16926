import sys
from pathlib import Path

import pytest

from backpack_streams.cli.commands import COMMANDS, load
from backpack_streams.cli.parser import command_parser, parse
from backpack_streams.demo.account import DemoAccount
from backpack_streams.demo.command_lines import child_environment, sandbox_command, service_command, services
from backpack_streams.demo.errors import DemoError
from backpack_streams.demo.ports import DemoPorts
from backpack_streams.demo.settings import DemoSettings
from backpack_streams.runtime.settings_sources import read_settings

PORTS = DemoPorts(kafka=1092, gateway=1080, ws=1765, rest=1766, control=1767)
PUBLIC = services(DemoSettings(live=True))
AT_EXCHANGE = [name for name in PUBLIC if name not in ("book-builder", "gateway")]


def understood(command: list[str]) -> dict[str, object]:
    """The settings of the started program, as its own parser reads them."""
    assert command[:4] == [sys.executable, "-P", "-m", "backpack_streams.cli.main"]
    name, arguments = command[4], command[5:]
    [entry] = [each for each in COMMANDS if each.name == name]
    model = load(entry, entry.settings)
    namespace = parse(command_parser("backpack-streams", entry, model), arguments)
    settings: dict[str, object] = read_settings(model, name, namespace, environment={}).settings.model_dump()
    return settings


def test_the_sandbox_gets_its_ports_and_otherwise_keeps_its_defaults() -> None:
    settings = understood(sandbox_command(DemoSettings(), PORTS))
    assert (settings["ws_port"], settings["rest_port"], settings["control_port"]) == (1765, 1766, 1767)
    assert (settings["symbols"], settings["rate"], settings["recording"]) == (12, None, None)


@pytest.mark.parametrize("rate", [3000.0, 0.5, "max"])
def test_the_synthetic_market_is_passed_on(rate: object) -> None:
    settings = understood(sandbox_command(DemoSettings.model_validate({"symbols": 91, "rate": rate}), PORTS))
    assert (settings["symbols"], settings["rate"]) == (91, rate)


def test_a_recording_is_passed_on_by_its_full_path_and_played_as_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "flow.bpr").touch()
    monkeypatch.chdir(tmp_path)
    settings = understood(sandbox_command(DemoSettings(recording=Path("flow.bpr")), PORTS))
    assert settings["recording"] == tmp_path / "flow.bpr"
    assert settings["retime"] is True


@pytest.mark.parametrize("name", PUBLIC)
def test_a_service_uses_the_demo_s_kafka_and_sandbox(name: str) -> None:
    settings = understood(service_command(name, DemoSettings(log_level="debug"), PORTS, 1401))
    assert settings["bootstrap_servers"] == "127.0.0.1:1092"
    if name in AT_EXCHANGE:
        assert (settings["ws_url"], settings["rest_url"]) == ("ws://127.0.0.1:1765", "http://127.0.0.1:1766")
    assert (settings["metrics_port"], settings["log_level"], settings["log_format"]) == (1401, "debug", "text")


@pytest.mark.parametrize("name", AT_EXCHANGE)
def test_live_uses_the_real_exchange(name: str) -> None:
    settings = understood(service_command(name, DemoSettings(live=True), DemoPorts(kafka=1092, gateway=1080), 1401))
    assert settings["ws_url"] == "wss://ws.backpack.exchange"
    assert settings["rest_url"] == "https://api.backpack.exchange"


def test_the_gateway_uses_its_port_and_requests_history_from_the_sandbox() -> None:
    settings = understood(service_command("gateway", DemoSettings(), PORTS, 1401))
    assert (settings["host"], settings["port"]) == ("127.0.0.1", 1080)
    assert settings["rest_url"] == "http://127.0.0.1:1766"
    live = understood(service_command("gateway", DemoSettings(live=True), DemoPorts(kafka=1092, gateway=1080), 1401))
    assert live["rest_url"] == "https://api.backpack.exchange"


def test_no_setting_of_ours_reaches_a_service() -> None:
    environment = {
        "PATH": "/bin",
        "PYTHONPATH": "elsewhere",
        "BACKPACK_STREAMS_SYMBOLS": "20",
        "BACKPACK_STREAMS_CONFIG": "settings.toml",
        "SCHEMA_REGISTRY_URL": "http://registry:8081",
    }
    child = child_environment(environment)
    assert child.keys() == {"PATH", "PYTHONPATH"}
    assert child["PYTHONPATH"].endswith(":elsewhere")


def test_the_sandbox_has_an_account_and_its_producer_has_the_key(tmp_path: Path) -> None:
    account = DemoAccount(tmp_path / "account.key")
    assert account.key_file.stat().st_mode & 0o077 == 0
    assert DemoAccount(account.key_file).public_key == account.public_key, "the folder keeps its key"
    assert services(DemoSettings()) == (*PUBLIC, "account-producer")
    assert understood(sandbox_command(DemoSettings(), PORTS, account))["account_keys"] == [account.public_key]
    producer = understood(service_command("account-producer", DemoSettings(), PORTS, 1401, account))
    assert producer["private_key_file"] == account.key_file
    assert account.key_file.read_text().strip() not in str(producer)


def test_an_invalid_key_file_gives_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "account.key").write_text("hello\n")
    with pytest.raises(DemoError, match=r"account\.key cannot be used .*remove it"):
        DemoAccount(tmp_path / "account.key")


def test_there_is_no_account_at_the_real_exchange_or_in_a_recording(tmp_path: Path) -> None:
    (tmp_path / "flow.bpr").touch()
    assert "account-producer" not in services(DemoSettings(live=True))
    assert services(DemoSettings(recording=tmp_path / "flow.bpr")) == PUBLIC
