"""Checks whether records of one schema can be read with another, by the rules of "Schema Resolution" in the Avro specification."""

from collections.abc import Iterator, Mapping
from typing import Any

__all__ = ["Node", "both_ways", "reading_problems"]

_PROMOTIONS = {
    "int": ("long", "float", "double"),
    "long": ("float", "double"),
    "float": ("double",),
    "string": ("bytes",),
    "bytes": ("string",),
}
_INNER = {"array": "items", "map": "values"}
_NAMED = ("record", "enum", "fixed")
_UNION = "union"
_PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})

Node = Any
"""A schema as parsed JSON: a name, a list (a union), or an object."""


def both_ways(new: Node, old: Node) -> list[str]:
    """Return the problems in either direction; empty if each schema can read the records of the other.

    Args:
        new: the new schema.
        old: an earlier version.
    """
    return [f"{problem} (new reader, old record)" for problem in reading_problems(new, old)] + [
        f"{problem} (old reader, new record)" for problem in reading_problems(old, new)
    ]


def reading_problems(reader: Node, writer: Node) -> list[str]:
    """Return why a reader's schema cannot read a writer's records, each with the path of the field; empty if it can."""
    return list(_Judge(reader, writer).problems(reader, writer, ""))


class _Judge:
    """Compares two schemas node by node. `place` is the path of the field."""

    def __init__(self, reader: Node, writer: Node) -> None:
        self._ours = _named(reader, {})
        self._theirs = _named(writer, {})
        self._judged: set[tuple[str, str]] = set()

    def problems(self, reader: Node, writer: Node, place: str) -> Iterator[str]:
        reader, writer = _whole(reader, self._ours), _whole(writer, self._theirs)
        kind, written, here = _kind(reader), _kind(writer), place or "the record"
        if written == _UNION:
            for branch in writer:
                yield from self.problems(reader, branch, place)
        elif kind == _UNION:
            if all(list(self.problems(branch, writer, place)) for branch in reader):
                yield f"{here} is {_said(writer)}, which the reader's union does not accept"
        elif kind != written:
            if kind not in _PROMOTIONS.get(written, ()) or _logical(reader) or _logical(writer):
                yield f"{here} is {_said(writer)}, but the reader expects {_said(reader)}"
        elif _logical(reader) != _logical(writer):
            yield f"{here} is {_said(writer)}, but the reader expects {_said(reader)}"
        elif kind in _INNER:
            yield from self.problems(reader[_INNER[kind]], writer[_INNER[kind]], f"{place}[]")
        elif kind not in _PRIMITIVES:
            yield from self._named_problems(kind, reader, writer, place)

    def _named_problems(self, kind: str, reader: Node, writer: Node, place: str) -> Iterator[str]:
        pair = _short(reader["name"]), _short(writer["name"])
        if pair[0] != pair[1]:
            yield f"{place or 'the record'} is called {pair[1]}, but the reader expects {pair[0]}"
        if pair[0] != pair[1] or pair in self._judged:
            return
        self._judged.add(pair)
        if kind == "fixed" and reader["size"] != writer["size"]:
            yield f"{place} is {writer['size']} bytes, but the reader expects {reader['size']}"
        elif kind == "enum" and "default" not in reader:
            unknown = [symbol for symbol in writer["symbols"] if symbol not in reader["symbols"]]
            if unknown:
                yield f"{place} may be {', '.join(unknown)}, which the reader does not know"
        elif kind == "record":
            yield from self._field_problems(reader, writer, place)

    def _field_problems(self, reader: Node, writer: Node, place: str) -> Iterator[str]:
        written = {field["name"]: field for field in writer["fields"]}
        for field in reader["fields"]:
            where = f"{place}.{field['name']}".lstrip(".")
            if field["name"] in written:
                yield from self.problems(field["type"], written[field["name"]]["type"], where)
            elif "default" not in field:
                yield f"field {where} is not written and has no default"


def _named(node: Node, found: dict[str, Node]) -> dict[str, Node]:
    """Return the named types of a schema by short name. Namespaces do not distinguish the schemas of one contract."""
    if isinstance(node, list):
        for branch in node:
            _named(branch, found)
    elif isinstance(node, Mapping):
        if node["type"] in _NAMED:
            found.setdefault(_short(node["name"]), node)
        for inner in ("items", "values", "type"):
            _named(node.get(inner), found)
        for field in node.get("fields", ()):
            _named(field["type"], found)
    return found


def _whole(node: Node, named: dict[str, Node]) -> Node:
    if isinstance(node, str) and node not in _PRIMITIVES:
        return named.get(_short(node), node)
    if isinstance(node, Mapping) and isinstance(node["type"], list | Mapping):
        return _whole(node["type"], named)
    return node


def _kind(node: Node) -> str:
    return _UNION if isinstance(node, list) else str(node if isinstance(node, str) else node["type"])


def _logical(node: Node) -> tuple[Any, ...]:
    """Return the logical type and, for a decimal, its precision and scale: all must match."""
    if not isinstance(node, Mapping) or "logicalType" not in node:
        return ()
    return node["logicalType"], node.get("precision"), node.get("scale", 0)


def _said(node: Node) -> str:
    return " ".join(str(part) for part in (_kind(node), *_logical(node)) if part is not None)


def _short(name: str) -> str:
    return name.rpartition(".")[2]
