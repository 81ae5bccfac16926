"""Decodes the exchange's JSON objects, messages and rows alike, as typed values: as tolerant as the wire is loose, exact to the digit.

Numbers may be strings and strings numbers. Null, and empty text for a number, count as absent. A level may have more than two parts.
Unknown fields are named, so that they can be counted.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from itertools import chain
from types import NoneType, UnionType
from typing import Any, Final, Generic, NamedTuple, TypeVar, Union, cast, get_args, get_origin

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import FieldInfo

from backpack_streams.exchange.unknown_fields import UnknownFields
from backpack_streams.exchange.wire_errors import UnreadableMessageError, shown
from backpack_streams.exchange.wire_values import ReadBy, whole_number

M = TypeVar("M", bound=Struct)
_Fit = Callable[[Any, list[str], str], Any]
"""Makes a value fit its type. The list takes the names of unknown fields within; the text is the name of the value."""
_PARTS_OF_A_LEVEL = 2
_AS_SENT: Final = ReadBy(absent=())
_AS_INTEGER: Final = ReadBy(whole_number)
_parse: Final = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=str).decode


class LenientDecoder(Generic[M]):
    """Decodes objects of one type, in whatever form their values come.

    The name of a field may be a path such as `filters.price.tickSize`, or several with `|` between, of which the first that is present
    counts.
    """

    def __init__(self, kind: type[M], known: Iterable[str] = ()) -> None:
        """Prepare.

        Args:
            kind: the type.
            known: names or paths of further fields that do not count as unknown.
        """
        self._kind = kind
        self._fields = [_field(each) for each in msgspec.structs.fields(kind)]
        self._known: dict[str, Any] = {}
        for path in (*known, *(path for each in self._fields for path in each.name.split("|"))):
            names = self._known
            for name in path.split("."):
                names = names.setdefault(name, {})

    def __call__(self, data: Raw | bytes, given: Mapping[str, str] | None = None) -> tuple[M, list[str]]:
        """Decode an object. Returns it with the names of its unknown fields; those of objects within have a dotted prefix.

        Args:
            data: the JSON text.
            given: fields that the request determines, by their names on the wire.

        Raises:
            UnreadableMessageError: not a JSON object, or a field is missing or has an impossible value.
        """
        fields = parse_keeping_digits(data)
        if given and isinstance(fields, dict):
            fields |= given
        unknown: list[str] = []
        fitting = self.fit(fields, unknown, "")
        try:
            return msgspec.convert(fitting, self._kind, strict=False), unknown
        except msgspec.ValidationError as error:
            raise UnreadableMessageError(str(error)) from error

    def fit(self, fields: Any, unknown: list[str], name: str) -> dict[str, Any]:
        """Make an object fit; see `_Fit`. Its `name` is empty if it is not within another one; raises UnreadableMessageError."""
        within = name and f"{name}."
        if not isinstance(fields, dict):
            raise UnreadableMessageError(f"not an object: {shown(fields)}")
        _name_unknown(fields, self._known, unknown, within)
        fitting = {}
        for each in self._fields:
            try:
                value = each.value_in(fields)
                if value is not None:
                    fitting[each.name] = each.fit(value, unknown, within + each.name) if each.fit else value
            except UnreadableMessageError as error:
                raise UnreadableMessageError(f"{error} - at `$.{each.name}`") from error
            if value is None and each.may_be_null:
                fitting[each.name] = None
            elif value is None and each.is_required:
                raise UnreadableMessageError(f"field `{each.name}` is missing")
        return fitting


class _Field(NamedTuple):
    """A field of a type; its name on the wire may stand for `paths`, and the texts in `absent` for no value."""

    name: str
    paths: list[list[str]]
    is_required: bool
    may_be_null: bool
    absent: tuple[str, ...]
    fit: _Fit | None

    def value_in(self, fields: dict[str, Any]) -> Any:
        """The value, None if it is absent."""
        value = fields.get(self.name)
        for path in self.paths:
            value = fields
            for name in path:
                if not isinstance(value, dict):
                    raise UnreadableMessageError(f"not an object: {shown(value)}")
                value = value.get(name)
                if value is None:
                    break
            else:
                break
        return None if value in self.absent else value


def _field(info: FieldInfo) -> _Field:
    kinds = get_args(info.type) if get_origin(info.type) in (Union, UnionType) else (info.type,)
    may_be_null = NoneType in kinds
    [kind, *others] = [kind for kind in kinds if kind is not NoneType]
    return _Field(
        name=info.encode_name,
        paths=[] if info.encode_name.isalnum() else [path.split(".") for path in info.encode_name.split("|")],
        is_required=info.required,
        may_be_null=may_be_null,
        absent=_way_of(kind).absent if may_be_null else (),
        fit=None if others else _fit_of(kind),
    )


def _name_unknown(fields: Mapping[str, Any], known: Mapping[str, Any], unknown: list[str], within: str) -> None:
    for name, value in fields.items():
        if name not in known:
            unknown.append(within + name)
        elif known[name] and isinstance(value, dict):
            _name_unknown(value, known[name], unknown, f"{within}{name}.")


def _way_of(kind: Any) -> ReadBy:
    declared = (each for each in get_args(kind) if isinstance(each, ReadBy))
    return _AS_INTEGER if kind is int else next(declared, _AS_SENT)


def _fit_of(kind: Any) -> _Fit | None:
    if isinstance(kind, type) and issubclass(kind, Struct):
        return LenientDecoder(kind).fit
    if get_origin(kind) in (list, tuple):
        item = get_args(kind)[0]
        is_level = get_origin(item) is tuple
        return _fit_of_levels(_way_of(get_args(item)[0]).read) if is_level else _fit_of_array(_fit_of(item))
    read = _way_of(kind).read
    return None if read is None else lambda value, _, __: read(value)


def _fit_of_array(fit: _Fit | None) -> _Fit | None:
    if fit is None:
        return None
    return lambda items, unknown, name: (
        [fit(item, unknown, name) for item in items] if isinstance(items, list) else items
    )


def _fit_of_levels(read: Callable[[Any], Any] | None) -> _Fit:
    def fit(levels: Any, unknown: list[str], name: str) -> Any:
        """Cut each level to its price and quantity, which come first."""
        if not isinstance(levels, list) or set(map(type, levels)) - {list}:
            return levels
        if max(map(len, levels), default=0) > _PARTS_OF_A_LEVEL:
            levels = [level[:_PARTS_OF_A_LEVEL] for level in levels]
            unknown.append(f"{name}[]")
        if read is None or set(map(len, levels)) - {_PARTS_OF_A_LEVEL}:
            return levels
        parts = map(read, chain.from_iterable(levels))
        return list(zip(parts, parts, strict=True))

    return fit


class Decoder(Generic[M]):
    """Decodes one kind of message: quickly if it is in the usual form, leniently if not.

    As long as there are no unknown fields, a message takes one strict pass. After the first one, messages take one loose pass, and one in
    `SAMPLE` is checked for unknown names, so a new field does not cost speed.

    Attributes:
        unknown_fields: how often each unknown field occurred, by name; a limited number of names.
    """

    SAMPLE = 1000

    def __init__(self, kind: type[M]) -> None:
        """Prepare. `kind` is the message type."""
        strict = msgspec.defstruct(
            kind.__name__, [], bases=(kind,), kw_only=True, gc=False, forbid_unknown_fields=True, module=__name__
        )
        self._kind = kind
        self._lenient = LenientDecoder(kind)
        self._loose: Callable[[Any], M] = msgspec.json.Decoder(kind).decode
        self._quick = cast("Callable[[Any], M]", msgspec.json.Decoder(strict).decode)
        self._until_sample = 0
        self.unknown_fields = UnknownFields()

    def __call__(self, data: Raw | bytes) -> M:
        """Decode the message in `data`.

        Raises:
            UnreadableMessageError: not JSON, or a required field is missing or has an impossible value.
        """
        try:
            message = self._quick(data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return self._patiently(data)
        if self._until_sample:
            self._until_sample -= 1
            if not self._until_sample:
                return self._patiently(data)
        return message

    def _patiently(self, data: Raw | bytes) -> M:
        try:
            message, unknown = self._lenient(data)
        except UnreadableMessageError as error:
            raise UnreadableMessageError(
                f"the {self._kind.__name__} message cannot be understood ({error}): {start_of(data)}"
            ) from error
        if unknown:
            self._quick = self._loose
        if self._quick is self._loose:
            self._until_sample = self.SAMPLE
        for name in unknown:
            self.unknown_fields.count(name)
        return message


def parse_keeping_digits(data: Raw | bytes) -> Any:
    """Parse JSON with every number as its original text, so that no digit is lost.

    Raises:
        UnreadableMessageError: the bytes are not JSON.
    """
    try:
        return _parse(bytes(data).decode())
    except (ValueError, RecursionError) as error:
        raise UnreadableMessageError(f"not JSON ({error}): {start_of(data)}") from error


def start_of(data: Raw | bytes) -> str:
    """The first bytes of a message, for the text of an error."""
    text = bytes(data)
    return repr(text if len(text) <= 80 else text[:80] + b"...")
