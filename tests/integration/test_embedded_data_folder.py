import os
import subprocess
import sys
from pathlib import Path

import pytest

from backpack_streams.errors import EmbeddedError
from embedded_kafka.data_folder import (
    ClusterIdentity,
    DataFolder,
    FolderInUseError,
    new_cluster_id,
    require_free_space,
)


def test_a_cluster_id_has_kafkas_form() -> None:
    ids = {new_cluster_id() for _ in range(300)}
    assert len(ids) == 300
    assert all(len(text) == 22 and not text.startswith("-") for text in ids)


def test_the_remembered_identity_is_found_again(tmp_path: Path) -> None:
    identity = ClusterIdentity("abc", (1, 2, 3), (4, 5, 6))
    folder = DataFolder.open(tmp_path / "new")
    assert folder.identity() is None
    folder.remember(identity)
    folder.close()
    again = DataFolder.open(tmp_path / "new")
    assert again.identity() == identity
    again.close()


def test_a_damaged_identity_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    (tmp_path / "embedded-kafka.json").write_text('{"cluster_id": 1')
    with pytest.raises(EmbeddedError, match=r"embedded-kafka\.json cannot be read"):
        folder.identity()
    folder.close()


def test_a_folder_has_one_cluster_at_a_time(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    with pytest.raises(FolderInUseError, match=f"started by process {os.getpid()}") as caught:
        DataFolder.open(tmp_path)
    assert not caught.value.owner_is_gone
    folder.close()
    DataFolder.open(tmp_path).close()


def test_a_folder_of_an_ended_process_is_reported_as_such(tmp_path: Path) -> None:
    folder = DataFolder.open(tmp_path)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    (tmp_path / "embedded-kafka.lock").write_text(f"{ended.pid}\n")
    with pytest.raises(FolderInUseError) as caught:
        DataFolder.open(tmp_path)
    assert caught.value.owner_is_gone
    folder.close()


def test_a_path_that_cannot_be_a_folder_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EmbeddedError, match="cannot write to the data folder"):
        DataFolder.open(tmp_path / "file" / "below")
    with pytest.raises(EmbeddedError, match="comma"):
        DataFolder.open(tmp_path / "a,b")


def test_too_little_disk_space_is_refused(tmp_path: Path) -> None:
    require_free_space(tmp_path, 1)
    with pytest.raises(EmbeddedError, match="MiB free on the disk under"):
        require_free_space(tmp_path, 1 << 60)
