"""Reads settings: flags first, then the environment, then the TOML file, then defaults.

`add_setting_flags` adds a model's settings to a parser; `read_settings` merges the sources and validates. Every
error is one line: the setting as the user wrote it, what is wrong, and what is allowed.
"""

import argparse
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from backpack_streams.errors import UsageError
from backpack_streams.runtime.nearest import nearest
from backpack_streams.runtime.settings import SettingConflict
from backpack_streams.runtime.settings_fields import VARIABLE_PREFIX, SettingField, setting_fields
from backpack_streams.runtime.settings_file import SettingsFile, read_settings_file
from backpack_streams.shown_text import LINE_ENDS

CONFIG_FLAG = "--config"
CONFIG_VARIABLE = VARIABLE_PREFIX + "CONFIG"
# Read by other code than the settings, so not a misspelling.
OTHER_VARIABLES = frozenset({CONFIG_VARIABLE, VARIABLE_PREFIX + "JAVA_HOME"})
# Kubernetes describes each Service to each pod in variables such as BACKPACK_STREAMS_GATEWAY_PORT_8080_TCP_ADDR.
_KUBERNETES_VARIABLE = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)")
_DESTINATION_PREFIX = "setting:"
_MAX_SHOWN_CHARACTERS = 60
_TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
_FALSE_WORDS = frozenset({"0", "false", "no", "off"})

SettingsT = TypeVar("SettingsT", bound=BaseModel)


@dataclass(frozen=True)
class ReadSettings(Generic[SettingsT]):
    """Validated settings.

    Attributes:
        settings: the settings.
        origins: the flag, variable or file of each given setting.
        warnings: one line each.
    """

    settings: SettingsT
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Given:
    """A value as the user gave it, and its origin."""

    value: Any
    origin: str


def add_setting_flags(parser: argparse.ArgumentParser, model: type[BaseModel], command: str) -> None:
    """Add `--config` and a flag for each setting, grouped by the model that declares it.

    Args:
        parser: the command's parser.
        model: the settings.
        command: the command's name, for the help.
    """
    parser.add_argument(
        CONFIG_FLAG,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help=f"settings file (TOML): keys at its top, and those of its table [{command}], which win\n"
        f"env {CONFIG_VARIABLE}",
    )
    groups: dict[str, argparse._ArgumentGroup] = {}
    for field in sorted(setting_fields(model), key=lambda field: field.group_order):
        if field.group not in groups:
            groups[field.group] = parser.add_argument_group(_heading(field.group))
        _add_flag(groups[field.group], field)


def read_settings(
    model: type[SettingsT],
    command: str,
    arguments: argparse.Namespace | None = None,
    environment: Mapping[str, str] | None = None,
    *,
    commands: Collection[str] = (),
    names_elsewhere: Callable[[], Collection[str]] = frozenset,
) -> ReadSettings[SettingsT]:
    """Merge flags, environment and file into a validated `model`.

    Args:
        model: the settings to fill.
        command: the command whose table in the file applies.
        arguments: the result of a parser with `add_setting_flags`.
        environment: `os.environ` by default. An empty variable, or one with line ends only, counts as not set.
        commands: names of all commands, so that their tables in the file are known.
        names_elsewhere: returns names of settings of other commands; called only if a name is unknown here.

    Raises:
        UsageError: a value, a name or the file is wrong.
    """
    environment = os.environ if environment is None else environment
    fields = setting_fields(model)
    file = _settings_file(arguments, environment)
    given = {
        **_from_file(file, fields, command, {command, *commands}, names_elsewhere),
        **_from_environment(environment, fields),
        **_from_arguments(arguments, fields),
    }
    try:
        settings = model.model_validate({attribute: item.value for attribute, item in given.items()})
    except ValidationError as error:
        raise UsageError(_message(error.errors()[0], fields, given)) from None
    warnings = _unknown_variables(environment, fields, names_elsewhere)
    return ReadSettings(settings, {attribute: item.origin for attribute, item in given.items()}, warnings)


def _heading(group: str) -> str:
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", group)
    return words[:1].upper() + words[1:].lower()


def _add_flag(group: argparse._ArgumentGroup, field: SettingField) -> None:
    names = f"env {' or '.join(field.variables)} · key {field.name} · default {field.default_text}"
    text = f"{field.description}\n{names}".strip().replace("%", "%%")
    destination = _DESTINATION_PREFIX + field.attribute
    if field.is_boolean:
        group.add_argument(
            *field.flags, dest=destination, action=argparse.BooleanOptionalAction, default=argparse.SUPPRESS, help=text
        )
        return
    group.add_argument(
        *field.flags,
        dest=destination,
        action="append" if field.is_list else "store",
        metavar=field.metavar,
        default=argparse.SUPPRESS,
        help=text,
    )


def _settings_file(arguments: argparse.Namespace | None, environment: Mapping[str, str]) -> SettingsFile:
    path = getattr(arguments, "config", None)
    if path is not None:
        return read_settings_file(path, CONFIG_FLAG)
    path = environment.get(CONFIG_VARIABLE)
    return read_settings_file(path, CONFIG_VARIABLE) if path else SettingsFile()


def _from_arguments(arguments: argparse.Namespace | None, fields: tuple[SettingField, ...]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for field in fields:
        value = getattr(arguments, _DESTINATION_PREFIX + field.attribute, None)
        if value is None:
            continue
        if isinstance(value, list):
            value = value if field.is_repeated else _parse_text(field, ",".join(value), field.flag)
        elif isinstance(value, str):
            value = _parse_text(field, value, field.flag)
        given[field.attribute] = _Given(value, field.flag)
    return given


def _from_environment(environment: Mapping[str, str], fields: tuple[SettingField, ...]) -> dict[str, _Given]:
    given: dict[str, _Given] = {}
    for field in fields:
        for variable in field.variables:
            text = environment.get(variable, "").rstrip(LINE_ENDS)
            if text:
                given[field.attribute] = _Given(_parse_text(field, text, variable), variable)
                break
    return given


def _from_file(
    file: SettingsFile,
    fields: tuple[SettingField, ...],
    command: str,
    commands: Collection[str],
    names_elsewhere: Callable[[], Collection[str]],
) -> dict[str, _Given]:
    by_name = {field.name: field for field in fields}
    given: dict[str, _Given] = {}
    for key, value in file.values.items():
        if key in commands and isinstance(value, dict):
            continue
        if key in by_name:
            field = by_name[key]
            origin = f"{file.path}: {key}"
            given[field.attribute] = _Given(_parse_toml(field, value, origin), origin)
        elif isinstance(value, dict):
            raise UsageError(f"{file.path}: no command is called [{key}]{nearest(key, commands)}")
        elif key not in (elsewhere := names_elsewhere()):
            raise UsageError(f"{file.path}: no setting is called {key}{nearest(key, {*by_name, *elsewhere})}")
    table = file.values.get(command)
    for key, value in table.items() if isinstance(table, dict) else ():
        origin = f"{file.path}: [{command}] {key}"
        if key not in by_name:
            raise UsageError(f"{origin}: {command} has no such setting{nearest(key, by_name)}")
        given[by_name[key].attribute] = _Given(_parse_toml(by_name[key], value, origin), origin)
    return given


def _parse_text(field: SettingField, text: str, origin: str) -> Any:
    """Convert a given text to a type that pydantic takes: split lists, read booleans, turn an empty optional value into None.

    Line ends at the end are dropped, as in files of secrets: `$(cat FILE)` drops them too, but a Kubernetes Secret keeps them.
    """
    text = text.rstrip(LINE_ENDS)
    if field.is_list and text not in field.literals:
        separator = ";" if field.is_repeated else ","
        return [item.strip() for item in text.split(separator) if item.strip()]
    if field.is_boolean:
        word = text.strip().lower()
        if word in _TRUE_WORDS or word in _FALSE_WORDS:
            return word in _TRUE_WORDS
        raise UsageError(f"{origin}: {_shown(field, text)} is not allowed; it must be true or false")
    if field.is_optional and text == "":
        return None
    return os.path.expanduser(text) if field.is_path else text


def _parse_toml(field: SettingField, value: Any, origin: str) -> Any:
    if isinstance(value, str):
        return _parse_text(field, value, origin)
    if isinstance(value, bool) and not field.takes_boolean:  # else pydantic would take true for 1
        raise UsageError(f"{origin}: {str(value).lower()} is not allowed; it must be {field.allowed}")
    return value


def _message(error: ErrorDetails, fields: tuple[SettingField, ...], given: Mapping[str, _Given]) -> str:
    """Return one line for pydantic's first error."""
    by_attribute = {field.attribute: field for field in fields}
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, SettingConflict) and cause.attributes:
        return f"{_origin(cause.attributes, by_attribute, given)}: {cause}"
    field = by_attribute.get(str(error["loc"][0])) if error["loc"] else None
    if field is None:
        return str(cause or error["msg"])
    if error["type"] == "missing":
        return f"{field.flag} is required (or {field.variables[0]}, or {field.name} in a settings file)"
    origin = _origin((field.attribute,), by_attribute, given)
    if cause is not None:
        return f"{origin}: {cause}"
    value = given[field.attribute].value if field.attribute in given else None
    return f"{origin}: {_shown(field, value)} is not allowed; it must be {field.allowed}"


def _origin(attributes: tuple[str, ...], by_attribute: Mapping[str, SettingField], given: Mapping[str, _Given]) -> str:
    """Return the origin of the first of `attributes` that was given; the flag of the first one if none was."""
    for attribute in attributes:
        for candidate in (attribute, attribute + "_file"):
            if candidate in given:
                return given[candidate].origin
    return by_attribute[attributes[0]].flag if attributes[0] in by_attribute else attributes[0]


def _shown(field: SettingField, value: Any) -> str:
    if field.is_secret:
        return "this value"
    text = ",".join(str(item) for item in value) if isinstance(value, list) else str(value)
    text = text if len(text) <= _MAX_SHOWN_CHARACTERS else text[: _MAX_SHOWN_CHARACTERS - 1] + "…"
    return repr(text)


def _unknown_variables(
    environment: Mapping[str, str], fields: tuple[SettingField, ...], names_elsewhere: Callable[[], Collection[str]]
) -> tuple[str, ...]:
    known = OTHER_VARIABLES.union(*(field.variables for field in fields))
    unknown = [
        name
        for name in sorted(environment)
        if name.startswith(VARIABLE_PREFIX) and name not in known and not _KUBERNETES_VARIABLE.fullmatch(name)
    ]
    if not unknown:
        return ()
    known = known.union(VARIABLE_PREFIX + name.upper() for name in names_elsewhere())
    return tuple(
        f"the environment variable {name} is not a setting and has no effect{nearest(name, known)}"
        for name in unknown
        if name not in known
    )
