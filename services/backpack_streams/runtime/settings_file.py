"""The optional TOML file of settings: keys at its top apply to all commands, those of a table `[command]` to one."""

import re
import tomllib
from dataclasses import dataclass, field
from typing import Any

from backpack_streams.errors import UsageError
from backpack_streams.expanded_path import expanded

MAX_CONFIG_BYTES = 1024 * 1024  # a settings file has about a page; the limit keeps /dev/zero out
_TOML_POSITION = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


@dataclass(frozen=True)
class SettingsFile:
    """A parsed file.

    Attributes:
        path: the path as the user wrote it, for messages.
        values: the parsed content.
    """

    path: str = ""
    values: dict[str, Any] = field(default_factory=dict)


def read_settings_file(path: str, named_by: str) -> SettingsFile:
    """Read and parse the TOML file.

    Args:
        path: the file; `~` is expanded.
        named_by: the flag or variable that names it, for messages.

    Raises:
        UsageError: it is unreadable, too large, or not TOML; one line, with file, line and column if it is not TOML.
    """
    try:
        with expanded(path).open("rb") as stream:
            content = stream.read(MAX_CONFIG_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = (isinstance(error, OSError) and error.strerror) or str(error)
        raise UsageError(f"{named_by}: {path} cannot be read: {reason}") from None
    if len(content) > MAX_CONFIG_BYTES:
        raise UsageError(f"{named_by}: {path} is larger than {MAX_CONFIG_BYTES} bytes, so it is not a settings file")
    try:
        text = content.decode("utf-8")
        return SettingsFile(path, tomllib.loads(text))
    except UnicodeDecodeError as error:
        line, column = _position(content, error.start)
        raise UsageError(f"{path}:{line}:{column}: not valid TOML: it is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise UsageError(_toml_message(path, text, str(error))) from None
    except RecursionError:
        raise UsageError(f"{path}: not valid settings: its values are nested too deeply") from None


def _toml_message(path: str, text: str, reason: str) -> str:
    match = _TOML_POSITION.search(reason)
    if match is None:
        return f"{path}: not valid TOML: {reason}"
    if match[1] is None:
        lines = text.split("\n")
        line, column = len(lines), len(lines[-1]) + 1
    else:
        line, column = int(match[1]), int(match[2])
    what = reason[: match.start()]
    return f"{path}:{line}:{column}: not valid TOML: {what[:1].lower()}{what[1:]}"


def _position(content: bytes, offset: int) -> tuple[int, int]:
    before = content[:offset]
    return before.count(b"\n") + 1, offset - (before.rfind(b"\n") + 1) + 1
