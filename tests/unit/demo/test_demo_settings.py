from pathlib import Path

import pytest
from pydantic import ValidationError

from backpack_streams.demo.folder import DemoFolder
from backpack_streams.demo.settings import DemoSettings


def test_the_documented_ports_are_the_default() -> None:
    settings = DemoSettings()
    assert (settings.kafka_port, settings.ws_port, settings.rest_port, settings.control_port) == (
        19092,
        18765,
        18766,
        18767,
    )


@pytest.mark.parametrize("values", [{"symbols": 3}, {"rate": "max"}])
def test_live_has_no_sandbox_settings(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match="the sandbox does not run with --live"):
        DemoSettings.model_validate({"live": True, **values})


def test_a_recording_must_exist_and_brings_its_own_markets(tmp_path: Path) -> None:
    recording = tmp_path / "flow.bpr"
    with pytest.raises(ValidationError, match="there is no recording"):
        DemoSettings(recording=recording)
    recording.touch()
    assert DemoSettings(recording=recording).recording == recording
    with pytest.raises(ValidationError, match="brings its own markets"):
        DemoSettings(recording=recording, symbols=3)


def test_two_programs_cannot_share_a_port() -> None:
    with pytest.raises(ValidationError, match="port 19092 is given twice"):
        DemoSettings(rest_port=19092)
    assert DemoSettings(live=True, rest_port=19092).live
    assert DemoSettings(kafka_port=0, ws_port=0).ws_port == 0


def test_a_temporary_folder_is_removed_and_its_logs_stay_only_if_they_are_useful() -> None:
    folder = DemoFolder.open(None)
    folder.kafka.mkdir()
    folder.close(keep_logs=True)
    assert folder.logs.is_dir()
    assert not folder.kafka.exists()
    folder.close(keep_logs=False)
    assert not folder.path.exists()


def test_a_chosen_folder_stays(tmp_path: Path) -> None:
    folder = DemoFolder.open(tmp_path / "data")
    folder.kafka.mkdir()
    folder.close(keep_logs=False)
    assert folder.kafka.is_dir()
    assert folder.logs == tmp_path / "data" / "logs"


def test_pids_and_suggestions_are_removed_with_the_demo_that_owns_the_folder(tmp_path: Path) -> None:
    first, second = DemoFolder.open(tmp_path), DemoFolder.open(tmp_path)
    first.claim()
    (first.pids / "kafka").touch()
    first.what_to_try.touch()
    second.close(keep_logs=True)
    assert (first.pids / "kafka").exists(), "the second demo never had the folder"
    second.claim()
    assert list(second.pids.iterdir()) == [], "the first demo was killed"
    assert not second.what_to_try.exists()
    second.close(keep_logs=True)
    assert not second.pids.exists()
