"""Describes our topics as an AsyncAPI 3 document, with the Avro schemas as payloads."""

from typing import Any

from backpack_streams import __version__
from backpack_streams.bus.schemas import Schema, own_schemas
from backpack_streams.bus.topics import DELETE, TOPICS, Topic

DEFAULT_PREFIX = "backpack."
AVRO = "application/vnd.apache.avro;version=1.9.0"
_CONTENT_TYPE = "avro/binary"
_KAFKA_BINDING = "0.5.0"
_ABOUT = (
    "Backpack Exchange's market and perpetual-futures data in Kafka. Values are Avro records. With a schema registry they are in the "
    "Confluent wire format: a zero byte, the registry's schema id (4 bytes, big-endian), the record; subjects are named `<topic>-value`. "
    "Without one they are Avro single objects: the bytes C3 01, the schema's CRC-64-AVRO fingerprint (8 bytes, little-endian), the record. "
    "Keys are UTF-8 text. A record's Kafka timestamp is the time of the matching engine, else of the event, else of receipt. "
    "The prefix `backpack.` is a setting."
)


def asyncapi_document(prefix: str = DEFAULT_PREFIX) -> dict[str, Any]:
    """Return the document as JSON types; the same code always returns the same document."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "backpack-streams",
            "version": __version__,
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": _CONTENT_TYPE,
        "channels": {topic.name: _channel(topic, prefix) for topic in TOPICS},
        "operations": {f"send.{topic.name}": _operation(topic) for topic in TOPICS},
        "components": {"messages": {name: _message(schema) for name, schema in _published().items()}},
    }


def _published() -> dict[str, Schema]:
    records = {topic.record for topic in TOPICS}
    return {name: schema for name, schema in own_schemas().items() if name in records}


def _channel(topic: Topic, prefix: str) -> dict[str, Any]:
    settings: dict[str, Any] = {"cleanup.policy": topic.cleanup.split(",")}
    if DELETE in topic.cleanup:
        settings["retention.ms"] = topic.retention_millis
    return {
        "address": topic.full_name(prefix),
        "description": f"{own_schemas()[topic.record].document['doc']} Key: {topic.key}.",
        "messages": {topic.record: {"$ref": f"#/components/messages/{topic.record}"}},
        "bindings": {
            "kafka": {
                "partitions": topic.partitions,
                "topicConfiguration": settings,
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }


def _operation(topic: Topic) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{topic.name}"},
        "messages": [{"$ref": f"#/channels/{topic.name}/messages/{topic.record}"}],
    }


def _message(schema: Schema) -> dict[str, Any]:
    keys = sorted({topic.key for topic in TOPICS if topic.record == schema.name})
    return {
        "name": schema.name,
        "title": schema.name,
        "summary": schema.document["doc"],
        "contentType": _CONTENT_TYPE,
        "payload": {"schemaFormat": AVRO, "schema": schema.document},
        "bindings": {
            "kafka": {
                "key": {"type": "string", "description": f"UTF-8: {' or '.join(keys)}."},
                "bindingVersion": _KAFKA_BINDING,
            }
        },
    }
