"""The contract: the Avro schemas in `schemas/`, by record name, with their fingerprints."""

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form
from fastavro.schema import fingerprint as schema_fingerprint

from backpack_streams.errors import CodecError

__all__ = ["NAMESPACE", "RELEASED", "Schema", "own_schemas", "parse_schema", "released_schemas"]

NAMESPACE = "backpack_streams"
RELEASED = "released"
"""The subfolder with the schemas of each release."""


@dataclass(frozen=True, slots=True)
class Schema:
    """The schema of one record.

    Attributes:
        name: the short record name.
        text: the schema as JSON.
        document: the parsed JSON.
        fingerprint: the CRC-64-AVRO fingerprint (8 bytes, little-endian).
    """

    name: str
    text: str
    document: dict[str, Any]
    fingerprint: bytes

    @property
    def canonical_text(self) -> str:
        """The text to register: complete with documentation, defaults and logical types, in one fixed layout.

        Registries may treat schemas that differ only in white space as different versions.
        """
        return json.dumps(self.document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def parse_schema(text: str) -> Schema:
    """Return the schema for a JSON text.

    Raises:
        CodecError: the text is not an Avro record schema.
    """
    try:
        document = json.loads(text)
        name = document["name"]
        if not isinstance(document.get("fields"), list):
            raise CodecError(f"not an Avro record schema: {name} has no fields")
        # fastavro returns the bytes in little-endian order already, as the wire carries them.
        fingerprint = bytes.fromhex(schema_fingerprint(to_parsing_canonical_form(document), "CRC-64-AVRO"))
    except (ValueError, KeyError, TypeError, SchemaParseException, UnknownType) as error:
        raise CodecError(f"not an Avro record schema: {error}") from error
    return Schema(name, text, document, fingerprint)


@cache
def own_schemas() -> dict[str, Schema]:
    """Return this version's schemas by record name.

    Raises:
        CodecError: the installation lacks the schemas.
    """
    texts = [file.read_text("utf-8") for file in _contract().iterdir() if file.name.endswith(".avsc")]
    if not texts:
        raise CodecError("the Avro schemas are missing from this installation: reinstall backpack-streams")
    schemas = (parse_schema(text) for text in texts)
    return {schema.name: schema for schema in sorted(schemas, key=lambda schema: schema.name)}


@cache
def released_schemas() -> dict[str, dict[str, Schema]]:
    """Return the schemas of every release, by version and record name. Records in a user's Kafka may be written with any of them."""
    found: dict[str, dict[str, Schema]] = {}
    folder = _contract() / RELEASED
    for version in folder.iterdir() if folder.is_dir() else ():
        if version.is_dir():
            files = sorted(version.iterdir(), key=lambda file: file.name)
            schemas = (parse_schema(file.read_text("utf-8")) for file in files if file.name.endswith(".avsc"))
            found[version.name] = {schema.name: schema for schema in schemas}
    return found


def _contract() -> Traversable:
    packed = resources.files("backpack_streams") / "schemas"
    # An editable install of a source tree, in which schemas/ is next to services/.
    return packed if packed.is_dir() else Path(__file__).parents[3] / "schemas"
