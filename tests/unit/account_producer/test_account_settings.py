"""The key as users give it: from a file or the environment, and wrong in every way there is."""

import base64
import logging
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from pydantic import ValidationError

from backpack_streams.account_producer import service
from backpack_streams.account_producer.settings import AccountProducerSettings
from backpack_streams.cli.main import main
from backpack_streams.exchange.streams import ACCOUNT_CHANNELS

SEED = bytes(range(32))
KEY = base64.b64encode(SEED).decode()


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "key"
    path.write_text(text)
    path.chmod(mode)
    return path


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one line that the command ends with."""
    assert main(["account-producer", *flags]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


def test_the_file_and_the_variable_give_the_same_key(tmp_path: Path) -> None:
    from_file = AccountProducerSettings.model_validate({"private_key_file": key_file(tmp_path, KEY + "\n")})
    from_text = AccountProducerSettings.model_validate({"private_key": KEY})
    assert from_file.signing_key().public_key == from_text.signing_key().public_key
    assert from_file.metrics_port == 9404


def test_nothing_that_shows_settings_shows_the_key(tmp_path: Path) -> None:
    settings = AccountProducerSettings.model_validate({"private_key_file": key_file(tmp_path, KEY)})
    shown = [repr(settings), str(settings), str(settings.loggable()), settings.model_dump_json()]
    assert all(KEY not in text and KEY[:12] not in text for text in shown)


PEM_OF_RSA = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
BAD = {
    "31 bytes": base64.b64encode(SEED[:31]).decode(),
    "64 bytes": base64.b64encode(SEED + SEED).decode(),
    "not base64": "this is no key at all!",
    "RSA": PEM_OF_RSA,
    "is empty": "",
}


@pytest.mark.parametrize(("words", "text"), BAD.items(), ids=list(BAD))
def test_a_key_that_cannot_be_is_one_line_and_exit_code_2(
    words: str, text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, "--private-key-file", str(key_file(tmp_path, text)))
    assert "--private-key-file" in line
    assert words in line
    body = "".join(text.split())
    assert not any(body[start : start + 12] in line for start in range(0, max(0, len(body) - 12), 12) if body)


def test_a_bad_key_in_the_environment_is_named_by_its_variable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BACKPACK_STREAMS_PRIVATE_KEY", "c2hvcnQ=")
    line = refused(capsys)
    assert "BACKPACK_STREAMS_PRIVATE_KEY" in line
    assert "5 bytes" in line
    assert "c2hvcnQ" not in line


def test_no_key_a_missing_file_and_a_folder_are_one_line_each(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "--private-key-file" in refused(capsys)
    assert "No such file" in refused(capsys, "--private-key-file", str(tmp_path / "nothing"))
    assert "cannot be read" in refused(capsys, "--private-key-file", str(tmp_path))


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, False), (0o644, True), (0o602, True)])
def test_a_file_that_every_user_can_read_is_warned_of(
    mode: int,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(service, "run_service", lambda *_: 0)
    path = key_file(tmp_path, KEY, mode)
    settings = AccountProducerSettings.model_validate({"private_key_file": path})
    with caplog.at_level(logging.WARNING):
        assert service.main(settings) == 0
    assert ("chmod 600" in caplog.text) is warned


def test_streams_are_named_with_or_without_their_prefix() -> None:
    settings = AccountProducerSettings.model_validate(
        {"private_key": KEY, "streams": ["orderUpdate", "account.rfqUpdate", "orderUpdate"]}
    )
    assert settings.streams == ("account.orderUpdate", "account.rfqUpdate")
    assert AccountProducerSettings.model_validate({"private_key": KEY}).streams == ACCOUNT_CHANNELS


@pytest.mark.parametrize("streams", [["trade"], ["orderUpdate", "account.trade"], ["orderUpdate.SOL_USDC"], []])
def test_other_streams_are_refused(streams: list[str]) -> None:
    with pytest.raises(ValidationError):
        AccountProducerSettings.model_validate({"private_key": KEY, "streams": streams})


def test_an_account_is_not_shared_out(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKPACK_STREAMS_PRIVATE_KEY", KEY)
    assert "one process" in refused(capsys, "--shard-count", "2")


def test_a_pem_file_is_taken(tmp_path: Path) -> None:
    private = Ed25519PrivateKey.from_private_bytes(SEED)
    text = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    settings = AccountProducerSettings.model_validate({"private_key_file": key_file(tmp_path, text)})
    expected = AccountProducerSettings.model_validate({"private_key": KEY}).signing_key().public_key
    assert settings.signing_key().public_key == expected
