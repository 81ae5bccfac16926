"""User errors with recordings and exports: one line with the problem and the remedy, the right exit code, no traceback."""

from pathlib import Path

import pytest
from test_bad_input import one_line, run

from backpack_streams.recording.parts import PartFile
from backpack_streams.recording.records import About, encode
from embedded_kafka import BlockingKafka
from plant import running_plant

ANY_PORTS = ("--ws-port", "0", "--rest-port", "0")
DAY = ("--from", "2025-11-22", "--to", "2025-11-23")


def test_files_that_are_not_recordings(tmp_path: Path) -> None:
    text, empty = tmp_path / "text.bpr", tmp_path / "empty.bpr"
    text.write_text("no recording\n" * 100)
    empty.touch()
    one_line(run("replay", str(text), *ANY_PORTS), 2, str(text), "is no recording", "backpack-streams record")
    one_line(run("replay", str(empty), *ANY_PORTS), 2, str(empty), "is no recording")
    one_line(run("replay", str(tmp_path / "nothing"), *ANY_PORTS), 2, "there is no recording")
    one_line(run("replay", *ANY_PORTS), 2, "FILE")
    one_line(run("replay", str(text), "--speed", "0", *ANY_PORTS), 2, "--speed")


def test_a_file_of_a_newer_version(tmp_path: Path) -> None:
    file = PartFile(tmp_path / "new.bpr")
    file.write([encode(About(1, "run", 1, {})).replace(b'"format":1', b'"format":9')])
    file.close()
    one_line(run("replay", str(tmp_path / "new.bpr"), *ANY_PORTS), 2, "format 9", "upgrade")


def test_a_recording_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "a.bpr").write_text("precious")
    done = run("record", str(tmp_path / "a.bpr"), "--metrics-port", "0")
    one_line(done, 2, "a.bpr is there already", "never overwritten")
    assert (tmp_path / "a.bpr").read_text() == "precious"
    done = run("record", str(tmp_path / "no" / "a.bpr"), "--metrics-port", "0")
    one_line(done, 2, "cannot be made")
    one_line(run("record", str(tmp_path / "b.bpr"), "--streams", "depht"), 2, "depht")
    one_line(run("record", str(tmp_path / "b.bpr"), "--streams", "account.orderUpdate"), 2, "record", "account")
    assert not (tmp_path / "b.bpr").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backpack.market.nothing", *DAY), ("unknown topic", "backpack.market.trade")),
        (("backpack.market.trade", "--from", "2025-11-22", "--to", "2025-11-22"), ("is empty",)),
        (("backpack.market.trade", "--from", "2025-11-23", "--to", "2025-11-22"), ("ends before it starts", "--from")),
        (("backpack.market.trade", "--from", "2999-01-01", "--to", "2999-01-02"), ("in the future",)),
        (("backpack.market.trade", "--from", "noon", "--to", "2025-11-22"), ("--from", "noon")),
        (("backpack.market.trade", "--to", "2025-11-22"), ("--from",)),
    ],
)
def test_exports_with_wrong_arguments_write_nothing(
    arguments: tuple[str, ...], words: tuple[str, ...], tmp_path: Path
) -> None:
    one_line(run("export", *arguments, "--out", str(tmp_path)), 2, *words)
    assert not list(tmp_path.iterdir())


def test_exports_without_records_or_folder_write_nothing(kafka: BlockingKafka, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with running_plant(kafka.bootstrap_servers, tmp_path, "export.") as plant:
        done = plant.run("export", "export.market.trade", *DAY, "--out", str(tmp_path / "file"))
        one_line(done, 2, "cannot be written to", "--out")
        assert plant.run("topics", "apply").returncode == 0
        done = plant.run("export", "export.market.trade", *DAY, "--out", str(tmp_path / "out"))
        one_line(done, 1, "export.market.trade holds no record from 2025-11-22")
    assert not list((tmp_path / "out").rglob("*.parquet"))
