"""The contract: the Avro schemas of `schemas/`, by record name, each with its fingerprint."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form
from fastavro.schema import fingerprint as schema_fingerprint

from backpack_streams.errors import CodecError

NAMESPACE = "backpack_streams"


@dataclass(frozen=True, slots=True)
class Schema:
    """One record's schema: short name, JSON text, parsed document, CRC-64-AVRO fingerprint (8 bytes, little-endian)."""

    name: str
    text: str
    document: dict[str, Any]
    fingerprint: bytes


def parse_schema(text: str) -> Schema:
    """A schema from its JSON text.

    Raises:
        CodecError: the text is no Avro record schema.
    """
    try:
        document = json.loads(text)
        name = document["name"]
        if not isinstance(document.get("fields"), list):
            raise CodecError(f"not an Avro record schema: {name} has no fields")
        # In the order in which the wire carries them: fastavro's text has the bytes of the little-endian form.
        fingerprint = bytes.fromhex(schema_fingerprint(to_parsing_canonical_form(document), "CRC-64-AVRO"))
    except (ValueError, KeyError, TypeError, SchemaParseException, UnknownType) as error:
        raise CodecError(f"not an Avro record schema: {error}") from error
    return Schema(name, text, document, fingerprint)


@cache
def own_schemas() -> dict[str, Schema]:
    """Every schema this version writes, by record name."""
    packed = resources.files("backpack_streams") / "schemas"
    if packed.is_dir():
        texts = [file.read_text() for file in packed.iterdir() if file.name.endswith(".avsc")]
    else:  # a source tree installed in place: the contract lies beside services/
        texts = [file.read_text() for file in (Path(__file__).parents[3] / "schemas").glob("*.avsc")]
    if not texts:
        raise CodecError("the Avro schemas are missing from this installation: reinstall backpack-streams")
    schemas = (parse_schema(text) for text in texts)
    return {schema.name: schema for schema in sorted(schemas, key=lambda schema: schema.name)}
