"""The names and options of faults, and the parser of an order for one.

A fault is a name and options. Common options: `symbol` or `stream` (a full stream name, or a kind such as `depth`)
restrict it, `count` is the number of frames, answers or sockets it hits, `seconds` is its duration.
"""

from dataclasses import dataclass, field
from typing import Any

from backpack_sandbox.listings import KNOWN_MARKET_TYPES
from backpack_sandbox.streams import StreamName, parse_stream
from backpack_streams.errors import UsageError

FRAME_FAULTS = frozenset({"drop", "drop-one", "duplicate", "reorder", "freeze", "garbage", "corrupt", "snapshot-ahead"})
MARKET_LIST_FAULTS = frozenset(
    {"markets-empty", "markets-partial", "markets-old", "markets-unreadable", "markets-refused"}
)
ANSWER_FAULTS = MARKET_LIST_FAULTS | {
    "rest-5xx", "rest-limit", "rest-slow", "rest-cut", "rest-stale", "snapshot-behind", "crossed-snapshot"
}  # fmt: skip
IMMEDIATE_FAULTS = frozenset({"cut", "close", "refuse", "burst", "delist", "list", "pace", "silence"})
SOCKET_FAULTS = frozenset({"ping-off", "ignore-subscribe", "half-open", "error"})
FAULTS = FRAME_FAULTS | ANSWER_FAULTS | IMMEDIATE_FAULTS | SOCKET_FAULTS | {"clock-offset"}
KINDS = {
    "garbage": ("text", "event", "field", "digits"),
    "error": ("frame", "text"),
    "markets-unreadable": ("state", "filters", "symbol"),
    "markets-refused": tuple(sorted(KNOWN_MARKET_TYPES)),
}
"""Values of the option `kind`; the first one is the default."""

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
_NUMBERS = (
    "status", "delay", "age", "updates", "connection", "offset", "code", "retry_after", "rows", "weight", "first_id",
)  # fmt: skip
_KEYS = frozenset(
    {
        "symbol", "stream", "count", "seconds", "kind", "hold", "status", "delay", "age", "updates", "connection",
        "path", "on", "offset", "code", "message", "refuse", "retry_after", "rows", "weight", "first_id", "gone",
    }
)  # fmt: skip


class FaultError(UsageError):
    """The fault does not exist, or an option is invalid."""


@dataclass(slots=True)
class Fault:
    """One active fault.

    Attributes:
        number: its id in the control API, from 1.
        name: one of `FAULTS`.
        options: as given, text or JSON values.
        count: hits left; None for no limit.
        until_us: when it ends by itself, µs since the Unix epoch; None for never.
        hits: frames, answers or sockets hit so far.
        held: frames held back, oldest first, each with the time at which it is due (µs).
    """

    number: int
    name: str
    options: dict[str, Any]
    count: int | None
    until_us: int | None
    hits: int = 0
    held: list[tuple[int, "Delivery"]] = field(default_factory=list)

    def text(self, key: str) -> str | None:
        """Return an option as text; None if it was not given."""
        value = self.options.get(key)
        return None if value is None else str(value)

    def number_of(self, key: str, default: float) -> float:
        """Return an option as a number, or `default` if it was not given. `new_fault` has checked that it is one."""
        return float(self.options.get(key, default))

    def is_on(self, key: str, default: bool = False) -> bool:
        """Return an option as a boolean: `true` in any case, as text or JSON; everything else is False.

        Args:
            key: the option.
            default: its value if it was not given.
        """
        return str(self.options.get(key, default)).lower() == "true"

    def kind(self) -> str:
        """Return the option `kind`, or its default.

        Raises:
            KeyError: the fault has no kinds, and none was given.
        """
        return self.text("kind") or KINDS[self.name][0]

    def names(self, stream: str) -> bool:
        """Whether the fault applies to a stream: by its name, with or without the symbol, and by its symbol; without options to all."""
        name = parse_stream(stream)
        kind, symbol = (name.kind, name.symbol) if isinstance(name, StreamName) else (None, None)
        return self.text("stream") in (None, stream, kind) and self.text("symbol") in (None, symbol)

    def shown(self) -> dict[str, Any]:
        """Return the fault as the control API shows it: `id`, `fault`, `left` (null for no limit), `hits`, and the options."""
        return {"id": self.number, "fault": self.name, "left": self.count, "hits": self.hits, **self.options}


@dataclass(frozen=True, slots=True)
class Delivery:
    """A frame to deliver to the subscribers of its stream.

    Attributes:
        stream: full name of the stream.
        payload: text of the frame.
        spared: number of the socket that does not get it; 0: the stream's oldest subscriber; None: no socket.
    """

    stream: str
    payload: bytes
    spared: int | None = None


def parse_fault(text: str) -> dict[str, Any]:
    """Parse `drop:symbol=SOL_USDC,count=3` into an order for `FaultBox.add`. Values stay text; nothing else is checked here.

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


def new_fault(number: int, order: dict[str, Any], now_us: int) -> Fault:
    """Return the fault of an order.

    Without `count`, `crossed-snapshot` and the frame faults other than `freeze` and `snapshot-ahead` hit once; all
    others have no limit. Without `seconds`, `freeze` lasts 10 s, `refuse` and `snapshot-ahead` 5 s, and all others have
    no end. For `rest-slow` without `delay`, `seconds` is the delay of each answer instead.

    Args:
        number: its id.
        order: `fault` and the options; the order itself is not changed.
        now_us: wall clock, µs since the Unix epoch.

    Raises:
        FaultError: there is no such fault or option, or a value is invalid.
    """
    options = dict(order)
    name = str(options.pop("fault", ""))
    if name not in FAULTS:
        raise FaultError(f"there is no fault {name!r}; there are: {', '.join(sorted(FAULTS))}")
    unknown = options.keys() - _KEYS
    if unknown:
        raise FaultError(f"fault {name} has no option {sorted(unknown)[0]!r}; there are: {', '.join(sorted(_KEYS))}")
    if name in KINDS and options.get("kind", KINDS[name][0]) not in KINDS[name]:
        raise FaultError(f"{name} has no kind {options['kind']!r}; there are: {', '.join(KINDS[name])}")
    try:
        count = int(options.get("count", _DEFAULT_COUNT.get(name, 0))) or None
        seconds = float(options.get("seconds", _DEFAULT_SECONDS.get(name, 0)))
        for key in _NUMBERS:
            float(options.get(key, 0))
    except (TypeError, ValueError) as error:
        raise FaultError(f"fault {name}: an option that must be a number is not ({error})") from error
    timed = seconds > 0 and not (name == "rest-slow" and "delay" not in options)
    return Fault(number, name, options, count, now_us + int(seconds * 1_000_000) if timed else None)
