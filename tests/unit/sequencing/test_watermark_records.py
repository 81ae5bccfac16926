"""What readers derive from watermarks: the newest record of each instance, and the coverage in force."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backpack_streams.bus.codec import Codec
from backpack_streams.bus.schemas import own_schemas, parse_schema
from backpack_streams.sequencing.watermarks import Instance, Instances, Interval

BOTH = {"depth.A": (5, None), "trade.A": (5, 80), "depth.B": (None, None)}
OTHER_CLOCK = 31
"""The difference between the times of two producers."""
Coverage = dict[str, tuple[int | None, int | None]]


def watermark(
    sequence: int,
    coverage: Coverage | None = None,
    coverage_sequence: int | None = None,
    *,
    instance: str = "i",
    service: str = "market-producer-0",
    clock: int = 0,
    **more: Any,
) -> dict[str, Any]:
    """A record; one with coverage contains it itself."""
    return {
        "service": service,
        "instance": instance,
        "sequence": sequence,
        "complete_through": clock + 100 * sequence,
        "published_time": clock + 100 * sequence + 7,
        "interval_ms": 1000,
        "is_final": False,
        "offsets": [{"topic": "backpack.market.depth", "next_offsets": [sequence, -1, 0]}],
        "coverage_sequence": sequence if coverage_sequence is None else coverage_sequence,
        "coverage": None
        if coverage is None
        else [{"since": since, "until": until, "streams": [name]} for name, (since, until) in coverage.items()],
        **more,
    }


def taken(instances: Instances, record: dict[str, Any]) -> Instance:
    instance = instances.take(record)
    assert instance is not None
    return instance


def test_an_instance_has_the_values_of_its_newest_record() -> None:
    instance = taken(Instances(), watermark(4, BOTH))
    assert (instance.service, instance.instance, instance.sequence) == ("market-producer-0", "i", 4)
    assert (instance.complete_through, instance.published_time, instance.interval_ms) == (400, 407, 1000)
    assert instance.offsets == {("backpack.market.depth", 0): 4, ("backpack.market.depth", 2): 0}
    assert not instance.is_final
    assert not instance.has_conflict


def test_a_stream_is_covered_while_its_interval_is_open() -> None:
    instance = taken(Instances(), watermark(4, BOTH))
    assert [instance.covers(stream) for stream in ("depth.A", "trade.A", "depth.B", "depth.C")] == [
        True,
        False,
        False,
        False,
    ]
    assert [instance.covered_until(stream) for stream in ("depth.A", "trade.A", "depth.B", "depth.C")] == [
        400,
        80,
        None,
        None,
    ]


def test_coverage_stays_in_force_while_later_records_name_the_record_that_has_it() -> None:
    instances = Instances()
    instances.take(watermark(4, BOTH))
    instance = taken(instances, watermark(5, coverage_sequence=4))
    assert instance.covers("depth.A")
    assert instance.covered_until("depth.A") == 500
    assert instance.coverage == {name: Interval(*bounds) for name, bounds in BOTH.items()}


def test_coverage_whose_record_was_not_read_is_unknown() -> None:
    instances = Instances()
    instance = taken(instances, watermark(7, coverage_sequence=4))
    assert instance.coverage is None
    assert not instance.covers("depth.A")
    assert instance.covered_until("depth.A") is None
    taken(instances, watermark(8, BOTH))
    assert instance.covers("depth.A")
    taken(instances, watermark(10, coverage_sequence=9))
    assert instance.coverage is None
    taken(instances, watermark(11, coverage_sequence=9))
    assert instance.coverage is None
    taken(instances, watermark(12, {}))
    assert instance.coverage == {}


def test_the_last_record_is_marked_as_final() -> None:
    instance = taken(Instances(), watermark(4, {"depth.A": (5, 390)}, is_final=True))
    assert instance.is_final
    assert not instance.covers("depth.A")
    assert instance.covered_until("depth.A") == 390


def test_a_duplicate_or_late_record_changes_nothing() -> None:
    instances = Instances()
    for sequence in (4, 6):
        taken(instances, watermark(sequence, BOTH))
    assert instances.take(watermark(5, {})) is None
    assert instances.take(watermark(6, BOTH)) is None
    instance = taken(instances, watermark(7, coverage_sequence=6))
    assert instance.covers("depth.A")
    assert instances.conflicts == 0


def test_instances_are_distinguished_by_id_and_dropped_on_request() -> None:
    instances = Instances()
    for name in ("i", "j"):
        instances.take(watermark(4, BOTH, instance=name))
    assert set(instances.by_id) == {"i", "j"}
    instances.forget("i")
    instances.forget("never seen")
    assert set(instances.by_id) == {"j"}
    assert (
        taken(instances, watermark(4, {}, clock=OTHER_CLOCK)).coverage == {}
    )  # whatever was read before it was dropped


def test_an_instance_without_records_is_empty() -> None:
    instance = Instance("market-producer-0", "i")
    assert (instance.sequence, instance.coverage_sequence) == (-1, -1)
    assert (instance.complete_through, instance.published_time, instance.interval_ms) == (0, 0, 0)
    assert (instance.is_final, instance.has_conflict) == (False, False)
    assert (instance.coverage, instance.offsets) == (None, {})


def test_a_record_of_a_newer_schema_is_read_without_its_new_fields() -> None:
    document = json.loads(own_schemas()["Watermark"].text)
    document["fields"].append({"name": "load", "type": ["null", "string"], "default": None})
    [coverage] = [field for field in document["fields"] if field["name"] == "coverage"]
    [interval] = [each["items"] for each in coverage["type"] if each != "null"]
    interval["fields"].append({"name": "cause", "type": "string", "default": ""})
    newer = parse_schema(json.dumps(document))
    record = watermark(4, BOTH, elapsed_us=409) | {"load": "high"}
    for each in record["coverage"]:
        each["cause"] = "CONFIRMED"
    written = Codec(schemas={"Watermark": newer}).encoder("Watermark", "backpack.ops.watermark")(record)
    reader = Codec()
    reader.learn(newer.text)
    name, row = reader.read(written)
    assert name == "Watermark"
    settled = {"is_settled": True, "settled_until": None}
    expected = watermark(4, BOTH, elapsed_us=409)
    assert row == expected | {"coverage": [each | settled for each in expected["coverage"]]}
    assert taken(Instances(), row).covers("depth.A")


# ---- two producers under one id


def test_another_service_under_the_same_id_is_a_conflict_and_nothing_is_covered() -> None:
    instances = Instances()
    instance = taken(instances, watermark(4, BOTH))
    assert taken(instances, watermark(5, BOTH, service="perp-producer-0")) is instance
    assert instances.conflicts == 1
    assert instance.has_conflict
    assert not instance.covers("depth.A")
    assert instance.covered_until("depth.A") is None
    assert instance.offsets == {}
    for sequence in (6, 7):  # the conflict lasts: nobody can tell which of the two is meant
        assert instances.take(watermark(sequence, BOTH)) is None
    assert not instance.covers("depth.A")
    assert instances.conflicts == 1


@pytest.mark.parametrize("distance", [-5000, -70, -64, -10, -5, -1, 0, 1, 5, 6, 70, 5000])
@pytest.mark.parametrize("records_before", [1, 3, 100])
def test_two_concurrent_sequences_under_one_id_cover_nothing(distance: int, records_before: int) -> None:
    instances = Instances()
    first = 6000
    for sequence in range(first - records_before, first):
        instances.take(watermark(sequence, BOTH))
    for step in range(8):
        instances.take(watermark(first + step, BOTH))
        instances.take(watermark(first + distance + step, {}, clock=OTHER_CLOCK))
    assert instances.conflicts == 1
    assert not instances.by_id["i"].covers("depth.A")


@pytest.mark.parametrize("again_from", [0, 30, 69, 99])
def test_reading_the_same_records_again_is_not_a_conflict(again_from: int) -> None:
    instances = Instances()
    records = [watermark(sequence, BOTH) for sequence in range(101)]
    for record in [*records[:100], *records[again_from:]]:
        instances.take(record)
    assert instances.conflicts == 0
    assert instances.by_id["i"].sequence == 100


@pytest.mark.parametrize(("sequence", "fits"), [(199, True), (195, True), (194, False), (150, False), (100, True)])
def test_a_retry_is_slightly_late_and_a_later_record_is_another_producers(sequence: int, fits: bool) -> None:
    """200 follows 140, so 195 may be late; 194 is too late for that; from 100 on the topic may be read again."""
    instances = Instances()
    for each in (140, 200, sequence):
        instances.take(watermark(each, BOTH))
    assert instances.conflicts == (not fits)


@pytest.mark.parametrize(("back", "is_known"), [(1, True), (63, True), (64, False)])
def test_sixty_four_records_are_remembered_to_recognise_copies(back: int, is_known: bool) -> None:
    instances = Instances()
    for sequence in [*range(201), 200 - back, 201]:
        instances.take(watermark(sequence, BOTH))
    assert instances.conflicts == (not is_known)


# ---- against a model

LOG = [watermark(sequence, {"depth.A": (sequence, None)}) if sequence % 4 == 0 else
       watermark(sequence, coverage_sequence=sequence - sequence % 4) for sequence in range(200)]  # fmt: skip
moves = st.lists(st.sampled_from(["next", "next", "next", "twice", "late", "lost", "again"]), max_size=150)


@given(st.integers(0, 100), moves, st.randoms(use_true_random=False))
def test_the_newest_record_counts_in_any_order_of_arrival(start: int, steps: list[str], random: Any) -> None:
    arriving, at = [LOG[start]], start + 1
    for step in steps:
        if at + 2 >= len(LOG):
            break
        if step == "late":
            arriving += [LOG[at + 1], LOG[at]]
        elif step == "twice":
            arriving += [LOG[at], random.choice(arriving[-5:]), LOG[at + 1]]
        elif step == "again":
            arriving += [*arriving[random.randrange(len(arriving)) :], LOG[at], LOG[at + 1]]
        else:
            arriving += [LOG[at + 1]] if step == "lost" else [LOG[at], LOG[at + 1]]
        at += 2
    newest: dict[str, Any] | None = None
    holder = coverage = None
    instances = Instances()
    for record in arriving:
        if newest is None or record["sequence"] > newest["sequence"]:
            newest = record
            if record["coverage"] is not None:
                holder = record
            in_force = holder is not None and holder["sequence"] == record["coverage_sequence"]
            coverage = holder["coverage"][0]["since"] if in_force and holder is not None else None
        instances.take(record)
        instance = instances.by_id["i"]
        assert instance.sequence == newest["sequence"]
        assert instance.complete_through == newest["complete_through"]
        assert instance.coverage == (None if coverage is None else {"depth.A": Interval(coverage, None)})
    assert instances.conflicts == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 4)), max_size=40), st.integers(0, 90), st.integers(0, 90))
def test_a_second_producer_is_always_detected(runs: list[tuple[bool, int]], first: int, second: int) -> None:
    instances = Instances()
    at = {True: first, False: second}
    alternating = [(True, 1), (False, 1)] * 8
    for is_first, count in [*runs, *alternating]:
        for _ in range(count):
            instances.take(watermark(at[is_first], BOTH, clock=0 if is_first else OTHER_CLOCK))
            at[is_first] += 1
    assert instances.conflicts == 1
    assert instances.by_id["i"].coverage is None
