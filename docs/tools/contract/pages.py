"""Our topics as a page for people: every topic, its record, every field with its type and meaning."""

from collections.abc import Iterator
from typing import Any

from backpack_streams.bus.schemas import own_schemas
from backpack_streams.bus.topics import DELETE, TOPICS, Topic
from contract.asyncapi import DEFAULT_PREFIX

_DAY_MILLIS = 24 * 60 * 60 * 1000
_TIMES = {"timestamp-micros": "timestamp (µs, UTC)", "timestamp-millis": "timestamp (ms, UTC)", "date": "date"}


def topics_page(prefix: str = DEFAULT_PREFIX) -> str:
    """Return the text of `docs/topics.md`."""
    return "\n".join([*_topics(prefix), *_records(prefix)])


def _topics(prefix: str) -> Iterator[str]:
    yield "# Topics and records"
    yield ""
    yield "Written by `make docs` from `schemas/` and the list of topics; [asyncapi.json](asyncapi.json) says the same to programs."
    yield f"The prefix `{prefix}` is a setting. [Read them](reading.md) from other programs."
    yield ""
    yield "| topic | record | key | partitions | kept |"
    yield "|---|---|---|---|---|"
    for topic in TOPICS:
        record = f"[{topic.record}](#{topic.record.lower()})"
        yield f"| `{topic.full_name(prefix)}` | {record} | {topic.key} | {topic.partitions} | {_kept(topic)} |"


def _kept(topic: Topic) -> str:
    compacted = "the latest of each key" if topic.cleanup != DELETE else ""
    if DELETE not in topic.cleanup:
        return f"{compacted}, for ever"
    how_long = "for ever" if topic.retention_millis < 0 else f"{topic.retention_millis // _DAY_MILLIS} d"
    return f"{compacted}, {how_long}" if compacted else how_long


def _records(prefix: str) -> Iterator[str]:
    for name, schema in own_schemas().items():
        topics = [f"`{topic.full_name(prefix)}`" for topic in TOPICS if topic.record == name]
        if not topics:
            continue
        yield from (
            "",
            f"## {name}",
            "",
            schema.document["doc"],
            "",
            f"In {', '.join(topics)}. [Schema](../schemas/{name}.avsc).",
            "",
        )
        yield from _fields(schema.document)
        for inner in _inner_records(schema.document):
            yield from ("", f"### {inner['name']} (in {name})", "", inner.get("doc", ""), "")
            yield from _fields(inner)
    yield ""


def _fields(record: dict[str, Any]) -> Iterator[str]:
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for field in record["fields"]:
        meaning = " ".join(field.get("doc", "").split()).replace("|", "\\|")
        yield f"| `{field['name']}` | {_type(field['type'])} | {meaning} |"


def _type(node: Any) -> str:
    if isinstance(node, list):
        some = " or ".join(_type(branch) for branch in node if branch != "null")
        return f"{some}, or null" if "null" in node else some
    if isinstance(node, str):
        return node
    if node.get("logicalType") == "decimal":
        return f"decimal({node['precision']}, {node.get('scale', 0)})"
    if "logicalType" in node:
        return _TIMES.get(node["logicalType"], str(node["logicalType"]))
    if node["type"] in ("array", "map"):
        return f"{node['type']} of {_type(node['items' if node['type'] == 'array' else 'values'])}"
    return str(node["name"]) if "name" in node else _type(node["type"])


def _inner_records(node: Any, top: bool = True) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for branch in node:
            yield from _inner_records(branch, False)
    elif isinstance(node, dict):
        if node["type"] == "record" and not top:
            yield node
        for field in node.get("fields", ()):
            yield from _inner_records(field["type"], False)
        for key in ("items", "values"):
            yield from _inner_records(node.get(key), False)
