"""Generates our records as Python types: a `TypedDict` each, and every topic's name with the type of its records."""

import re
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Any, Final

from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import COMPACT, TOPICS, Topic
from backpack_streams.errors import CodecError

__all__ = ["typed_records"]

_MADE_BY: Final = "Made by `make docs` from `schemas/` and the list of topics: do not edit."
_PLAIN: Final = {
    "string": "str",
    "boolean": "bool",
    "int": "int",
    "long": "int",
    "float": "float",
    "double": "float",
    "bytes": "bytes",
}
_TITLES: Final = {
    "market": "of all markets",
    "perp": "of futures",
    "account": "of one's own account",
    "prediction": "of prediction markets",
    "reference": "of REST's catalogues",
    "history": "of REST's histories",
    "ops": "of the plant itself",
}


def typed_records() -> dict[str, str]:
    """Return the text of each module of `backpack_streams/books/records/`, by its name."""
    areas = {area: list(topics) for area, topics in groupby(sorted(TOPICS, key=_area), key=_area)}
    modules = {f"{area}.py": _module(area, topics) for area, topics in areas.items()}
    return modules | {"__init__.py": _package(areas)}


def _area(topic: Topic) -> str:
    area, _, rest = topic.name.partition(".")
    return "prediction" if rest.startswith("prediction") else area


def _module(area: str, topics: list[Topic]) -> str:
    records = list(dict.fromkeys(topic.record for topic in topics))
    classes: dict[str, list[str]] = {}
    for record in records:
        _add_class(own_schemas()[record].document, classes)
    constants = list(map(_constant, topics))
    body = [line for lines in classes.values() for line in lines]
    names = [*map(_name, topics), *classes]
    lines = [f'"""Records {_TITLES[area]}, as `RecordStream` gives them. {_MADE_BY}"""', ""]
    if any("Decimal" in line for line in body):
        lines.append("from decimal import Decimal")
    lines += [
        "from typing import Final, TypedDict",
        "",
        "from backpack_streams.books.record_topic import RecordTopic",
        "",
        *_all(names),
        "",
    ]
    return "\n".join([*lines, *body, "", *constants, ""])


def _package(areas: Mapping[str, list[Topic]]) -> str:
    lines = [
        '"""The records of every topic as types, and the topics by name: `RecordStream(kafka, MARKET_TRADE)` gives `Trade`s.',
        "",
        "Prices, quantities and rates are `Decimal`; times are microseconds since the Unix epoch, UTC.",
        _MADE_BY,
        '"""',
        "",
    ]
    names = []
    for area in sorted(areas):
        topics = areas[area]
        here = sorted({topic.record for topic in topics} | {_name(topic) for topic in topics}, key=_import_order)
        lines += [f"from backpack_streams.books.records.{area} import (", *(f"    {name}," for name in here), ")"]
        names += here
    return "\n".join([*lines, "", *_all(names), ""])


def _all(names: list[str]) -> Iterator[str]:
    yield "__all__ = ["
    yield from (f'    "{name}",' for name in sorted(names, key=_import_order))
    yield "]"


def _import_order(name: str) -> tuple[bool, list[str]]:
    """Sort constants before classes, and numbers by their size, as the linter does."""
    return not name.isupper(), [part.zfill(9) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def _name(topic: Topic) -> str:
    return topic.name.upper().replace(".", "_")


def _constant(topic: Topic) -> str:
    record = f"{topic.record} | None" if COMPACT in topic.cleanup else topic.record
    return f'{_name(topic)}: Final = RecordTopic[{record}]("{topic.name}")'


def _add_class(record: Mapping[str, Any], classes: dict[str, list[str]]) -> None:
    """Add the record's class, after those of the records in it.

    Raises:
        CodecError: the module has another record of that name with other fields.
    """
    fields = [f"    {field['name']}: {_type(field['type'], classes)}" for field in record["fields"]]
    name = record["name"]
    doc = " ".join(record.get("doc", "").split())
    lines = ["", f"class {name}(TypedDict):", *_docstring(doc or f"{name}, part of another record."), "", *fields, ""]
    if classes.setdefault(name, lines)[-len(fields) - 1 :] != lines[-len(fields) - 1 :]:
        raise CodecError(f"two records called {name} with other fields cannot be one class")


def _docstring(text: str) -> Iterator[str]:
    """Yield the lines; if one line is too short, the first sentence stands alone, as in all docstrings of the project."""
    if len(text) <= 120:
        yield f'    """{text}"""'
        return
    first, rest = re.split(r"[.:] ", text, maxsplit=1)
    yield f'    """{first}.'
    yield ""
    line = "   "
    for word in (rest[0].upper() + rest[1:]).split():
        if len(line) + 1 + len(word) > 118:
            yield line
            line = "   "
        line += f" {word}"
    yield line
    yield '    """'


def _type(node: Any, classes: dict[str, list[str]]) -> str:
    """Return the type of a field as the codec decodes it. Add the classes of nested records."""
    if isinstance(node, list):
        branches = list(dict.fromkeys(_type(branch, classes) for branch in node if branch != "null"))
        return " | ".join([*branches, "None"] if "null" in node else branches)
    if isinstance(node, str):
        return _PLAIN.get(node, node)
    kind = node["type"]
    if node.get("logicalType") == "decimal":
        return "Decimal"
    if kind == "array":
        return f"list[{_type(node['items'], classes)}]"
    if kind == "map":
        return f"dict[str, {_type(node['values'], classes)}]"
    if kind == "enum":
        return "str"
    if kind == "record":
        _add_class(node, classes)
        return str(node["name"])
    return _type(kind, classes)
