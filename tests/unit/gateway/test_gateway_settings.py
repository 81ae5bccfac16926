"""Without keys the gateway listens only on the local machine; invalid settings give one line."""

from pathlib import Path

import pytest

from backpack_streams.cli.main import main
from backpack_streams.gateway.settings import GatewaySettings


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "127.0.0.1, ::1", "127.8.8.8"])
def test_the_local_machine_needs_no_keys(host: str) -> None:
    assert GatewaySettings(host=host).keys_file is None


@pytest.mark.parametrize("host", ["*", "::", "0.0.0.0", "localhost,0.0.0.0", "192.0.2.7", "example.org"])
def test_other_machines_need_a_key(host: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no key would be asked for"):
        GatewaySettings(host=host)
    assert GatewaySettings(host=host, keys_file=tmp_path / "keys.json").host == host
    assert GatewaySettings(host=host, open_to_all=True).keys_file is None


def test_a_gateway_that_is_open_to_all_has_no_keys(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="asks for no keys"):
        GatewaySettings(open_to_all=True, keys_file=tmp_path / "keys.json")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--host", "*"), "--keys-file"),
        (("--port", "65536"), "--port"),
        (("--trade-window", "199"), "--trade-window"),
        (("--max-age", "0"), "--max-age"),
        (("--rate-limit-share", "1.5"), "--rate-limit-share"),
        (("--prot", "80"), "--port"),
    ],
)
def test_an_invalid_setting_gives_one_line_and_exit_code_2(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gateway", *arguments]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("backpack-streams gateway: ")
    assert says in line


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("gateway", "--keys-file", "~nosuchuser/keys.json"), "the file of keys ~nosuchuser/keys.json cannot be read"),
        (
            ("market-producer", "--security-protocol", "SSL", "--ssl-ca-file", "~nosuchuser/ca.pem"),
            "~nosuchuser/ca.pem",
        ),
        (("market-producer", "--sasl-password-file", "~nosuchuser/password"), "~nosuchuser/password"),
    ],
)
def test_the_home_of_a_user_that_does_not_exist_is_an_invalid_setting(
    arguments: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--metrics-port", "0"]) == 2
    told = capsys.readouterr().err
    assert says in told
    assert "Traceback" not in told
