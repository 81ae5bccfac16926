"""Errors in a settings file give one line with their location."""

from pathlib import Path

import pytest

from backpack_streams.errors import UsageError
from backpack_streams.runtime.settings_file import MAX_CONFIG_BYTES, read_settings_file


def complaint(path: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_settings_file(str(path), "--config")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.toml"
    path.write_text("depth = 3\n[book]\nonce = true\n")
    assert read_settings_file(str(path), "--config").values == {"depth": 3, "book": {"once": True}}


@pytest.mark.parametrize(
    ("content", "place"),
    [
        (b"depth = 3\nonce true\n", "2:6: not valid TOML: expected '=' after a key"),
        (b"depth = 3\ndepth = 4\n", "2:10: not valid TOML: cannot overwrite a value"),
        (b"a = 1\nb = [1,\n", "3:1: not valid TOML: "),
        (b"a = 1\nb = '\xff'\n", "2:6: not valid TOML: it is not UTF-8 text"),
    ],
)
def test_malformed_files_are_located(tmp_path: Path, content: bytes, place: str) -> None:
    path = tmp_path / "settings.toml"
    path.write_bytes(content)
    assert complaint(path).startswith(f"{path}:{place}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.toml"
    assert complaint(missing) == f"--config: {missing} cannot be read: No such file or directory"
    assert complaint(tmp_path) == f"--config: {tmp_path} cannot be read: Is a directory"
    large = tmp_path / "large.toml"
    large.write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    assert complaint(large).endswith("so it is not a settings file")
    deep = tmp_path / "deep.toml"
    deep.write_text("a = " + "[" * 100_000)
    assert str(deep) in complaint(deep)
