"""Codecs in both framings whose Avro engine the test chooses."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple
from unittest.mock import patch

from backpack_streams.bus import avro, quick_rows
from backpack_streams.bus.codec import Codec, Encoder
from backpack_streams.bus.schemas import Schema, own_schemas
from backpack_streams.errors import CodecError

CAVRO = vars(avro)["cavro"]
COMPILED = quick_rows.compiled
ENGINES = ("fastavro",) + ("cavro",) * (CAVRO is not None) + ("compiled",) * (COMPILED is not None)
"""`compiled` writes what it can without an engine; the rest is left to the usual engine."""
FRAMINGS = ("single-object", "confluent")


class MemoryRegistry:
    """A schema registry that keeps everything in memory, with ids from 7 on."""

    FIRST_ID = 7

    def __init__(self) -> None:
        self.subjects: dict[str, int] = {}
        self._texts: list[str] = []

    def schema_id(self, subject: str, schema: Schema) -> int:
        if schema.text not in self._texts:
            self._texts.append(schema.text)
        self.subjects[subject] = self.FIRST_ID + self._texts.index(schema.text)
        return self.subjects[subject]

    def schema_text(self, schema_id: int) -> str | None:
        index = schema_id - self.FIRST_ID
        return self._texts[index] if 0 <= index < len(self._texts) else None

    def why_unknown(self, schema_id: int) -> str:
        return f"nobody registered {schema_id} here"

    async def fetch_ids(self, wanted: Mapping[str, Schema]) -> None:
        for subject, schema in wanted.items():
            self.schema_id(subject, schema)

    async def fetch_texts(self, schema_ids: Iterable[int]) -> None:
        """Everything in memory is known already."""


class Coding(NamedTuple):
    """A codec and an encoder for every record."""

    codec: Codec
    encode: dict[str, Encoder]


@contextmanager
def forced(engine: str) -> Iterator[None]:
    """Every engine created in this block is the given one."""
    rows = COMPILED if engine == "compiled" else None
    with (
        patch.object(avro, "cavro", None if engine == "fastavro" else CAVRO),
        patch.object(quick_rows, "compiled", rows),
    ):
        yield


@cache
def coding(engine: str, framing: str) -> Coding:
    """One codec for each engine and framing; its readers are created with that engine."""
    with forced(engine):
        registry = MemoryRegistry()
        for schema in own_schemas().values():
            registry.schema_id(f"topic-of-{schema.name}-value", schema)
        codec = Codec(registry if framing == "confluent" else None)
        encoders = {name: codec.encoder(name, f"topic-of-{name}") for name in own_schemas()}
        if framing == "confluent":
            for schema_id in range(MemoryRegistry.FIRST_ID, MemoryRegistry.FIRST_ID + len(encoders)):
                _meet(codec, b"\x00" + schema_id.to_bytes(4, "big"))
        return Coding(codec, encoders)


def _meet(codec: Codec, header: bytes) -> None:
    """Creates the readers of the Confluent framing, as their first use does."""
    try:
        codec.decode(header)
    except CodecError:
        return
