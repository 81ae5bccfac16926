"""A setting common to all producers: how often they publish watermarks."""

import base64
from pathlib import Path

import pytest

from backpack_streams.account_producer.settings import AccountProducerSettings
from backpack_streams.cli.main import main
from backpack_streams.feed.settings import WatermarkSettings
from backpack_streams.market_producer.settings import MarketProducerSettings
from backpack_streams.perp_producer.settings import PerpProducerSettings

PRODUCERS = ["market-producer", "perp-producer", "account-producer"]
VARIABLE = "BACKPACK_STREAMS_WATERMARK_INTERVAL_MS"


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BACKPACK_STREAMS_PRIVATE_KEY", base64.b64encode(bytes(32)).decode())


def refused(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    """The one line with which the command ends."""
    assert main([*flags]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    return line


@pytest.mark.parametrize("model", [MarketProducerSettings, PerpProducerSettings, AccountProducerSettings])
def test_a_watermark_is_published_once_a_second_by_default(model: type[WatermarkSettings]) -> None:
    settings = {"private_key": base64.b64encode(bytes(32)).decode()} if model is AccountProducerSettings else {}
    assert model.model_validate(settings).watermark_interval_ms == 1000
    for told in ("100", 2500, 10_000):
        assert model.model_validate({**settings, "watermark_interval_ms": told}).watermark_interval_ms == int(told)


@pytest.mark.parametrize("producer", PRODUCERS)
@pytest.mark.parametrize("text", ["0", "-1", "99", "10001", "often", ""])
def test_an_invalid_interval_gives_one_line_and_exit_code_2(
    producer: str, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    line = refused(capsys, producer, f"--watermark-interval-ms={text}")
    assert "--watermark-interval-ms" in line


def test_the_line_names_the_allowed_values(capsys: pytest.CaptureFixture[str]) -> None:
    assert "100" in refused(capsys, "market-producer", "--watermark-interval-ms", "0")
    assert "10000" in refused(capsys, "market-producer", "--watermark-interval-ms", "60000")


def test_the_environment_and_the_settings_file_are_checked_alike(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("watermark-interval-ms = 0\n")
    line = refused(capsys, "market-producer", "--config", str(file))
    assert str(file) in line
    assert "watermark-interval-ms" in line
    monkeypatch.setenv(VARIABLE, "0")
    assert VARIABLE in refused(capsys, "market-producer")
