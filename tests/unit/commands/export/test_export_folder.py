"""Parquet files: exact columns for every schema of ours, only complete files, and a repeated range is there once."""

import datetime as dt
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from backpack_streams.bus.schemas import own_schemas
from backpack_streams.commands.export.arrow_types import arrow_schema, arrow_type, has_symbol
from backpack_streams.commands.export.folder import ExportError, Folder, Partition, Row, date_of
from backpack_streams.commands.export.gathering import Gathering
from backpack_streams.commands.export.settings import ExportSettings
from backpack_streams.errors import CodecError, UsageError
from backpack_streams.runtime.instants import parse_kafka_instant

DAY_MS = 86_400_000
TRADE = own_schemas()["Trade"].document


def row(offset: int, price: str = "86700.10", timestamp_ms: int = DAY_MS) -> dict[str, Any]:
    empty = {field["name"]: None for field in TRADE["fields"] if field["name"] != "symbol"}
    place = {"kafka_partition": 0, "kafka_offset": offset, "kafka_timestamp": timestamp_ms, "kafka_key": "k"}
    return {**empty, **place, "price": Decimal(price)}


def folder(path: Path, start: int = DAY_MS, end: int = 2 * DAY_MS) -> Folder:
    return Folder(path, arrow_schema(TRADE), (start, end), by_symbol=True)


def exported(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = ds.dataset(path, partitioning="hive").to_table().to_pylist()
    return sorted(rows, key=lambda each: each["kafka_offset"])


@pytest.mark.parametrize("name", sorted(own_schemas()))
def test_every_record_of_ours_has_columns(name: str) -> None:
    document = own_schemas()[name].document
    schema = arrow_schema(document)
    expected = [field["name"] for field in document["fields"] if field["name"] != "symbol"]
    assert schema.names[4:] == expected
    assert has_symbol(document) == (len(expected) < len(document["fields"]))
    assert not any(pa.types.is_floating(field.type) for field in schema)


def test_decimals_times_and_levels_have_their_types() -> None:
    depth = arrow_schema(own_schemas()["DepthUpdate"].document)
    level = pa.struct([("price", pa.decimal128(38, 18)), ("quantity", pa.decimal128(38, 18))])
    assert depth.field("bids").type == depth.field("asks").type == pa.list_(level)
    assert depth.field("event_time").type == pa.timestamp("us", "UTC")
    rate = arrow_schema(own_schemas()["FundingRate"].document).field("funding_rate").type
    assert rate == pa.decimal128(38, 30)
    with pytest.raises(CodecError, match="double"):
        arrow_type("double", {})
    with pytest.raises(CodecError, match="union of 2"):
        arrow_type(["string", "long"], {})


def test_rows_are_partitioned_by_date_and_symbol_and_read_back_the_same(tmp_path: Path) -> None:
    out = folder(tmp_path)
    out.write(("1970-01-02", "AAPL.US_USDC_PERP"), [row(1), row(2, "-0.000000000000000001")])
    out.write(("1970-01-02", "ODD/NAME %"), [row(3, "99999999999999999999.999999999999999999")])
    out.write(("1970-01-02", None), [row(4)])
    assert out.publish() == 3
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert (tmp_path / "date=1970-01-02" / "symbol=AAPL.US_USDC_PERP").is_dir()
    rows = exported(tmp_path)
    assert [each["symbol"] for each in rows] == ["AAPL.US_USDC_PERP", "AAPL.US_USDC_PERP", "ODD/NAME %", None]
    assert [each["price"] for each in rows] == [
        Decimal(text)
        for text in ("86700.1", "-0.000000000000000001", "99999999999999999999.999999999999999999", "86700.1")
    ]
    assert rows[0]["kafka_timestamp"] == dt.datetime(1970, 1, 2, tzinfo=dt.UTC)


def test_repeating_a_range_replaces_it(tmp_path: Path) -> None:
    first = folder(tmp_path)
    first.write(("1970-01-02", "A"), [row(1)])
    first.write(("1970-01-02", "B"), [row(2)])
    first.publish()
    neighbour = folder(tmp_path, 2 * DAY_MS, 3 * DAY_MS)
    neighbour.write(("1970-01-03", "A"), [row(9, timestamp_ms=2 * DAY_MS)])
    neighbour.publish()
    again = folder(tmp_path)
    again.write(("1970-01-02", "A"), [row(1), row(3)])
    assert [each["kafka_offset"] for each in exported(tmp_path)] == [1, 2, 9]
    again.publish()
    assert [each["kafka_offset"] for each in exported(tmp_path)] == [1, 3, 9]


def test_a_failed_run_leaves_the_earlier_one_and_nothing_of_its_own(tmp_path: Path) -> None:
    first = folder(tmp_path)
    first.write(("1970-01-02", "A"), [row(1)])
    first.publish()
    (tmp_path / ".19700102T000000.000Z-19700103T000000.000Z" / "old").mkdir(parents=True)  # left by a killed run
    failing = folder(tmp_path)
    failing.write(("1970-01-02", "A"), [row(5)])
    failing.discard()
    assert [each["kafka_offset"] for each in exported(tmp_path)] == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["date=1970-01-02"]


def test_an_overlapping_range_is_refused_because_it_would_duplicate_rows(tmp_path: Path) -> None:
    first = folder(tmp_path)
    first.write(("1970-01-02", "A"), [row(1)])
    first.publish()
    with pytest.raises(UsageError, match="overlaps"):
        folder(tmp_path, DAY_MS + 1, 3 * DAY_MS)
    folder(tmp_path, 0, DAY_MS).discard()


def test_a_value_that_does_not_fit_is_named(tmp_path: Path) -> None:
    out = folder(tmp_path)
    with pytest.raises(ExportError, match=r"record 0/8: price .* does not fit decimal128\(38, 18\)"):
        out.write(("1970-01-02", "A"), [row(7), row(8, "1e20")])
    with pytest.raises(ExportError, match="price 1E-19 does not fit"):
        out.write(("1970-01-02", "A"), [row(9, "1E-19")])


def test_a_folder_that_is_not_writable_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written to"):
        folder(tmp_path / "file" / "topic")


@pytest.mark.parametrize("open_files", [1, 2])
def test_more_partitions_than_open_files_are_written(
    tmp_path: Path, open_files: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backpack_streams.commands.export.folder._MOST_OPEN_FILES", open_files)
    out = folder(tmp_path)
    for offset in range(12):
        out.write(("1970-01-02", f"S{offset % 4}"), [row(offset)])
    assert out.publish() >= 4
    assert [each["kafka_offset"] for each in exported(tmp_path)] == list(range(12))


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(min_value=0, max_value=50)), max_size=60))
def test_gathering_keeps_every_row_in_order_and_a_bounded_number(rows: list[tuple[str, int]]) -> None:
    written: dict[Partition, list[Row]] = {}

    def write(partition: Partition, group: list[Row]) -> None:
        assert group
        written.setdefault(partition, []).extend(group)

    gathering, taken, taken_bytes = Gathering(100, write), 0, 0
    expected: dict[Partition, list[Mapping[str, Any]]] = {}
    for number, (symbol, size) in enumerate(rows):
        gathering.add(("day", symbol), {"n": number}, size)
        expected.setdefault(("day", symbol), []).append({"n": number})
        taken, taken_bytes = taken + 1, taken_bytes + size
        out = {each["n"] for group in written.values() for each in group}
        assert sum(size for each, (_, size) in enumerate(rows[:taken]) if each not in out) <= 100
    gathering.finish()
    assert written == expected


def test_times_are_parsed_as_users_write_them() -> None:
    noon = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
    for text in ("2026-11-22T12:00:00Z", "2026-11-22 12:00", "2026-11-22T14:00:00+02:00", "2026-11-22T12:00:00.000"):
        assert parse_kafka_instant(text) == noon
    for text in ("yesterday", "", "2026-13-01", "2026-11-22T12:00:00.000001Z"):
        with pytest.raises(ValueError, match=r"is no time|finer"):
            parse_kafka_instant(text)
    assert date_of(noon.timestamp().__int__() * 1000) == "2026-11-22"


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        ("2025-11-22", "2025-11-22", "is empty"),
        ("2025-11-23", "2025-11-22", "ends before it starts"),
        ("2999-01-01", "2999-01-02", "in the future"),
    ],
)
def test_ranges_that_contain_nothing_are_refused(start: str, end: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ExportSettings.model_validate({"from_time": start, "to_time": end, "out": "x"})
