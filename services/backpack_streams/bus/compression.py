"""How batches may be compressed in Kafka, and which of these this install can read and write."""

from typing import Literal, get_args

__all__ = ["CODECS", "Compression", "unusable_codecs"]

Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
CODECS: tuple[Compression, ...] = get_args(Compression)
"""What a writer, or with `compression.type` the owner of a topic, may choose."""


def unusable_codecs() -> tuple[Compression, ...]:
    """The codecs that this install can neither read nor write; none, unless it was made without its dependencies."""
    from aiokafka import codec

    has = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}
    return tuple(each for each in CODECS if each in has and not has[each]())
