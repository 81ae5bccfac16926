"""Faults act on frames as named, on the frames they name, as often as they state."""

import json

import pytest

from backpack_sandbox.faults import Delivery, FaultBox, FaultError, parse_fault

NOW_US = 1_790_134_357_267_289
SOL, BTC = "depth.SOL_USDC", "depth.BTC_USDC_PERP"


def frame(number: int, stream: str = SOL) -> bytes:
    return json.dumps({"stream": stream, "data": {"e": "depth", "u": number, "a": [], "b": [["1.5", "2"]]}}).encode()


def through(box: FaultBox, numbers: range, stream: str = SOL, now_us: int = NOW_US) -> list[int]:
    out = []
    for number in numbers:
        out += numbers_of(box.pass_on(stream, frame(number, stream), now_us))
        out += numbers_of(box.release(now_us))
    return out


def numbers_of(deliveries: list[Delivery]) -> list[int]:
    return [json.loads(delivery.payload)["data"]["u"] for delivery in deliveries]


def box_with(text: str) -> FaultBox:
    box = FaultBox()
    box.add(parse_fault(text), NOW_US)
    return box


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("drop:count=2", [3, 4, 5]),
        ("duplicate", [1, 1, 2, 3, 4, 5]),
        ("reorder", [2, 1, 3, 4, 5]),
        ("drop:symbol=BTC_USDC_PERP", [1, 2, 3, 4, 5]),
        ("drop:stream=depth.SOL_USDC", [2, 3, 4, 5]),
        ("drop:stream=depth,symbol=SOL_USDC", [2, 3, 4, 5]),
        ("drop:stream=trade", [1, 2, 3, 4, 5]),
        ("freeze:symbol=SOL_USDC,seconds=5", []),
    ],
)
def test_frames_through_a_fault(fault, expected):
    assert through(box_with(fault), range(1, 6)) == expected


def test_a_spent_fault_is_removed():
    box = box_with("drop:count=2")
    assert box.busy
    through(box, range(1, 4))
    assert not box.busy


def test_a_freeze_with_hold_delivers_everything_later_in_order():
    box = box_with("freeze:seconds=5,hold=true")
    assert through(box, range(1, 4)) == []
    assert through(box, range(4, 6), now_us=NOW_US + 6_000_000) == [1, 2, 3, 4, 5]
    assert not box.busy


def test_held_frames_are_released_when_faults_are_cleared():
    box = box_with("freeze:seconds=500,hold=true")
    through(box, range(1, 4))
    box.clear()
    assert numbers_of(box.release(NOW_US + 1)) == [1, 2, 3]
    assert not box.busy


def test_frames_delayed_for_a_snapshot_ahead_keep_their_order():
    box = box_with("snapshot-ahead:symbol=SOL_USDC,delay=0.5,seconds=1")
    out = [through(box, range(n, n + 1), now_us=NOW_US + n * 100_000) for n in range(30)]
    assert [n for part in out for n in part] + numbers_of(box.release(NOW_US + 9_000_000)) == list(range(30))
    assert out[:5] == [[], [], [], [], []]
    assert not box.busy


def test_reorder_swaps_neighbours_of_one_stream_only():
    box = box_with("reorder:stream=depth")
    assert numbers_of(box.pass_on(SOL, frame(1), NOW_US)) == []
    assert numbers_of(box.pass_on(BTC, frame(7, BTC), NOW_US)) == [7]
    assert numbers_of(box.pass_on(SOL, frame(2), NOW_US)) == [2, 1]


def test_drop_one_spares_one_connection():
    (delivery,) = box_with("drop-one:connection=3").pass_on(SOL, frame(1), NOW_US)
    assert delivery.spared == 3


@pytest.mark.parametrize("kind", ["text", "event", "field", "digits"])
def test_garbage(kind):
    deliveries = box_with(f"garbage:kind={kind}").pass_on(SOL, frame(1), NOW_US)
    if kind == "text":
        with pytest.raises(ValueError, match="Expecting value"):
            json.loads(deliveries[0].payload)
    data = json.loads(deliveries[-1].payload)["data"]
    if kind in ("text", "event"):
        assert len(deliveries) == 2
        assert deliveries[1].payload == frame(1)
    if kind == "event":
        assert json.loads(deliveries[0].payload)["data"]["e"] != "depth"
    if kind == "field":
        assert data["zz"]
    if kind == "digits":
        assert sum(character.isdigit() for character in data["b"][0][0]) == 40


def test_a_corrupt_frame_is_well_formed_in_sequence_and_wrong():
    box = box_with("corrupt:stream=depth")
    (delivery,) = box.pass_on(SOL, frame(1), NOW_US)
    sent, came = json.loads(frame(1)), json.loads(delivery.payload)
    assert came["data"].pop("b") == [["1.5", "12"]]
    assert sent["data"].pop("b") == [["1.5", "2"]]
    assert came == sent
    assert through(box, range(2, 4)) == [2, 3]


def test_answers_are_affected_by_path_symbol_and_count():
    box = box_with("rest-5xx:count=1,path=/api/v1/depth")
    assert box.take("rest-5xx", NOW_US, "SOL_USDC", "/api/v1/markets") is None
    assert box.take("rest-5xx", NOW_US, "SOL_USDC", "/api/v1/depth") is not None
    assert box.take("rest-5xx", NOW_US, "SOL_USDC", "/api/v1/depth") is None


def test_a_fault_ends_by_time():
    box = box_with("rest-5xx:seconds=2")
    assert box.take("rest-5xx", NOW_US + 1_900_000) is not None
    assert box.take("rest-5xx", NOW_US + 2_100_000) is None
    box.release(NOW_US + 2_100_000)
    assert not box.busy


@pytest.mark.parametrize(
    "text", ["nonsense", "drop:count=many", "drop:colour=red", "garbage:kind=soup", "drop:count", "rest-5xx:status=x"]
)
def test_invalid_faults_are_refused(text):
    with pytest.raises(FaultError):
        FaultBox().add(parse_fault(text), NOW_US)
