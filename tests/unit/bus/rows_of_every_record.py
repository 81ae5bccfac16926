"""Rows of every record of the contract, drawn or minimal, and marks that give a test every record or every engine."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import settings

from backpack_streams.bus.schemas import own_schemas
from unit.bus.forced_engines import ENGINES, coding
from unit.bus.rows_of_schemas import rows

RECORDS = sorted(own_schemas())
every_record = pytest.mark.parametrize("record", RECORDS)
every_engine = pytest.mark.parametrize("engine_name", ENGINES)
fewer = settings(max_examples=6)

ROW_STRATEGIES = {name: rows(schema.document) for name, schema in own_schemas().items()}
TO_BYTES = {name: coding("fastavro", "single-object").codec.rows(name) for name in RECORDS}


def minimal_row(record: str) -> dict[str, Any]:
    def value_of(schema: Any) -> Any:
        if isinstance(schema, list):
            return None
        if schema == "string":
            return ""
        if schema == "boolean":
            return False
        if schema == "bytes" or (isinstance(schema, dict) and schema["type"] == "bytes"):
            return Decimal(0) if isinstance(schema, dict) else b""
        return [] if isinstance(schema, dict) and schema["type"] == "array" else 0

    return {field["name"]: value_of(field["type"]) for field in own_schemas()[record].document["fields"]}
