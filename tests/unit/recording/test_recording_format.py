"""The format: a round trip is exact, and a truncated or changed file gives only whole records, in order, from the start."""

import io
import resource
import zlib
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from backpack_streams.recording import blocks as block_format
from backpack_streams.recording.blocks import MOST_RAW_BYTES, BlockScanner, BlockWriter, NoRecordingError
from backpack_streams.recording.records import (
    About,
    End,
    Exchange,
    Frame,
    MalformedRecordError,
    Note,
    Record,
    RecordingError,
    Streams,
    Unknown,
    decode,
    encode,
)

times = st.integers(min_value=0, max_value=2**60)
texts = st.text(max_size=20)
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Frame, times, st.integers(min_value=0, max_value=99), st.binary(max_size=200)),
    st.builds(
        Exchange,
        times,
        times,
        st.just("GET"),
        texts,
        st.integers(min_value=100, max_value=599),
        st.dictionaries(texts, texts, max_size=3),
        st.binary(max_size=200),
    ),
    st.builds(Streams, times, st.lists(texts, max_size=4).map(tuple)),
    st.builds(Note, times, texts, texts, st.none() | st.integers(min_value=0, max_value=9), st.none() | texts),
    st.builds(End, times),
)
BEGIN = About(1, "run", 1, {"symbols": "all"})


def written(blocks: list[list[Record]]) -> tuple[bytes, list[int]]:
    """A file, and the offset at which each of its blocks ends."""
    writer, out, ends = BlockWriter(), io.BytesIO(), []
    for block in blocks:
        out.write(writer.block(b"".join(map(encode, block))))
        ends.append(out.tell())
    return out.getvalue(), ends


def read(data: bytes, step: int = 1 << 20) -> tuple[list[Record], BlockScanner]:
    scanner = BlockScanner()
    found = [
        record
        for at in range(0, len(data), step)
        for raw in scanner.feed(data[at : at + step])
        for record in decode(raw)
    ]
    scanner.finish()
    return found, scanner


blocks = st.lists(st.lists(records, min_size=1, max_size=3), max_size=3).map(lambda rest: [[BEGIN], *rest])


@settings(max_examples=50)
@given(blocks, st.integers(min_value=1, max_value=500))
def test_records_are_read_back_exactly_in_pieces_of_any_size(session: list[list[Record]], step: int) -> None:
    data, _ = written(session)
    found, scanner = read(data, step)
    assert found == [record for block in session for record in block]
    assert scanner.damage is None
    assert scanner.offset == len(data)


@settings(max_examples=50)
@given(blocks, st.data())
def test_a_truncated_file_gives_the_blocks_before_the_cut(session: list[list[Record]], data: st.DataObject) -> None:
    whole, ends = written(session)
    cut = data.draw(st.integers(min_value=0, max_value=len(whole)))
    kept = [record for block, end in zip(session, ends, strict=True) if end <= cut for record in block]
    if cut == 0:
        with pytest.raises(NoRecordingError):
            read(whole[:cut])
        return
    found, scanner = read(whole[:cut])
    assert found == kept
    if cut in ends:
        assert scanner.damage is None
    else:
        assert scanner.damage is not None
        assert scanner.damage.is_cut
        assert scanner.damage.offset == max((end for end in ends if end <= cut), default=0)


@settings(max_examples=100)
@given(blocks, st.data())
def test_a_changed_byte_gives_a_prefix_or_an_error_and_never_a_wrong_record(
    session: list[list[Record]], data: st.DataObject
) -> None:
    whole, ends = written(session)
    at = data.draw(st.integers(min_value=0, max_value=len(whole) - 1))
    changed = bytearray(whole)
    changed[at] ^= data.draw(st.integers(min_value=1, max_value=255))
    before = [record for block, end in zip(session, ends, strict=True) if end <= at for record in block]
    try:
        found, scanner = read(bytes(changed))
    except NoRecordingError:
        assert at < ends[0]
        return
    assert found == before
    assert scanner.damage is not None


@settings(max_examples=30)
@given(blocks.filter(lambda session: len(session) > 2), st.data())
def test_a_block_in_the_wrong_place_ends_the_reading(session: list[list[Record]], data: st.DataObject) -> None:
    whole, ends = written(session)
    gone = data.draw(st.integers(min_value=1, max_value=len(session) - 2))
    found, scanner = read(whole[: ends[gone - 1]] + whole[ends[gone] :])
    assert found == [record for block in session[:gone] for record in block]
    assert scanner.damage is not None
    assert "stands where" in scanner.damage.reason


def test_every_other_tool_reads_a_recording_as_zstd() -> None:
    data, _ = written([[BEGIN], [Frame(5, 1, b'{"stream":"trade.X_USDC"}'), End(6)]])
    text = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    assert text.endswith(b'W 5 1 25\n{"stream":"trade.X_USDC"}\nE 6 0\n\n')


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", b"{}\n" * 1000, Path(__file__).read_bytes(), b"\x28\xb5\x2f\xfd" * 40]
)
def test_a_file_that_is_not_a_recording_is_refused(data: bytes) -> None:
    with pytest.raises(NoRecordingError):
        read(data)


def test_record_kinds_of_later_versions_are_skipped() -> None:
    [unknown, end] = decode(b"Z 7 1 2 3\nabc\nE 8 0\n\n")
    assert unknown == Unknown(7, "Z")
    assert end == End(8)
    with pytest.raises(MalformedRecordError):
        encode(unknown)


@pytest.mark.parametrize(
    "block", [b"W 1", b"W 1 1 5\nabc\n", b"W x 1 1\na\n", b"R 1 3 5\n{}xyz\n", b'S 1 4\n"ab"', b"\n", b"W 1\n\n"]
)
def test_blocks_with_other_content_are_not_records(block: bytes) -> None:
    with pytest.raises(MalformedRecordError):
        list(decode(block))


def test_a_newer_format_is_refused_by_name() -> None:
    with pytest.raises(MalformedRecordError, match=r"format 2.*upgrade"):
        list(decode(encode(BEGIN).replace(b'"format":1', b'"format":2')))


def test_the_size_of_a_block_is_limited() -> None:
    with pytest.raises(RecordingError, match="too large"):
        BlockWriter().block(bytes(MOST_RAW_BYTES + 1))


@pytest.mark.parametrize("said", [10, 400 << 20])
def test_a_block_that_unpacks_to_more_than_it_states_is_damaged_and_costs_no_memory(said: int) -> None:
    """Its header is right, but its zstd frame states another size, for which zstd would allocate memory."""
    piece, compressor = bytes(1 << 20), zstandard.ZstdCompressor(level=3).compressobj(size=400 << 20)
    body = b"".join([*(compressor.compress(piece) for _ in range(400)), compressor.flush()])
    inner = block_format._INNER.pack(
        block_format.MAGIC, 0, len(body), said, block_format._digest(0, len(body), said, body), 0
    )[:-4]
    header = block_format._OUTER.pack(block_format.SKIPPABLE_FRAME, block_format._INNER.size) + inner
    file = header + zlib.crc32(header).to_bytes(4, "little") + body
    assert len(file) < 20_000
    scanner = BlockScanner()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert scanner.feed(file) == []
    assert scanner.damage is not None
    assert not scanner.damage.is_cut
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024, "KiB"


def test_a_note_of_the_first_version_that_calls_a_socket_a_link_is_read() -> None:
    body = b'{"kind":"link_lost","message":"cut","link":3,"stream":null}'
    [note] = decode(b"N 7 %d\n%s\n" % (len(body), body))
    assert note == Note(7, "socket_lost", "cut", 3, None)
