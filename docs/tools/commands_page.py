"""Writes docs/commands.md: every command with its settings, from the tables that the program itself runs by.

python docs/tools/commands_page.py
"""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from backpack_streams.cli.commands import COMMANDS, Command, load
from backpack_streams.runtime.settings_fields import SettingField, setting_fields

PAGE = Path(__file__).parents[1] / "commands.md"
_HEAD = """# Commands

Written by `make docs` from the settings that the program reads; `backpack-streams COMMAND --help` says the same. Every setting is a
flag, an environment variable (`BACKPACK_STREAMS_` and the name in capitals) and a TOML key (the flag without its dashes, `_` for `-`).
[Settings](settings.md) says which of them wins. Exit codes: 0 done, 1 failed, 2 wrong usage.
"""
_SHARED_HEAD = """## Settings that commands share

If the table of a command lists one of these settings as well, the default and the meaning given there apply to that command.
"""


def commands_page() -> str:
    """The page as it should be."""
    groups = dict.fromkeys(group for command in COMMANDS for group in _groups(command) if _is_shared(group))
    parts = [_HEAD, *(_section(command) for command in COMMANDS), _SHARED_HEAD]
    parts += [f"### {group} {{ #{_anchor(group)} }}\n\n{_table(_shared_rows(group))}" for group in groups]
    return "\n".join(parts)


def _section(command: Command) -> str:
    usage = " ".join(
        ["backpack-streams", command.name, *(each.metavar + "…" * each.many for each in command.positionals)]
    )
    lines = [f"## {command.name}\n", f"`{usage}`: {command.summary}.\n"]
    if command.extra:
        lines[-1] += f"It needs the extra `{command.extra}`.\n"
    lines += [f"- `{each.metavar}`: {each.help}" for each in command.positionals]
    if command.positionals:
        lines.append("")
    groups = _groups(command)
    own = [
        row
        for group, fields in groups.items()
        for row in map(_row, fields)
        if not (_is_shared(group) and row in _shared_rows(group))
    ]
    if own:
        lines.append(_table(own))
    shared = [f"[{group}](#{_anchor(group)})" for group in groups if _is_shared(group)]
    if shared:
        lines.append(f"It also takes the settings of {', '.join(shared)}.\n")
    return "\n".join(lines)


def _table(rows: Iterable[str]) -> str:
    return "\n".join(["| flag | default | meaning |", "|---|---|---|", *rows, ""])


def _row(field: SettingField) -> str:
    flags = ", ".join(f"`{flag}`" for flag in field.flags)
    more = "".join(f" Also read from `{name}`." for name in field.variables[1:])
    default = field.default_text
    value = default if default in {"required", "none", "hidden"} else f"`{default}`"
    return f"| {flags} | {value} | {_cell(field.description.rstrip('.'))}.{more} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


@cache
def _groups(command: Command) -> dict[str, list[SettingField]]:
    """The command's settings by the heading under which help shows them."""
    model = load(command, command.settings)
    groups: dict[str, list[SettingField]] = {}
    for field in sorted(setting_fields(model), key=lambda field: field.group_order):
        groups.setdefault(field.group, []).append(field)
    return groups


@cache
def _is_shared(group: str) -> bool:
    """Whether several commands have settings under this heading."""
    return sum(group in _groups(command) for command in COMMANDS) > 1


@cache
def _shared_rows(group: str) -> tuple[str, ...]:
    """The rows that most of the group's commands have in common; a command with another default or meaning shows its own."""
    tables = [[_row(field) for field in _groups(command)[group]] for command in COMMANDS if group in _groups(command)]
    counts = Counter(row for table in tables for row in table)
    return tuple(row for row, count in counts.items() if 2 * count > len(tables))


def _anchor(group: str) -> str:
    return f"settings-{group.lower()}"


if __name__ == "__main__":
    PAGE.write_text(commands_page(), "utf-8")
