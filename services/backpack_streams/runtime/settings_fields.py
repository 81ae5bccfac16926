"""One setting as users see it: its flag, its environment variables, its TOML key, and the values it accepts.

Every field of a pydantic model is a setting. `json_schema_extra` of the field changes its spelling:

- ``"flag": "--json"``: the public name, if the attribute's own name does not fit;
- ``"short": "-n"``: a second, short flag;
- ``"env": "SCHEMA_REGISTRY_URL"``: another environment variable (or a list of them), read after the usual one;
- ``"metavar": "FILE"``: the placeholder of the value in the help;
- ``"repeat": True``: a list whose items may hold commas: the flag is repeated, items in the environment are
  separated by ``;``.
"""

import types
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

VARIABLE_PREFIX = "BACKPACK_STREAMS_"
_LIST_ORIGINS = (list, tuple, set, frozenset)
_BOUNDS = ((Ge, "ge", "at least"), (Gt, "gt", "above"), (Le, "le", "at most"), (Lt, "lt", "below"))


@dataclass(frozen=True)
class SettingField:
    """One field of a settings model with all its names.

    Attributes:
        attribute: the field's name in the model.
        name: the TOML key.
        flags: the command-line flags, the long one last.
        variables: the environment variables, in order of precedence.
        group: the heading in the help.
        group_order: the position of that heading.
        description: the help text.
        metavar: the placeholder of the value in the help.
        default_text: the default as the help shows it.
        allowed: the accepted values, in words that follow "must be".
        literals: the accepted words.
        is_required: whether it has no default.
        is_boolean: whether it is a switch.
        takes_boolean: whether a boolean is among its types.
        is_list: whether it is a list.
        is_repeated: whether its flag is repeated for each item.
        is_optional: whether None is accepted.
        is_path: whether it is a path.
        is_secret: whether its value must not be shown.
    """

    attribute: str
    name: str
    flags: tuple[str, ...]
    variables: tuple[str, ...]
    group: str
    group_order: int
    description: str
    metavar: str
    default_text: str
    allowed: str
    literals: tuple[str, ...]
    is_required: bool
    is_boolean: bool
    takes_boolean: bool
    is_list: bool
    is_repeated: bool
    is_optional: bool
    is_path: bool
    is_secret: bool

    @property
    def flag(self) -> str:
        """The long flag, such as ``--bootstrap-servers``."""
        return self.flags[-1]


def setting_fields(model: type[BaseModel]) -> tuple[SettingField, ...]:
    """Return every setting of `model`, in the order of its fields."""
    return tuple(_setting_field(model, attribute, info) for attribute, info in model.model_fields.items())


def known_names(models: Iterable[type[BaseModel]]) -> frozenset[str]:
    """Return the TOML keys of all settings of all `models`."""
    return frozenset(field.name for model in models for field in setting_fields(model))


def _setting_field(model: type[BaseModel], attribute: str, info: FieldInfo) -> SettingField:
    extra: Mapping[str, Any] = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    flag = extra.get("flag") or "--" + attribute.replace("_", "-")
    name = flag.removeprefix("--").replace("-", "_")
    short = (extra["short"],) if "short" in extra else ()
    more_variables = extra.get("env", ())
    more_variables = (more_variables,) if isinstance(more_variables, str) else tuple(more_variables)
    arms = tuple(_arms(info.annotation))
    owner = _owner(model, attribute)
    is_list = any(get_origin(arm) in _LIST_ORIGINS or arm in _LIST_ORIGINS for arm in arms)
    literals = tuple(str(value) for arm in arms if get_origin(arm) is Literal for value in get_args(arm))
    return SettingField(
        attribute=attribute,
        name=name,
        flags=(*short, flag),
        variables=(VARIABLE_PREFIX + name.upper(), *more_variables),
        group=owner.__name__.removesuffix("Settings") or owner.__name__,
        group_order=model.__mro__.index(owner),
        description=(info.description or "").strip(),
        metavar=extra.get("metavar") or _metavar(arms, literals, is_list),
        default_text=_default_text(info),
        allowed=_allowed(info.annotation, info.metadata),
        literals=literals,
        is_required=info.is_required(),
        is_boolean=arms == (bool,),
        takes_boolean=bool in arms,
        is_list=is_list,
        is_repeated=is_list and bool(extra.get("repeat")),
        is_optional=type(None) in arms,
        is_path=Path in arms,
        is_secret=SecretStr in arms,
    )


def _owner(model: type[BaseModel], attribute: str) -> type[BaseModel]:
    """Return the most basic model that declares the setting; the help lists the setting under that model's heading."""
    declaring = [owner for owner in model.__mro__ if issubclass(owner, BaseModel) and attribute in owner.model_fields]
    return declaring[-1]


def _arms(annotation: Any) -> Iterable[Any]:
    """Yield the alternatives of a type: ``int | None`` has two, ``int`` has one."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _arms(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for arm in get_args(annotation):
            yield from _arms(arm)
    else:
        yield annotation


def _metavar(arms: tuple[Any, ...], literals: tuple[str, ...], is_list: bool) -> str:
    if is_list:
        return "|".join((*literals, "A,B,…"))
    for kind, word in ((int, "N"), (float, "NUMBER"), (Path, "PATH"), (SecretStr, "SECRET")):
        if kind in arms:
            return "|".join((*literals, word))
    return "|".join(literals) or "TEXT"


def _default_text(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.get_default(call_default_factory=True, validated_data={})
    if default is None or default == "" or (isinstance(default, _LIST_ORIGINS) and not default):
        return "none"
    if isinstance(default, SecretStr):
        return "hidden"
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, _LIST_ORIGINS):
        return ",".join(str(item) for item in default)
    return str(default)


def _allowed(annotation: Any, metadata: Iterable[Any] = ()) -> str:
    """Return what a setting of this type accepts, in words that follow "must be"."""
    if get_origin(annotation) is Annotated:
        inner, *inner_metadata = get_args(annotation)
        return _allowed(inner, (*inner_metadata, *metadata))
    arms = tuple(_arms(annotation))
    if len(arms) > 1:
        return " or ".join(_allowed(arm, metadata) for arm in arms if arm is not type(None))
    if get_origin(annotation) is Literal:
        values = ", ".join(str(value) for value in get_args(annotation))
        return f"one of {values}" if len(get_args(annotation)) > 1 else values
    if annotation is int or annotation is float:
        return _join_bounds("a whole number" if annotation is int else "a number", metadata)
    if annotation is bool:
        return "true or false"
    if get_origin(annotation) in _LIST_ORIGINS or annotation in _LIST_ORIGINS:
        return "a list with commas between its items"
    return "a path" if annotation is Path else "text"


def _join_bounds(kind: str, metadata: Iterable[Any]) -> str:
    bounds = [
        f"{words} {getattr(item, name)}"
        for item in metadata
        for bound, name, words in _BOUNDS
        if isinstance(item, bound)
    ]
    return f"{kind}, {' and '.join(bounds)}" if bounds else kind
