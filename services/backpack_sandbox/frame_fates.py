"""What a fault does to one frame: each function returns the frames that are delivered in its place."""

import json
from collections.abc import Callable
from typing import Any

from backpack_sandbox.fault_orders import Delivery, Fault

_NEVER_US = 1 << 62
_DIGITS = "1234567890.123456789012345678901234567890"


def _drop(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    return []


def _drop_one(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    return [Delivery(frame.stream, frame.payload, int(fault.number_of("connection", 0)))]


def _duplicate(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    return [frame, frame]


def _freeze(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    if fault.is_on("hold"):
        fault.held.append((_NEVER_US if fault.until_us is None else fault.until_us, frame))
    return []


def _delay(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    fault.held.append((now_us + int(fault.number_of("delay", 0.5) * 1_000_000), frame))
    return []


def _queue(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    fault.held.append((fault.held[-1][0], frame))
    return []


def _garbage(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    kind = fault.kind()
    if kind == "text":
        return [Delivery(frame.stream, b"<html>not json"), frame]
    envelope = json.loads(frame.payload)
    data = envelope["data"]
    if kind == "event":
        envelope["data"] = {"e": f"{data.get('e')}Moved", "E": data.get("E"), "s": data.get("s"), "w": "new"}
        return [Delivery(frame.stream, _compact(envelope)), frame]
    if kind == "field":
        data["zz"] = {"new": [1, "2", None]}
    else:
        _lengthen_a_price(data)
    return [Delivery(frame.stream, _compact(envelope), frame.spared)]


def _corrupt(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    """Change the quantity of each level: well-formed, in sequence, and wrong."""
    envelope = json.loads(frame.payload)
    for side in ("b", "a"):
        levels = envelope["data"].get(side)
        if isinstance(levels, list):
            envelope["data"][side] = [[price, f"1{quantity}"] for price, quantity in levels]
    return [Delivery(frame.stream, _compact(envelope), frame.spared)]


def _lengthen_a_price(data: dict[str, Any]) -> None:
    """Replace one price of a frame by a number of 40 digits."""
    levels = data.get("b") or data.get("a")
    if isinstance(levels, list):
        data["b"] = [[_DIGITS, "1"], *data["b"][1:]]
        return
    for key in ("p", "c", "b", "a"):
        if key in data:
            data[key] = _DIGITS
            return


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


FATES: dict[str, Callable[[Fault, Delivery, int], list[Delivery]]] = {
    "drop": _drop,
    "drop-one": _drop_one,
    "duplicate": _duplicate,
    "freeze": _freeze,
    "garbage": _garbage,
    "corrupt": _corrupt,
    "snapshot-ahead": _delay,
}
HELD: dict[str, Callable[[Fault, Delivery, int], list[Delivery]]] = {"freeze": _queue, "snapshot-ahead": _queue}
