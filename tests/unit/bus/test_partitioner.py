"""Keys go to the same partitions as with Java's clients."""

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.partitioner import partition_of

# Apache Kafka, UtilsTest.testMurmur2.
JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
M = 0x5BD1E995
BITS = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """MurmurHash2 with Kafka's seed (org.apache.kafka.common.utils.Utils.murmur2), as an unsigned 32-bit number."""
    hashed = 0x9747B28C ^ len(data)
    whole = len(data) // 4 * 4
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * M & BITS
        k = (k ^ (k >> 24)) * M & BITS
        hashed = (hashed * M & BITS) ^ k
    if whole < len(data):
        hashed = (hashed ^ int.from_bytes(data[whole:], "little")) * M & BITS
    hashed = (hashed ^ (hashed >> 13)) * M & BITS
    return hashed ^ (hashed >> 15)


@pytest.mark.parametrize(("key", "expected"), JAVA.items())
def test_the_hash_is_the_one_of_java(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected & BITS
    assert int(aiokafka_murmur2(key)) & BITS == expected & BITS


@pytest.mark.parametrize(("key", "expected"), JAVA.items())
@pytest.mark.parametrize("partitions", [1, 2, 3, 4, 8, 97])
def test_the_partition_is_the_one_of_java(key: bytes, expected: int, partitions: int) -> None:
    assert partition_of(key, partitions) == (expected & 0x7FFFFFFF) % partitions


@given(st.binary(max_size=40), st.integers(1, 1000))
def test_any_key_goes_where_an_independent_murmur2_says(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), st.integers(1, 64))
def test_any_symbol_is_hashed_as_utf_8(symbol: str, partitions: int) -> None:
    assert partition_of(symbol.encode(), partitions) == (murmur2(symbol.encode()) & 0x7FFFFFFF) % partitions
