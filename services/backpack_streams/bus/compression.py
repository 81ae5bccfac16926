"""The compression codecs of Kafka batches, and which of them this installation supports."""

from typing import Literal, get_args

__all__ = ["CODECS", "Compression", "unusable_codecs"]

Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
CODECS: tuple[Compression, ...] = get_args(Compression)
"""The codecs that a writer may choose, or a topic's owner with `compression.type`."""


def unusable_codecs() -> tuple[Compression, ...]:
    """Return the codecs that this installation can neither read nor write; empty unless it lacks its dependencies."""
    from aiokafka import codec

    has = {"gzip": codec.has_gzip, "snappy": codec.has_snappy, "lz4": codec.has_lz4, "zstd": codec.has_zstd}
    return tuple(each for each in CODECS if each in has and not has[each]())
