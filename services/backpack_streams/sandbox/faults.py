"""Faults on demand. `FaultBox` keeps the active ones and decides what becomes of a frame or an answer. Sans-I/O.

A fault is a name and options. Common options: `symbol` or `stream` (a full stream name, or a family such as `depth`)
narrow it, `count` is how many frames, answers or sockets it hits, `seconds` how long it lasts.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backpack_streams.errors import UsageError
from backpack_streams.sandbox.streams import StreamName, parse_stream

FRAME_FAULTS = frozenset({"drop", "drop-one", "duplicate", "reorder", "freeze", "garbage", "corrupt", "snapshot-ahead"})
ANSWER_FAULTS = frozenset({"rest-5xx", "rest-slow", "rest-cut", "rest-stale", "snapshot-behind", "crossed-snapshot"})
IMMEDIATE_FAULTS = frozenset({"cut", "close", "refuse", "burst", "delist", "list"})
FAULTS = FRAME_FAULTS | ANSWER_FAULTS | IMMEDIATE_FAULTS | {"ping-off", "clock-offset"}
GARBAGE_KINDS = frozenset({"text", "event", "field", "digits"})

_DEFAULT_COUNT = {
    "drop": 1,
    "drop-one": 1,
    "duplicate": 1,
    "reorder": 1,
    "garbage": 1,
    "corrupt": 1,
    "crossed-snapshot": 1,
}
_DEFAULT_SECONDS = {"freeze": 10.0, "refuse": 5.0, "snapshot-ahead": 5.0}
_NEVER_US = 1 << 62
_DIGITS = "1234567890.123456789012345678901234567890"
_KEYS = frozenset(
    {
        "symbol", "stream", "count", "seconds", "kind", "hold", "status", "delay", "age", "updates", "connection",
        "path", "on", "offset",
    }
)  # fmt: skip


class FaultError(UsageError):
    """A fault that does not exist, or with an option that makes no sense."""


@dataclass(slots=True)
class Fault:
    """One active fault. `count` is what is left, None without end; `until_us` is when it ends by itself."""

    number: int
    name: str
    options: dict[str, Any]
    count: int | None
    until_us: int | None
    hits: int = 0
    held: list[tuple[int, "Delivery"]] = field(default_factory=list)

    def text(self, key: str) -> str | None:
        """An option as text."""
        value = self.options.get(key)
        return None if value is None else str(value)

    def number_of(self, key: str, default: float) -> float:
        """An option as a number."""
        return float(self.options.get(key, default))

    def shown(self) -> dict[str, Any]:
        """The fault as the control API shows it."""
        return {"id": self.number, "fault": self.name, "left": self.count, "hits": self.hits, **self.options}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A frame on its way; not to the socket numbered `spared` (0: the stream's oldest subscriber)."""

    stream: str
    payload: bytes
    spared: int | None = None


def parse_fault(text: str) -> dict[str, Any]:
    """`drop:symbol=SOL_USDC,count=3` as an order for `FaultBox.add`.

    Raises:
        FaultError: it does not have that form.
    """
    name, _, rest = text.partition(":")
    order: dict[str, Any] = {"fault": name}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if not equals:
            raise FaultError(f"fault {text!r}: {part!r} is not key=value; write NAME[:key=value,...]")
        order[key] = value
    return order


class FaultBox:
    """All active faults."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self._number = 0

    @property
    def busy(self) -> bool:
        """Whether any fault is active or still holds frames back."""
        return bool(self._faults)

    def add(self, order: dict[str, Any], now_us: int) -> Fault:
        """Start a fault, `{"fault": NAME, ...options}`.

        Raises:
            FaultError: no such fault or option, or a value that does not fit.
        """
        options = dict(order)
        name = str(options.pop("fault", ""))
        if name not in FAULTS:
            raise FaultError(f"there is no fault {name!r}; there are: {', '.join(sorted(FAULTS))}")
        unknown = options.keys() - _KEYS
        if unknown:
            raise FaultError(
                f"fault {name} has no option {sorted(unknown)[0]!r}; there are: {', '.join(sorted(_KEYS))}"
            )
        if name == "garbage" and options.get("kind", "text") not in GARBAGE_KINDS:
            raise FaultError(f"garbage has no kind {options['kind']!r}; there are: {', '.join(sorted(GARBAGE_KINDS))}")
        self._number += 1
        try:
            count = int(options.get("count", _DEFAULT_COUNT.get(name, 0))) or None
            seconds = float(options.get("seconds", _DEFAULT_SECONDS.get(name, 0)))
            for key in ("status", "delay", "age", "updates", "connection", "offset"):
                float(options.get(key, 0))
        except (TypeError, ValueError) as error:
            raise FaultError(f"fault {name}: an option that must be a number is not ({error})") from error
        timed = seconds > 0 and not (name == "rest-slow" and "delay" not in options)
        fault = Fault(self._number, name, options, count, now_us + int(seconds * 1_000_000) if timed else None)
        if name not in IMMEDIATE_FAULTS:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """End all faults; frames held back are delivered at the next release."""
        for fault in self._faults:
            fault.until_us = 0
            fault.count = 0 if fault.count is not None else None

    def shown(self) -> list[dict[str, Any]]:
        """Active faults as the control API shows them."""
        return [fault.shown() for fault in self._faults]

    def pass_on(self, stream: str, payload: bytes, now_us: int) -> list[Delivery]:
        """What becomes of one frame."""
        deliveries = [Delivery(stream, payload)]
        name = parse_stream(stream)
        symbol = name.symbol if isinstance(name, StreamName) else None
        family = name.family if isinstance(name, StreamName) else None
        for fault in list(self._faults):
            if fault.name not in FRAME_FAULTS:
                continue
            wanted = fault.text("stream")
            if wanted not in (None, stream, family) or fault.text("symbol") not in (None, symbol):
                continue
            deliveries = [out for one in deliveries for out in self._through(fault, one, now_us)]
        return deliveries

    def _through(self, fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
        if fault.held and fault.name != "reorder":
            return _HELD[fault.name](fault, frame, now_us)  # never overtake a frame that waits
        if not self._active(fault, now_us):
            return [frame]
        if fault.name == "reorder":
            return self._reorder(fault, frame)
        self._hit(fault)
        return _FATES[fault.name](fault, frame, now_us)

    def _reorder(self, fault: Fault, frame: Delivery) -> list[Delivery]:
        for position, (_, earlier) in enumerate(fault.held):
            if earlier.stream == frame.stream:
                del fault.held[position]
                self._hit(fault)
                return [frame, earlier]
        if fault.held:
            return [frame]
        fault.held.append((0, frame))
        return []

    def release(self, now_us: int) -> list[Delivery]:
        """Frames whose time has come; ends faults that are over."""
        released: list[Delivery] = []
        for fault in list(self._faults):
            over = fault.until_us is not None and now_us >= fault.until_us
            spent = fault.count == 0
            if fault.held and fault.name != "reorder":
                due = [one for at_us, one in fault.held if at_us <= now_us or fault.until_us == 0]
                fault.held = fault.held[len(due) :]
                released += due
            elif fault.held and (over or spent):
                released += [one for _, one in fault.held]
                fault.held = []
            if (over or spent) and not fault.held:
                self._faults.remove(fault)
        return released

    def take(self, name: str, now_us: int, symbol: str | None = None, path: str | None = None) -> Fault | None:
        """The active fault of this name that hits this symbol or path, counted as hit; None when there is none."""
        for fault in self._faults:
            prefix = fault.text("path")
            if (
                fault.name == name
                and self._active(fault, now_us)
                and fault.text("symbol") in (None, symbol)
                and (prefix is None or (path is not None and path.startswith(prefix)))
            ):
                self._hit(fault)
                return fault
        return None

    def active(self, name: str, now_us: int) -> bool:
        """Whether a fault of this name is active."""
        return any(fault.name == name and self._active(fault, now_us) for fault in self._faults)

    def clock_offset_us(self, now_us: int) -> int:
        """How far the exchange's clock runs ahead of ours because of `clock-offset` (option `offset`, seconds, 600 if not given)."""
        offsets = (
            fault.number_of("offset", 600.0)
            for fault in self._faults
            if fault.name == "clock-offset" and self._active(fault, now_us)
        )
        return int(sum(offsets) * 1_000_000)

    @staticmethod
    def _active(fault: Fault, now_us: int) -> bool:
        return fault.count != 0 and (fault.until_us is None or now_us < fault.until_us)

    @staticmethod
    def _hit(fault: Fault) -> None:
        fault.hits += 1
        if fault.count is not None:
            fault.count -= 1


def _drop(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    return []


def _drop_one(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    return [Delivery(frame.stream, frame.payload, int(fault.number_of("connection", 0)))]


def _duplicate(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    return [frame, frame]


def _freeze(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    if str(fault.options.get("hold", "false")).lower() == "true":
        fault.held.append((_NEVER_US if fault.until_us is None else fault.until_us, frame))
    return []


def _delay(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    fault.held.append((now_us + int(fault.number_of("delay", 0.5) * 1_000_000), frame))
    return []


def _queue(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    fault.held.append((fault.held[-1][0], frame))
    return []


def _garbage(fault: Fault, frame: Delivery, now_us: int) -> list[Delivery]:
    kind = fault.text("kind") or "text"
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
    """Another quantity on each level: well-formed, in sequence, and wrong."""
    envelope = json.loads(frame.payload)
    for side in ("b", "a"):
        levels = envelope["data"].get(side)
        if isinstance(levels, list):
            envelope["data"][side] = [[price, f"1{quantity}"] for price, quantity in levels]
    return [Delivery(frame.stream, _compact(envelope), frame.spared)]


def _lengthen_a_price(data: dict[str, Any]) -> None:
    """Write one price of a frame with 40 digits."""
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


_FATES: dict[str, Callable[[Fault, Delivery, int], list[Delivery]]] = {
    "drop": _drop,
    "drop-one": _drop_one,
    "duplicate": _duplicate,
    "freeze": _freeze,
    "garbage": _garbage,
    "corrupt": _corrupt,
    "snapshot-ahead": _delay,
}
_HELD: dict[str, Callable[[Fault, Delivery, int], list[Delivery]]] = {"freeze": _queue, "snapshot-ahead": _queue}
